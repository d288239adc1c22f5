//! `intentd simulate`: a seeded event log of simulated people, for demos, benches and training.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use super::{Failure, code};
use crate::domain::time::Timestamp;
use crate::simulate;

/// Write a seeded event log of simulated people: the same options give the same bytes.
///
/// People have hidden intents that show in their behaviour; some only look as if they had. Conversions follow from intents:
/// --truth writes the hazard behind each, so that said probabilities can be held against true ones.
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
    /// Write the true hazards of conversion too, one JSON object per piece of time in which a person's hazard for a model is
    /// constant (userId, model, from, to, hazardPerDay, convertedAt); a name that ends in .zst is compressed.
    #[arg(long, value_name = "FILE")]
    truth: Option<PathBuf>,
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
        let failed = |path: &Path, error: &io::Error| {
            Failure::of(code::IO, &format!("writing {}", path.display()), error)
        };
        if let Some(path) = &self.truth {
            let pieces = written(path, |out| simulate::truth::write(&options, out));
            let pieces = pieces.map_err(|error| failed(path, &error))?;
            eprintln!("{pieces} pieces of truth");
        }
        let summary = if self.out.as_os_str() == "-" {
            simulate::write(&options, BufWriter::new(io::stdout().lock()))
        } else {
            written(&self.out, |out| simulate::write(&options, out))
        };
        let summary = summary.map_err(|error| failed(&self.out, &error))?;
        eprintln!("{} events of {} people, {} conversions", summary.events, self.users, summary.conversions);
        Ok(())
    }
}

/// Writes a file, compressed if its name says so.
fn written<T>(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<T>) -> io::Result<T> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let done = if path.extension().is_some_and(|extension| extension == "zst") {
        let mut encoder = zstd::Encoder::new(&mut file, 3)?;
        let done = write(&mut encoder)?;
        encoder.finish()?;
        done
    } else {
        write(&mut file)?
    };
    file.flush()?;
    Ok(done)
}
