//! `intentd dataset`: training examples, point in time, from the log.

use std::path::PathBuf;

use clap::Args;

use super::check::load_catalog;
use super::run::start_failed;
use super::{Failure, Global, code, runtime};
use crate::app::open_store;
use crate::dataset::{Manifest, Moments, Negatives, Options, build, parquet};
use crate::domain::time::Timestamp;

/// Write training examples from the log: one row per moment at which the daemon would have scored, with exactly the
/// features it would have seen, and the label that the log knows now.
///
/// Rows whose horizon has not passed are left out. The same log, catalogue and options give the same rows (see `rowsHash`
/// in manifest.json). Needs the data directory for itself: stop the daemon, or give it a copy.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  intentd dataset --model SELL --out train/SELL\n  \
                        python models/train/train.py train/SELL --out models --version 2")]
pub(crate) struct Dataset {
    /// The model, as the catalogue names it.
    #[arg(long)]
    model: String,
    /// The folder for rows.parquet and manifest.json.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Which moments: `scores` (every one), `requests` (only ScoreRequested), `daily` (the first of each day per user), or a
    /// gap such as `7d` (at most one per user in that time).
    #[arg(long, default_value = "scores", value_parser = moments)]
    moments: Moments,
    /// Only rows scored at or after this time.
    #[arg(long)]
    from: Option<Timestamp>,
    /// Only rows scored before this time.
    #[arg(long)]
    to: Option<Timestamp>,
    /// Where validation begins; by default at 60 % of the rows.
    #[arg(long)]
    valid_from: Option<Timestamp>,
    /// Where testing begins; by default at 80 % of the rows.
    #[arg(long)]
    test_from: Option<Timestamp>,
    /// Read only what had happened before this time.
    #[arg(long)]
    known_until: Option<Timestamp>,
    /// No user in two splits: a hash of the id gives 60 % of users to training, 20 % to validation and 20 % to the test, and
    /// rows of a user that fall into another split's time are left out.
    #[arg(long)]
    users_apart: bool,
    /// Keep rows whose horizon has not passed, marked in the column `immature`, with the label known so far.
    #[arg(long)]
    with_immature: bool,
    /// Keep only some negative rows: a share such as `0.1`, or `5:1` for about five to each positive. Chosen by a hash of
    /// the event's id; the column `weight` says for how many rows one stands.
    #[arg(long, default_value = "all", value_parser = negatives, value_name = "SHARE|N:1")]
    negatives: Negatives,
    /// Where the log came from, in words; stands in the manifest and on the model's card.
    #[arg(long, value_name = "TEXT")]
    source: Option<String>,
}

fn moments(text: &str) -> Result<Moments, String> {
    match text {
        "scores" => Ok(Moments::Scores),
        "requests" => Ok(Moments::Requests),
        "daily" => Ok(Moments::Daily),
        gap => match serde_json::from_value::<humantime_serde::Serde<std::time::Duration>>(gap.into()) {
            Ok(gap) => Ok(Moments::Every(gap.into_inner())),
            Err(_) => Err(format!("{gap:?} is none of scores, requests, daily, or a gap such as 7d")),
        },
    }
}

fn negatives(text: &str) -> Result<Negatives, String> {
    let wrong = || format!("{text:?} is none of all, a share over 0 and up to 1, or a ratio such as 5:1");
    let positive = |number: &str| number.parse::<f64>().ok().filter(|n| *n > 0.0 && n.is_finite());
    match text.strip_suffix(":1") {
        _ if text == "all" => Ok(Negatives::All),
        Some(ratio) => positive(ratio).map(Negatives::Ratio).ok_or_else(wrong),
        None => positive(text).filter(|share| *share <= 1.0).map(Negatives::Rate).ok_or_else(wrong),
    }
}

impl Dataset {
    pub(crate) fn run(self, global: &Global) -> Result<(), Failure> {
        let config = global.config()?;
        let catalog = load_catalog(&config.catalog)?;
        let runtime = runtime()?;
        let store = {
            let _within = runtime.enter();
            open_store(&config).map_err(|error| start_failed(&error))?
        };
        let options = Options {
            model: self.model,
            moments: self.moments,
            from: self.from,
            to: self.to,
            valid_from: self.valid_from,
            test_from: self.test_from,
            known_until: self.known_until,
            users_apart: self.users_apart,
            with_immature: self.with_immature,
            negatives: self.negatives,
            threads: std::thread::available_parallelism().map_or(2, std::num::NonZero::get),
            source: self.source,
        };
        let failed = |error: &crate::dataset::Error| Failure::of(code::DATA, "dataset", error);
        let made =
            runtime.block_on(build::build(&*store, catalog, &options)).map_err(|error| failed(&error))?;
        parquet::write(&made, &self.out).map_err(|error| failed(&error))?;
        for count in &made.manifest.counts {
            eprintln!(
                "{:5} {:>9} rows {:>8} positives {:>8} users, base rate {:.4}",
                count.split.name(),
                count.rows,
                count.positives,
                count.users,
                count.base_rate
            );
        }
        let Manifest { immature, rows_hash, sampling, .. } = &made.manifest;
        let kept = if sampling.with_immature { "kept and marked" } else { "left out" };
        eprintln!("{immature} immature {kept}; rows {rows_hash}");
        if sampling.left_apart + sampling.left_negative > 0 {
            eprintln!(
                "{} rows left out to keep users apart, {} negatives by sampling ({:.4} kept)",
                sampling.left_apart, sampling.left_negative, sampling.negatives_kept
            );
        }
        Ok(())
    }
}
