//! Watches what models see and say: every score that is made counts, whether it leads to an alert or not.
//!
//! Law: nothing here changes a decision. Counts are bounded, live in memory and begin anew with the daemon, which whoever
//! reads them is told; what the log can tell is asked of the view instead. Fed by the scorer, read by metrics and `http`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::commands::{Watched, Watching};
use crate::domain::catalog::{Catalog, ModelIx};
use crate::domain::quality::{Recent, Trained};
use crate::domain::score::{Row, Score, Unscored};
use crate::domain::time::Timestamp;
use crate::error::Chain;
use crate::metrics;
use crate::projection::Views;
use crate::projection::performance::{Measure, Performance};

/// Versions of one model that are watched at once: one that serves, one in shadow, and those before them. The one that
/// scored longest ago makes room.
const VERSIONS_MAX: usize = 4;

/// What a version of a model learned from, if its manifest says so.
pub type TrainedOn = Arc<dyn Fn(ModelIx, &str) -> Option<Arc<Trained>> + Send + Sync>;

/// The counts, and what the models are.
pub struct Watch {
    models: Vec<Model>,
    days: u16,
    trained_on: TrainedOn,
    began: Timestamp,
    versions: Mutex<Vec<Vec<Version>>>,
    measured_at: Mutex<Option<Instant>>,
    is_measuring: AtomicBool,
}

struct Model {
    name: String,
    features: Vec<String>,
    horizon: Duration,
    budget: f64,
}

struct Version {
    name: Arc<str>,
    is_shadow: bool,
    is_trained: bool,
    /// Batches of the model counted when it last scored: the largest is the newest.
    last: u64,
    recent: Recent,
}

impl Watch {
    /// Watches the models of a catalogue over so many days of event time; `began` is the wall clock now.
    pub fn new(catalog: &Catalog, days: u16, trained_on: TrainedOn, began: Timestamp) -> Self {
        let name = |at: usize| catalog.features.get(at).map_or_else(String::new, |spec| spec.name.clone());
        let models: Vec<Model> = catalog
            .models
            .iter()
            .map(|spec| Model {
                name: spec.name.clone(),
                features: spec.features.iter().map(|feature| name(usize::from(feature.0))).collect(),
                horizon: spec.horizon,
                budget: spec.budget_per_user_year,
            })
            .collect();
        let versions = Mutex::new(models.iter().map(|_| Vec::new()).collect());
        Self { models, days, trained_on, began, versions, ..Self::blind() }
    }

    /// Watches nothing: for tests of other things.
    pub fn blind() -> Self {
        Self {
            models: Vec::new(),
            days: 1,
            trained_on: Arc::new(|_, _| None),
            began: Timestamp::MIN,
            versions: Mutex::new(Vec::new()),
            measured_at: Mutex::new(None),
            is_measuring: AtomicBool::new(false),
        }
    }

    /// Counts the scores of a batch. Some 20 ns a feature; one lock.
    pub(super) fn note(&self, rows: &[Row], answers: &[Result<Score, Unscored>]) {
        let mut versions = lock(&self.versions);
        for (row, answer) in rows.iter().zip(answers) {
            let Ok(score) = answer else { continue };
            let Some(of_model) = versions.get_mut(usize::from(row.model.0)) else { continue };
            self.version(of_model, row, &score.version, false).note(row, score.probability);
        }
    }

    /// Counts the scores of a version in shadow, which come on a thread of their own.
    pub(super) fn note_shadow(&self, rows: &[Row], answers: &[Result<Score, Unscored>]) {
        let mut versions = lock(&self.versions);
        for (row, answer) in rows.iter().zip(answers) {
            let Ok(score) = answer else { continue };
            let Some(of_model) = versions.get_mut(usize::from(row.model.0)) else { continue };
            self.version(of_model, row, &score.version, true).note(row, score.probability);
        }
    }

    /// The counts of a version: those that are there, or new ones.
    fn version<'a>(
        &self,
        of_model: &'a mut Vec<Version>,
        row: &Row,
        name: &Arc<str>,
        is_shadow: bool,
    ) -> &'a mut Version {
        let newest = of_model.iter().map(|version| version.last).max().unwrap_or_default();
        let found = of_model.iter().position(|version| version.name == *name).unwrap_or_else(|| {
            if of_model.len() >= VERSIONS_MAX {
                of_model.sort_by_key(|version| std::cmp::Reverse(version.last));
                of_model.truncate(VERSIONS_MAX - 1);
            }
            let trained = (self.trained_on)(row.model, name);
            if trained.is_none() {
                let model = self.models.get(usize::from(row.model.0)).map_or("", |model| model.name.as_str());
                tracing::warn!(model, version = &**name, "its manifest has no [drift]: drift cannot be told");
            }
            of_model.push(Version {
                name: Arc::clone(name),
                is_shadow,
                is_trained: trained.is_some(),
                last: 0,
                recent: Recent::new(row.features.len(), trained, self.days),
            });
            of_model.len() - 1
        });
        // `found` is a place that was found or made just now.
        #[expect(clippy::indexing_slicing, reason = "found above")]
        let version = &mut of_model[found];
        version.is_shadow = is_shadow;
        version.last = newest + 1;
        version
    }

    /// The counts as they stand, of the window that ends with `now`.
    pub(super) fn read(&self, now: Timestamp) -> Watching {
        let versions = lock(&self.versions);
        let of_model = self.models.iter().zip(versions.iter()).flat_map(|(model, versions)| {
            let serving = serving(versions);
            versions.iter().enumerate().map(move |(at, version)| Watched {
                model_type: model.name.clone(),
                model_version: version.name.to_string(),
                is_shadow: version.is_shadow,
                is_newest: serving == Some(at),
                is_trained: version.is_trained,
                features: model.features.clone(),
                reading: version.recent.read(now.day()),
            })
        });
        Watching { began: self.began, days: self.days, versions: of_model.collect() }
    }

    /// Tells the metrics of the drift of each model's newest version.
    pub(super) fn gauges(&self, now: Timestamp) {
        let watching = self.read(now);
        for watched in watching.versions.iter().filter(|watched| watched.is_newest) {
            let model = watched.model_type.as_str();
            metrics::model_scores_watched(model, number(watched.reading.rows));
            metrics::model_score_psi(model, or_nan(watched.reading.score_psi));
            for (feature, reading) in watched.features.iter().zip(&watched.reading.features) {
                metrics::model_feature_psi(model, feature, or_nan(reading.psi));
                metrics::model_feature_missing(model, feature, or_nan(reading.missing));
            }
        }
    }

    /// What to ask the view about the models.
    pub(super) fn question(&self, now: Timestamp) -> Measure {
        let models = self.models.iter().map(|model| (model.name.clone(), model.horizon)).collect();
        let pace_window = Duration::from_secs(u64::from(self.days) * 86_400);
        Measure { models, now, pace_window }
    }

    /// Measures the models by the view and tells the metrics, when it is time; answers at once.
    pub(super) fn measure(self: &Arc<Self>, views: &Arc<dyn Views>, now: Timestamp, every: Duration) {
        let is_time = lock(&self.measured_at).is_none_or(|at| at.elapsed() >= every);
        if !is_time || self.is_measuring.swap(true, Ordering::AcqRel) {
            return;
        }
        *lock(&self.measured_at) = Some(Instant::now());
        let (watch, views) = (Arc::clone(self), Arc::clone(views));
        drop(tokio::task::spawn_blocking(move || {
            match views.performance(&watch.question(now)) {
                Ok(performance) => watch.tell(&performance),
                Err(error) => tracing::debug!(error = %Chain(&error), "models are not measured this time"),
            }
            watch.is_measuring.store(false, Ordering::Release);
        }));
    }

    fn tell(&self, performance: &Performance) {
        for (measured, model) in performance.models.iter().zip(&self.models) {
            let name = model.name.as_str();
            let quality = measured.newest().map(|newest| &newest.quality);
            metrics::model_calibration_error(name, or_nan(quality.and_then(|it| it.calibration_error)));
            metrics::model_labels(name, number(quality.map_or(0, |it| it.rows)));
            metrics::model_alert_rate(name, or_nan(performance.pace(measured)));
            metrics::model_alert_budget(name, model.budget);
        }
    }
}

impl Version {
    fn note(&mut self, row: &Row, probability: f32) {
        self.recent.note(row.as_of.day(), &row.features, probability);
    }
}

/// The version that scored last and not in shadow.
fn serving(versions: &[Version]) -> Option<usize> {
    let serving = versions.iter().enumerate().filter(|(_, version)| !version.is_shadow);
    serving.max_by_key(|(_, version)| version.last).map(|(at, _)| at)
}

/// What is guarded holds after a panic as well as before.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn or_nan(value: Option<f64>) -> f64 {
    value.unwrap_or(f64::NAN)
}

#[expect(clippy::cast_precision_loss, reason = "a gauge")]
fn number(count: u64) -> f64 {
    count as f64
}
