//! `intentd dataset`: training examples, point in time, from the log.

use std::path::PathBuf;

use clap::Args;

use super::check::load_catalog;
use super::run::start_failed;
use super::{Failure, Global, code, runtime};
use crate::app::open_store;
use crate::dataset::{Moments, Options, build, parquet};
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
    /// Which moments: `scores` (every one), `requests` (only ScoreRequested), or a gap such as `7d` (at most one per user).
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
    /// Where the log came from, in words; stands in the manifest and on the model's card.
    #[arg(long, value_name = "TEXT")]
    source: Option<String>,
}

fn moments(text: &str) -> Result<Moments, String> {
    match text {
        "scores" => Ok(Moments::Scores),
        "requests" => Ok(Moments::Requests),
        gap => match serde_json::from_value::<humantime_serde::Serde<std::time::Duration>>(gap.into()) {
            Ok(gap) => Ok(Moments::Every(gap.into_inner())),
            Err(_) => Err(format!("{gap:?} is none of scores, requests, or a gap such as 7d")),
        },
    }
}

impl Dataset {
    pub(crate) fn run(self, global: &Global) -> Result<(), Failure> {
        let config = global.config()?;
        let catalog = load_catalog(&config.catalog)?;
        let store = open_store(&config).map_err(|error| start_failed(&error))?;
        let options = Options {
            model: self.model,
            moments: self.moments,
            from: self.from,
            to: self.to,
            valid_from: self.valid_from,
            test_from: self.test_from,
            known_until: self.known_until,
            source: self.source,
        };
        let failed = |error: &crate::dataset::Error| Failure::of(code::DATA, "dataset", error);
        let made =
            runtime()?.block_on(build::build(&*store, catalog, &options)).map_err(|error| failed(&error))?;
        parquet::write(&made, &self.out).map_err(|error| failed(&error))?;
        for count in &made.manifest.counts {
            eprintln!("{:5} {:>9} rows {:>8} positives", count.split.name(), count.rows, count.positives);
        }
        eprintln!("{} immature left out; rows {}", made.manifest.immature, made.manifest.rows_hash);
        Ok(())
    }
}
