//! `intentd import`: event logs from files through the whole daemon, to committed alerts.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::check::load_catalog;
use super::feeding::{Fed, FeedError, Reading, feed};
use super::starting::patiently;
use super::{Failure, Global, code, runtime};
use crate::app::{App, Layout};
use crate::commands::Error;
use crate::config::Config;
use crate::import::lines::Chunks;
use crate::import::names::Names;
use crate::import::progress::Progress;
use crate::telemetry;

/// How long a cluster that is down is waited for, at the start and from the last events that it took: longer than any failover.
const PATIENCE: Duration = Duration::from_secs(300);
/// How often it is asked meanwhile.
const AGAIN: Duration = Duration::from_millis(500);
/// How often the place reached is written down.
const REMEMBER_EVERY: Duration = Duration::from_secs(1);

/// Import event logs: JSON Lines, plain, gzip or zstd, from files or standard input.
///
/// Runs the whole daemon without its API: when it ends, the events are folded, scored and the alerts committed. An import
/// that was cut off goes on where it was when the same command is run again. Importing a file twice changes nothing.
/// While a daemon runs on the same data directory, send events to its POST /api/v1/events instead.
///
/// A cluster that is down is waited for, five minutes from the start or from the last events that it took.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  intentd import events.jsonl.zst\n  zcat old.gz | intentd import -\n  \
                        intentd import --map userId=user,occurredAt=time events.jsonl")]
pub(crate) struct Import {
    /// The files, in order; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// What our keys are called in the log: OURS=THEIRS, several by commas or repeated.
    #[arg(long, value_name = "OURS=THEIRS", default_value = "")]
    map: Names,
    /// Leave bad lines out and count them, instead of ending at the first.
    #[arg(long)]
    skip_bad: bool,
    /// Look at every line again, whatever an earlier import of the file reached.
    #[arg(long)]
    from_start: bool,
}

impl Import {
    pub(crate) fn run(self, global: &Global) -> Result<(), Failure> {
        let config = global.config()?;
        let catalog = load_catalog(&config.catalog)?;
        telemetry::install(&config.log).map_err(|error| Failure::of(code::CONFIG, "logging", &error))?;
        for file in self.files.iter().filter(|file| file.as_os_str() != "-") {
            std::fs::File::open(file)
                .map_err(|error| Failure::of(code::NO_INPUT, &file.display().to_string(), &error))?;
        }
        runtime()?.block_on(async {
            let app = patiently(&config, &catalog, PATIENCE).await?;
            let began = Instant::now();
            let (mut total, mut last) = (0, None);
            let mut done = Ok(());
            for file in &self.files {
                match self.one(file, &config, &app).await {
                    Ok(fed) => {
                        total += fed.accepted + fed.duplicates;
                        last = last.max(fed.position);
                    }
                    Err(failure) => {
                        done = Err(failure);
                        break;
                    }
                }
            }
            if let Some(last) = last {
                app.daemon.settled(last).await;
            }
            let took = began.elapsed().as_secs_f64();
            #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
            let rate = total as f64 / took.max(1e-9);
            eprintln!("{total} events to committed alerts in {took:.2} s: {rate:.0} events/s");
            app.stop().await;
            done
        })
    }

    /// Feeds a file from behind a line on.
    async fn feed(
        &self,
        file: &Path,
        config: &Config,
        app: &App,
        bar: &ProgressBar,
        skip_lines: u64,
        reached: impl FnMut(&Fed),
    ) -> std::io::Result<(Fed, Result<(), FeedError>)> {
        let watched = bar.clone();
        bar.set_position(0);
        let chunks = Chunks::open(file, |raw| Box::new(watched.wrap_read(raw)) as Box<dyn Read + Send>)?;
        let reading = Reading {
            names: self.map.clone(),
            skip_lines,
            skip_bad: self.skip_bad,
            future_max: config.ingest.future_max,
        };
        Ok(feed(chunks, &app.daemon, &app.catalog, reading, reached).await)
    }

    async fn one(&self, file: &Path, config: &Config, app: &App) -> Result<Fed, Failure> {
        let name = file.display().to_string();
        let is_file = file.as_os_str() != "-";
        let failed = |error: &std::io::Error| Failure::of(code::IO, &name, error);
        let mut progress = if is_file {
            let imports = Layout::of(&config.data_dir).imports;
            let found = Progress::find(&imports, file, &app.store.id().to_string());
            Some(found.map_err(|error| failed(&error))?)
        } else {
            None
        };
        let skip_lines = progress.as_ref().filter(|_| !self.from_start).map_or(0, Progress::lines_done);
        if skip_lines > 0 {
            eprintln!("{name}: goes on behind line {skip_lines} (--from-start looks at every line again)");
        }
        let bar = bar(file);
        let mut lost = None;
        let mut fed = Fed { lines_done: skip_lines, ..Fed::default() };
        let mut patience = Patience::new(is_file && !config.kurrentdb.connection.is_empty());
        let result = loop {
            let before = fed.accepted + fed.duplicates;
            let mut remembered = Instant::now();
            let feeding = self.feed(file, config, app, &bar, fed.lines_done, |fed| {
                bar.set_message(format!("{} events", before + fed.accepted + fed.duplicates));
                if let Some(progress) = progress.as_mut()
                    && remembered.elapsed() >= REMEMBER_EVERY
                {
                    lost = progress.reach(fed.lines_done).err().or(lost.take());
                    remembered = Instant::now();
                }
            });
            let (part, result) = feeding.await.map_err(|error| failed(&error))?;
            let has_moved = part.lines_done > fed.lines_done;
            fed.add(part);
            match result {
                Err(FeedError::Append(error @ (Error::Unavailable { .. } | Error::Timeout { .. })))
                    if patience.lasts(has_moved) =>
                {
                    if patience.begins() {
                        bar.println(format!(
                            "{name}: waits for the store at line {}: {error}",
                            fed.lines_done
                        ));
                    }
                    tokio::time::sleep(AGAIN).await;
                }
                result => break result,
            }
        };
        bar.finish_and_clear();
        if let Some(error) = lost {
            eprintln!("{name}: the place reached cannot be remembered ({error}); a restart begins at line 1");
        }
        if let Err(error) = result {
            if let Some(progress) = progress.as_mut() {
                progress.reach(fed.lines_done).map_err(|error| failed(&error))?;
            }
            return Err(ended(&name, &fed, &error));
        }
        if let Some(progress) = progress {
            progress.finish().map_err(|error| failed(&error))?;
        }
        eprintln!("{name}: {} new, {} duplicates, {} bad", fed.accepted, fed.duplicates, fed.bad);
        for fault in &fed.faults {
            eprintln!("  left out: {fault}");
        }
        Ok(fed)
    }
}

/// For how long an import waits.
struct Patience {
    is_there: bool,
    since: Option<Instant>,
    /// Whether the person knows.
    is_told: bool,
}

impl Patience {
    fn new(is_there: bool) -> Self {
        Self { is_there, since: None, is_told: false }
    }

    /// Whether to say that it waits: once each time.
    fn begins(&mut self) -> bool {
        !std::mem::replace(&mut self.is_told, true)
    }

    /// Whether to try again after a failure.
    fn lasts(&mut self, has_moved: bool) -> bool {
        if has_moved {
            (self.since, self.is_told) = (None, false);
        }
        self.is_there && self.since.get_or_insert_with(Instant::now).elapsed() < PATIENCE
    }
}

fn ended(name: &str, fed: &Fed, error: &FeedError) -> Failure {
    let code = match error {
        FeedError::Read(_) => code::IO,
        FeedError::Bad { .. } | FeedError::Append(Error::NotTaken { .. }) => code::DATA,
        FeedError::Append(_) => code::UNAVAILABLE,
    };
    let skip = if matches!(error, FeedError::Bad { .. }) { " (or --skip-bad)" } else { "" };
    let mut failure = Failure::of(code, name, error);
    failure.message.push_str(&format!(
        "\n  everything up to line {} is imported; mend the cause and run the same command again{skip}",
        fed.lines_done
    ));
    failure
}

fn bar(file: &Path) -> ProgressBar {
    let size = std::fs::metadata(file).ok().filter(std::fs::Metadata::is_file).map(|found| found.len());
    let bar = size.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    let template = "{bar:30} {percent:>3} %  {msg}  {binary_bytes_per_sec}  {eta} left";
    if size.is_some()
        && let Ok(style) = ProgressStyle::with_template(template)
    {
        bar.set_style(style);
    }
    bar
}
