//! What models have seen and said since the daemon started, on the wire.
//!
//! Law: what cannot be told is null, and `reason` says why.

use serde::Serialize;
use utoipa::ToSchema;

use crate::commands::{Watched, Watching};
use crate::domain::catalog::{Catalog, ModelSpec};
use crate::domain::quality::{ABOVE_MIN, ROWS_MIN, suggest};
use crate::domain::time::{DAY_MS, Timestamp};
use crate::projection::performance::Performance;

/// Counted in memory since the daemon started: every score that was made, whether recorded or not. A restart begins anew.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Live {
    /// When the counts were begun (wall clock).
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
    /// Over how many days of event time.
    window_days: u16,
    /// Versions that have scored since.
    versions: Vec<Version>,
}

/// One version's counts in the window.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Version {
    /// Which model.
    model_type: String,
    /// Which version.
    model_version: String,
    /// Whether it runs in shadow.
    in_shadow: bool,
    /// Scores counted.
    scores: u64,
    /// First day of event time with a score.
    #[schema(value_type = Option<String>, format = Date)]
    from: Option<String>,
    /// Last day with a score.
    #[schema(value_type = Option<String>, format = Date)]
    to: Option<String>,
    /// Scores older than the window when they were made: not counted.
    late: u64,
    /// Drift of the calibrated score against training (population stability index): under 0.1 nothing to speak of, over 0.25
    /// another population.
    score_psi: Option<f64>,
    /// Why drift is null; null when it is not.
    reason: Option<String>,
    /// Per feature, the most drifted first.
    features: Vec<Feature>,
    /// The threshold that would keep to the alert budget; null in shadow, or with `suggestionReason`.
    suggested_threshold: Option<f64>,
    /// Alerts per user and year that it would make, by the distribution of these scores.
    suggested_alerts_per_user_per_year: Option<f64>,
    /// Why there is no suggestion; null when there is.
    suggestion_reason: Option<String>,
}

/// One feature's counts in the window.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Feature {
    /// Its name.
    name: String,
    /// Drift against training, missing values counted as a bin of their own.
    psi: Option<f64>,
    /// Share of scores for which it was missing.
    missing: Option<f64>,
    /// The same at training.
    missing_at_training: Option<f64>,
}

impl Live {
    /// The counts, with suggestions from the pace of alerts.
    pub(super) fn of(catalog: &Catalog, figures: &Performance, watching: &Watching) -> Self {
        let spec = |name: &str| catalog.models.iter().find(|spec| spec.name == name);
        let version = |watched: &Watched| Some(Version::of(spec(&watched.model_type)?, figures, watched));
        Self {
            since: watching.began,
            window_days: watching.days,
            versions: watching.versions.iter().filter_map(version).collect(),
        }
    }
}

impl Version {
    fn of(spec: &ModelSpec, figures: &Performance, watched: &Watched) -> Self {
        let reading = &watched.reading;
        let suggestion = suggestion(spec, figures, watched);
        let (suggested, suggestion_reason) = match suggestion {
            Ok(suggestion) => (Some(suggestion), None),
            Err(reason) => (None, Some(reason)),
        };
        let mut features: Vec<Feature> = watched
            .features
            .iter()
            .zip(&reading.features)
            .map(|(name, feature)| Feature {
                name: name.clone(),
                psi: feature.psi,
                missing: feature.missing,
                missing_at_training: feature.missing_trained,
            })
            .collect();
        let drift = |feature: &Feature| feature.psi.unwrap_or(-1.0);
        features.sort_by(|one, other| drift(other).total_cmp(&drift(one)));
        Self {
            model_type: watched.model_type.clone(),
            model_version: watched.model_version.clone(),
            in_shadow: watched.is_shadow,
            scores: reading.rows,
            from: reading.days.map(|(first, _)| date(first)),
            to: reading.days.map(|(_, last)| date(last)),
            late: reading.late,
            score_psi: reading.score_psi,
            reason: no_drift(watched),
            features,
            suggested_threshold: suggested.map(|it| it.threshold),
            suggested_alerts_per_user_per_year: suggested.map(|it| it.rate),
            suggestion_reason,
        }
    }
}

fn no_drift(watched: &Watched) -> Option<String> {
    if !watched.is_trained {
        return Some("the model's manifest has no [drift]: train it again with this release".to_owned());
    }
    let rows = watched.reading.rows;
    (rows < ROWS_MIN).then(|| format!("{rows} scores in the window, at least {ROWS_MIN} are needed"))
}

fn suggestion(
    spec: &ModelSpec,
    figures: &Performance,
    watched: &Watched,
) -> Result<crate::domain::quality::Suggestion, String> {
    if watched.is_shadow || !watched.is_newest {
        return Err("only the version that serves makes alerts".to_owned());
    }
    let model = figures.models.iter().find(|model| model.model_type == spec.name);
    let pace = model.and_then(|model| figures.pace(model)).ok_or("the log covers less than a day")?;
    suggest(&watched.reading.scores, spec.threshold, pace, spec.budget_per_user_year).ok_or_else(|| {
        format!(
            "there are no alerts in the window, fewer than {ABOVE_MIN} scores at or over the threshold, or none that \
             would keep to the budget"
        )
    })
}

/// A day as a date.
fn date(day: i32) -> String {
    let start = Timestamp::from_millis(i64::from(day) * DAY_MS).to_string();
    start.split('T').next().unwrap_or_default().to_owned()
}
