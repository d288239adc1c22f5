//! How good models are, on the wire.
//!
//! Law: a measure that has no meaning is null, and what is null for want of ground says why.

use serde::Serialize;
use utoipa::ToSchema;

use super::live::Live;
use crate::commands::Watching;
use crate::domain::catalog::{Catalog, ModelSpec};
use crate::domain::quality;
use crate::domain::time::Timestamp;
use crate::projection::performance as measured;

/// What the figures are of: short, for people who read the answer.
const BASIS: &str = "Scores that stand in the log: those that opened an alert and those that were asked for (score-user, \
    score-users, the sweep); of these the mature ones. A score is mature when the newest outcome of its alert says right or \
    wrong, or the model's horizon has passed; one that was followed by a conversion before is early and counts for recall only. Scores that led to \
    nothing are not recorded, so these measures lean to high probabilities; a back-test measures every score. Precision: \
    positives among mature alerts. Recall: positive and early alerts / (these + missed conversions); a conversion is missed \
    when the user had no alert of the model within the horizon before it.";

/// How good the models are.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct Performance {
    /// Labels are told as of this moment of the log's clock.
    #[schema(value_type = String, format = DateTime)]
    as_of: Timestamp,
    /// What the figures are of.
    basis: &'static str,
    /// Recorded scores that were too old to be looked at: only the newest million is.
    rows_left_out: u64,
    /// Per model of the catalogue.
    models: Vec<Model>,
    /// Counted in memory since the daemon started.
    live: Live,
}

/// How good one model is.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Model {
    /// Which.
    model_type: String,
    /// How long after a score a conversion counts for it.
    horizon_days: f64,
    /// Over all versions: positives among mature alerts.
    precision: Option<f64>,
    /// Over all versions: positive alerts / (positive alerts + missed conversions).
    recall: Option<f64>,
    /// How many labels are known, over all versions.
    labels: LabelsBySource,
    /// Conversions.
    conversions: Conversions,
    /// The pace of alerts against the budget.
    budget: Budget,
    /// Versions with recorded scores, oldest first.
    versions: Vec<Version>,
    /// Versions in shadow, each beside the one that served.
    challengers: Vec<Challenger>,
}

/// Conversions of a model.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Conversions {
    /// Known: from `POST /outcomes`, from alerts' outcomes, and from events that the catalogue names as conversions.
    known: u64,
    /// Of these, without an alert within the horizon before.
    missed: u64,
}

/// The pace of alerts.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Budget {
    /// Days of event time that the pace is of, as far as the log covers them.
    days: f64,
    /// Alerts opened in them.
    alerts: u64,
    /// Alerts per user and year at this pace; null with less than a day of log.
    alerts_per_user_per_year: Option<f64>,
    /// As many as the catalogue allows (0.1: 10 % of users a year).
    budget_per_user_per_year: f64,
    /// Whether the pace keeps to it.
    within_budget: Option<bool>,
    /// The threshold of the catalogue.
    threshold: f32,
}

/// How good one version is.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Version {
    /// Which.
    model_version: String,
    /// Event time of its first recorded score.
    #[schema(value_type = String, format = DateTime)]
    first_scored_at: Timestamp,
    /// Of its last.
    #[schema(value_type = String, format = DateTime)]
    last_scored_at: Timestamp,
    /// Alerts that it opened.
    alerts: u64,
    /// Outcomes recorded for them; the newest of each counts.
    outcomes: Outcomes,
    /// How many labels are known, of its alerts and of other scores that were asked for.
    labels: LabelsBySource,
    /// Positives among mature alerts.
    precision: Option<f64>,
    /// Positive alerts / (positive alerts + missed conversions of its time).
    recall: Option<f64>,
    /// Conversions without an alert before them, from its first recorded score to the next version's first.
    missed_conversions: u64,
    /// The probabilities of its mature scores against what happened.
    #[serde(flatten)]
    quality: Quality,
}

/// Newest outcomes of alerts.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Outcomes {
    /// Right or wrong.
    known: u64,
    /// Right.
    true_positive: u64,
    /// Wrong.
    false_positive: u64,
    /// Told as not known.
    unknown: u64,
    /// Alerts whose outcome was told more than once.
    corrected: u64,
}

/// How many labels are known.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Labels {
    /// Scores.
    rows: u64,
    /// Of these, judged or as old as the horizon.
    mature: u64,
    /// Of the mature ones, positive.
    positives: u64,
    /// Not mature, but followed by a conversion already.
    early: u64,
}

/// How many labels are known, by why the score was recorded.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct LabelsBySource {
    /// It opened an alert.
    alerts: Labels,
    /// It was asked for, and opened none.
    requested: Labels,
}

/// How good probabilities are.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Quality {
    /// Mature scores measured.
    rows: u64,
    /// Of these, positive.
    positives: u64,
    /// Their share.
    base_rate: Option<f64>,
    /// Area under the ROC curve, ties counted half; null unless there are both positives and negatives.
    roc_auc: Option<f64>,
    /// Mean precision over the recall; null unless there are both.
    average_precision: Option<f64>,
    /// Mean squared error of the probability.
    brier: Option<f64>,
    /// Expected calibration error over the table's bins.
    calibration_error: Option<f64>,
    /// Share of positives in the top tenth over the base rate; null unless there are both.
    lift_top_decile: Option<f64>,
    /// Ten bins of equal width.
    reliability: Vec<Bin>,
}

/// A bin of the reliability table.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Bin {
    /// Probabilities from here on.
    from: f64,
    /// To below here; the last bin holds 1 too.
    to: f64,
    /// Scores in it.
    rows: u64,
    /// Their mean probability.
    mean_probability: Option<f64>,
    /// The share of positives among them.
    positive_share: Option<f64>,
}

/// A version in shadow beside the one that served, over the scores that both gave.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Challenger {
    /// The version in shadow.
    model_version: String,
    /// The version that served.
    champion_version: String,
    /// Event time of the first score of both.
    #[schema(value_type = String, format = DateTime)]
    first_scored_at: Timestamp,
    /// Of the last.
    #[schema(value_type = String, format = DateTime)]
    last_scored_at: Timestamp,
    /// Scores by who is over the threshold.
    agreement: Agreement,
    /// Users with at least one score over the threshold: at most so many would have had an alert at first.
    would_be_alerts: WouldBe,
    /// Mean absolute difference of the probabilities.
    difference_mean: f64,
    /// The largest.
    difference_max: f64,
    /// How many labels are known, by conversions alone.
    labels: Labels,
    /// The challenger against them.
    challenger: Quality,
    /// The champion against the same.
    champion: Quality,
}

/// Scores by who is over the threshold.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Agreement {
    /// Scores that both gave.
    rows: u64,
    /// Both are over it.
    both: u64,
    /// The challenger alone.
    challenger_only: u64,
    /// The champion alone.
    champion_only: u64,
    /// None of them.
    neither: u64,
    /// Share of scores where both say the same.
    share: Option<f64>,
}

/// Users with a score over the threshold.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct WouldBe {
    /// By the challenger.
    challenger: u64,
    /// By the champion.
    champion: u64,
}

impl Performance {
    /// The view's figures of the catalogue's models, and the live counts.
    pub(in crate::http) fn new(
        catalog: &Catalog,
        figures: &measured::Performance,
        watching: &Watching,
        as_of: Timestamp,
    ) -> Self {
        let spec = |name: &str| catalog.models.iter().find(|spec| spec.name == name);
        let models = figures
            .models
            .iter()
            .filter_map(|model| Some(Model::of(spec(&model.model_type)?, model, figures)));
        Self {
            as_of,
            basis: BASIS,
            rows_left_out: figures.rows_left_out,
            models: models.collect(),
            live: Live::of(catalog, figures, watching),
        }
    }
}

impl Model {
    fn of(spec: &ModelSpec, model: &measured::ModelPerformance, figures: &measured::Performance) -> Self {
        let pace = figures.pace(model);
        Self {
            model_type: model.model_type.clone(),
            horizon_days: spec.horizon.as_secs_f64() / 86_400.0,
            precision: model.precision(),
            recall: model.recall(),
            labels: LabelsBySource {
                alerts: model.labels(|version| version.alerts).into(),
                requested: model.labels(|version| version.requested).into(),
            },
            conversions: Conversions { known: model.conversions, missed: model.missed },
            budget: Budget {
                days: figures.pace_days,
                alerts: model.alerts_recent,
                alerts_per_user_per_year: pace,
                budget_per_user_per_year: spec.budget_per_user_year,
                within_budget: pace.map(|pace| pace <= spec.budget_per_user_year),
                threshold: spec.threshold,
            },
            versions: model.versions.iter().map(Version::from).collect(),
            challengers: model.challengers.iter().map(Challenger::from).collect(),
        }
    }
}

impl From<&measured::VersionPerformance> for Version {
    fn from(version: &measured::VersionPerformance) -> Self {
        let outcomes = version.outcomes;
        Self {
            model_version: version.model_version.clone(),
            first_scored_at: version.first_scored_at,
            last_scored_at: version.last_scored_at,
            alerts: version.alerts.rows,
            outcomes: Outcomes {
                known: outcomes.true_positive + outcomes.false_positive,
                true_positive: outcomes.true_positive,
                false_positive: outcomes.false_positive,
                unknown: outcomes.unknown,
                corrected: outcomes.corrected,
            },
            labels: LabelsBySource { alerts: version.alerts.into(), requested: version.requested.into() },
            precision: version.precision(),
            recall: version.recall(),
            missed_conversions: version.missed,
            quality: (&version.quality).into(),
        }
    }
}

impl From<measured::Labels> for Labels {
    fn from(labels: measured::Labels) -> Self {
        Self { rows: labels.rows, mature: labels.mature, positives: labels.positives, early: labels.early }
    }
}

impl From<&quality::Quality> for Quality {
    fn from(quality: &quality::Quality) -> Self {
        let bin = |bin: &quality::Reliability| Bin {
            from: bin.from,
            to: bin.to,
            rows: bin.rows,
            mean_probability: bin.mean_probability,
            positive_share: bin.positive_share,
        };
        Self {
            rows: quality.rows,
            positives: quality.positives,
            base_rate: quality.base_rate,
            roc_auc: quality.roc_auc,
            average_precision: quality.average_precision,
            brier: quality.brier,
            calibration_error: quality.calibration_error,
            lift_top_decile: quality.lift_top_decile,
            reliability: quality.reliability.iter().map(bin).collect(),
        }
    }
}

impl From<&measured::ChallengerPerformance> for Challenger {
    fn from(pair: &measured::ChallengerPerformance) -> Self {
        let agreement = pair.agreement;
        let rows = agreement.rows();
        let same = agreement.both + agreement.neither;
        Self {
            model_version: pair.model_version.clone(),
            champion_version: pair.champion_version.clone(),
            first_scored_at: pair.first_scored_at,
            last_scored_at: pair.last_scored_at,
            agreement: Agreement {
                rows,
                both: agreement.both,
                challenger_only: agreement.challenger_only,
                champion_only: agreement.champion_only,
                neither: agreement.neither,
                share: (rows > 0).then(|| same as f64 / rows as f64),
            },
            would_be_alerts: WouldBe {
                challenger: pair.users_would_alert,
                champion: pair.users_champion_would_alert,
            },
            difference_mean: pair.difference_mean,
            difference_max: pair.difference_max,
            labels: pair.labels.into(),
            challenger: (&pair.quality).into(),
            champion: (&pair.champion_quality).into(),
        }
    }
}
