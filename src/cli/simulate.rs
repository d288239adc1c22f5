//! `intentd simulate`: a seeded event log of simulated people, for demos, benches and training.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use clap::Args;

use super::{Failure, code};
use crate::domain::time::Timestamp;
use crate::simulate;

/// Write a seeded event log of simulated people: the same options give the same bytes.
///
/// People have hidden intents that show in their behaviour; some only look as if they had. Conversions follow from intents.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  intentd simulate --users 2000 --days 365 --out people.jsonl.zst\n  \
                        intentd import people.jsonl.zst")]
pub(crate) struct Simulate {
    /// The same seed gives the same log.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many people.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=5_000_000))]
    users: u32,
    /// Over how many days.
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3_650))]
    days: u32,
    /// The end of the log, RFC 3339. Not "now" by default, so that the same command gives the same bytes.
    #[arg(long, default_value = "2026-07-01T00:00:00Z")]
    until: Timestamp,
    /// Idle events per person over the whole time, on average.
    #[arg(long, default_value_t = 40.0)]
    events_per_user: f64,
    /// Stop after this many events, in order of time.
    #[arg(long)]
    events: Option<usize>,
    /// Where to; `-` is standard output; a name that ends in .zst is compressed.
    #[arg(long, default_value = "-", value_name = "FILE")]
    out: PathBuf,
}

impl Simulate {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let options = simulate::Options {
            seed: self.seed,
            users: self.users,
            days: self.days,
            until: self.until,
            events_per_user: self.events_per_user,
            events_max: self.events,
        };
        let failed =
            |error: &io::Error| Failure::of(code::IO, &format!("writing {}", self.out.display()), error);
        let summary = if self.out.as_os_str() == "-" {
            simulate::write(&options, BufWriter::new(io::stdout().lock())).map_err(|error| failed(&error))?
        } else {
            self.to_file(&options).map_err(|error| failed(&error))?
        };
        eprintln!("{} events of {} people, {} conversions", summary.events, self.users, summary.conversions);
        Ok(())
    }

    fn to_file(&self, options: &simulate::Options) -> io::Result<simulate::Summary> {
        let file = BufWriter::with_capacity(1 << 20, File::create(&self.out)?);
        if self.out.extension().is_some_and(|extension| extension == "zst") {
            let mut encoder = zstd::Encoder::new(file, 3)?;
            let summary = simulate::write(options, &mut encoder)?;
            encoder.finish()?.flush()?;
            Ok(summary)
        } else {
            simulate::write(options, file)
        }
    }
}
