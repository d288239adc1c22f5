//! `intentd backtest`: what would have been decided with another model or catalogue, against what was decided and happened.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;

use super::check::load_catalog;
use super::run::start_failed;
use super::{Failure, Global, code, runtime};
use crate::app::open_store;
use crate::backtest::report::Report;
use crate::backtest::{self, Running, page};
use crate::domain::catalog::{Catalog, ModelIx};
use crate::domain::score::{Score, Unscored};
use crate::domain::time::Timestamp;
use crate::scoring::onnx::OnnxScorer;
use crate::scoring::registry::{ModelStatus, Registry};
use crate::scoring::{self, Scorer};

/// Replay the log with other models or another catalogue, without writing to it, and report alerts, precision, recall, value
/// and alert rate against what was really decided and what then happened.
///
/// Decisions are made afresh from the begin of the log, as if the given models had always served; commands, sweeps and scores
/// that failed are taken from the log, at their places. With the live run's own models and catalogue the report ends with
/// "reproduces the live decisions exactly"; "skew" says whether the features are those of the live run, bit for bit.
/// Needs the data directory for itself: stop the daemon, or give it a copy.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  intentd backtest --expect-equal\n  \
                        intentd backtest --model models/SELL/2026.12.1 --from 2026-01-01T00:00:00Z --html new.html\n  \
                        intentd backtest --model SELL=2026.11.1 --catalog new.toml --json new.json\n\n\
                        Exit codes: 0 done, 1 with --expect-equal and not equal, 69 a model is refused.")]
pub(crate) struct Backtest {
    /// A model to run instead of the serving version: its folder, or MODEL=VERSION in the models folder. May be repeated.
    #[arg(long = "model", value_name = "FOLDER|MODEL=VERSION")]
    models: Vec<String>,
    /// A catalogue to run instead of the configured one.
    #[arg(long, value_name = "FILE")]
    catalog: Option<PathBuf>,
    /// Report decisions at or after this time.
    #[arg(long)]
    from: Option<Timestamp>,
    /// Report decisions before this time; nothing later is decided.
    #[arg(long)]
    to: Option<Timestamp>,
    /// Write the report as JSON, with every difference.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the report as one HTML page with plots.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Fail when a decision or a feature differs from the recorded one.
    #[arg(long)]
    expect_equal: bool,
    /// Threads that share the users; the report is the same with any number.
    #[arg(long)]
    threads: Option<usize>,
}

impl Backtest {
    pub(crate) fn run(self, global: &Global) -> Result<(), Failure> {
        let config = global.config()?;
        let catalog = load_catalog(self.catalog.as_deref().unwrap_or(&config.catalog))?;
        let runtime = runtime()?;
        let store = {
            let _within = runtime.enter();
            open_store(&config).map_err(|error| start_failed(&error))?
        };
        let served = runtime.block_on(backtest::serving(&*store, &catalog));
        let served = served.map_err(|error| Failure::of(code::DATA, "the log", &error))?;
        // What the log says serves counts; a pin or the highest version only where it says nothing.
        let mut models = config.models.clone();
        models.pin.extend(served);
        // Nobody waits for a score here.
        (models.latency_one_max, models.latency_batch_max) = (models.trial_max, models.trial_max);
        let cast = Cast::open(&models, &catalog, &self.models)?;
        let options = backtest::Options {
            from: self.from,
            to: self.to,
            models: cast.running(),
            threads: self
                .threads
                .unwrap_or_else(|| std::thread::available_parallelism().map_or(2, std::num::NonZero::get)),
        };
        let began = Instant::now();
        let replay = backtest::run(&*store, catalog, &options, || Box::new(cast.scorer()));
        let report = runtime.block_on(replay).map_err(|error| Failure::of(code::DATA, "backtest", &error))?;
        if report.events == 0 {
            let place = config.data_dir.display();
            return Err(Failure::new(code::NO_INPUT, format!("the log in {place} holds no events")));
        }
        println!("{report}");
        speed(&report, began.elapsed().as_secs_f64());
        if let Some(path) = &self.json {
            let text = serde_json::to_vec_pretty(&report);
            let text = text.map_err(|error| Failure::of(code::SOFTWARE, "the report", &error))?;
            write(path, &text)?;
        }
        if let Some(path) = &self.html {
            write(path, page::html(&report).as_bytes())?;
        }
        if self.expect_equal && !(report.decisions.is_equal && report.features.differing == 0) {
            return Err(Failure::new(
                code::FAILED,
                "backtest: not what the live run decided; see the report",
            ));
        }
        Ok(())
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    std::fs::write(path, bytes)
        .map_err(|error| Failure::of(code::IO, &format!("writing {}", path.display()), &error))
}

/// Says how fast it was; on standard error, since the report is the same each time and this is not.
#[expect(clippy::cast_precision_loss, reason = "a count")]
fn speed(report: &Report, seconds: f64) {
    let rate = report.events as f64 / seconds;
    let live = report.events as f64 / (report.to.days_since(report.from) * 86_400.0);
    eprintln!(
        "{} events in {seconds:.2} s: {rate:.0} events/s, {:.0} times as fast as they happened",
        report.events,
        rate / live
    );
}

/// Who scores: the serving versions, and those chosen instead.
struct Cast {
    serving: Registry,
    chosen: Vec<(ModelIx, Registry)>,
}

impl Cast {
    fn open(options: &scoring::Options, catalog: &Catalog, chosen: &[String]) -> Result<Self, Failure> {
        let serving = Registry::load(options, catalog);
        if let Err(error) = serving.runtime() {
            return Err(Failure::of(code::UNAVAILABLE, "no model can run", error));
        }
        let chosen = chosen.iter().map(|text| choose(options, catalog, text)).collect::<Result<_, _>>()?;
        let cast = Self { serving, chosen };
        let models = (0..).map(ModelIx).zip(cast.serving.status());
        for (_, status) in
            models.filter(|(model, status)| status.serving.is_none() && !cast.registry(*model).1)
        {
            eprintln!("{} does not run: {}", status.name, reasons(status));
        }
        if cast.running().iter().all(|model| model.version.is_none()) {
            return Err(Failure::new(code::UNAVAILABLE, "no model of the catalogue can run"));
        }
        Ok(cast)
    }

    fn registry(&self, model: ModelIx) -> (&Registry, bool) {
        match self.chosen.iter().rev().find(|(of, _)| *of == model) {
            Some((_, chosen)) => (chosen, true),
            None => (&self.serving, false),
        }
    }

    fn running(&self) -> Vec<Running> {
        let models = (0..).map(ModelIx).zip(self.serving.status());
        models
            .map(|(model, status)| {
                let (registry, is_chosen) = self.registry(model);
                let status = registry.status().find(|found| found.name == status.name);
                let version =
                    status.and_then(|status| status.serving).map(|loaded| loaded.version.to_string());
                Running { version, is_chosen }
            })
            .collect()
    }

    fn scorer(&self) -> Ensemble {
        Ensemble {
            serving: self.serving.scorer(),
            chosen: self.chosen.iter().map(|(model, registry)| (*model, registry.scorer())).collect(),
        }
    }
}

/// Opens a version that is named by its folder, or as MODEL=VERSION.
fn choose(options: &scoring::Options, catalog: &Catalog, text: &str) -> Result<(ModelIx, Registry), Failure> {
    let named = text.split_once('=').filter(|_| !Path::new(text).is_dir());
    let (folder, model, version) = match named {
        Some((model, version)) => (options.folder.clone(), model.to_owned(), version.to_owned()),
        None => by_folder(Path::new(text)).ok_or_else(|| {
            Failure::new(
                code::USAGE,
                format!("{text:?} is neither MODEL=VERSION nor a folder such as models/SELL/2"),
            )
        })?,
    };
    let none = || Failure::new(code::USAGE, format!("{text}: the catalogue has no model {model}"));
    let place = catalog.model(&model).ok_or_else(none)?;
    let only = scoring::Options { folder, ..options.clone() };
    let registry = Registry::load_version(&only, catalog, &model, &version);
    let refused = registry.status().find(|status| status.name == model && status.serving.is_none());
    if let Some(refused) = refused {
        let message = format!("{text} is refused:\n  {}", reasons(refused));
        return Err(Failure::new(code::UNAVAILABLE, message));
    }
    Ok((place, registry))
}

/// Why no version of a model runs.
fn reasons(status: ModelStatus<'_>) -> String {
    let reasons = status.refused.iter().flat_map(|refused| &refused.reasons);
    let reasons: Vec<String> = reasons.map(ToString::to_string).collect();
    if reasons.is_empty() { "there is no version of it".to_owned() } else { reasons.join("\n  ") }
}

fn by_folder(path: &Path) -> Option<(PathBuf, String, String)> {
    let path = std::path::absolute(path).ok().filter(|path| path.is_dir())?;
    let name = |path: &Path| Some(path.file_name()?.to_str()?.to_owned());
    let model = path.parent()?;
    Some((model.parent()?.to_path_buf(), name(model)?, name(&path)?))
}

/// Several registries' models as one scorer.
struct Ensemble {
    serving: OnnxScorer,
    chosen: Vec<(ModelIx, OnnxScorer)>,
}

impl Scorer for Ensemble {
    fn score(&mut self, model: ModelIx, rows: &[&[f32]]) -> Vec<Result<Score, Unscored>> {
        match self.chosen.iter_mut().rev().find(|(of, _)| *of == model) {
            Some((_, scorer)) => scorer.score(model, rows),
            None => self.serving.score(model, rows),
        }
    }
}
