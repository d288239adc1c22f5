//! How good models are, as the view measures it: what is asked, what is answered, and the words' exact meaning.
//!
//! Law: figures follow from the log, the question and nothing else.
//!
//! - A *recorded score* is one that stands in the log: it opened an alert (`AlertScored`) or was asked for (`UserScored`). A
//!   score that was asked for and opened an alert is one. Scores that led to nothing and were not asked for are not recorded.
//! - A *conversion* of a user and model is a `ConversionRecorded` with `converted` (the newest for its time counts), an event
//!   of the types that the catalogue names as `conversion_events`, or an alert's outcome with `converted` (the newest counts).
//! - A recorded score is *mature* when the newest outcome of the alert that it opened judges it (`converted` where it is given,
//!   else right or wrong; UNKNOWN says nothing), or when the model's horizon has passed: then it is positive if a conversion
//!   happened after it and within the horizon, else negative.
//! - A score that is not mature but was followed by a conversion is *early*. It counts for recall only: negatives wait for
//!   the horizon, so measures that took early positives in would find too many of them.
//! - A conversion is *missed* when no alert of the model was opened for the user in the horizon before it, and it is not told
//!   by an alert's outcome. A version has the misses from its first recorded score until the next version's first one.
//! - *Precision* is positives / mature among alerts; *recall* is (positive + early) alerts / (these + missed
//!   conversions).

use std::time::Duration;

use crate::domain::quality::Quality;
use crate::domain::time::Timestamp;

/// What to measure.
#[derive(Clone, Debug, PartialEq)]
pub struct Measure {
    /// The models, each with its horizon.
    pub models: Vec<(String, Duration)>,
    /// The log's clock: labels are told as of then.
    pub now: Timestamp,
    /// Alerts opened in so long before `now` tell the present pace.
    pub pace_window: Duration,
}

/// How good the models are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Performance {
    /// As asked, in that order.
    pub models: Vec<ModelPerformance>,
    /// Users known.
    pub users: u64,
    /// Days of the pace's window that the log covers.
    pub pace_days: f64,
    /// Recorded scores that were too old to be looked at: only the newest are (a bound).
    pub rows_left_out: u64,
}

/// How good one model is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelPerformance {
    /// Its name.
    pub model_type: String,
    /// Conversions known, up to `now`.
    pub conversions: u64,
    /// Of these, missed.
    pub missed: u64,
    /// Alerts opened in the pace's window.
    pub alerts_recent: u64,
    /// Versions with recorded scores, by their first one.
    pub versions: Vec<VersionPerformance>,
    /// Pairs of a version in shadow and the one that served, by their first score.
    pub challengers: Vec<ChallengerPerformance>,
}

/// How good one version is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VersionPerformance {
    /// Its name.
    pub model_version: String,
    /// Event time of its first recorded score.
    pub first_scored_at: Timestamp,
    /// Of its last.
    pub last_scored_at: Timestamp,
    /// The labels of the alerts it opened.
    pub alerts: Labels,
    /// What people said of them.
    pub outcomes: Outcomes,
    /// The labels of scores that were asked for and opened no alert.
    pub requested: Labels,
    /// Conversions missed in its time.
    pub missed: u64,
    /// The probabilities of its mature scores against their labels.
    pub quality: Quality,
}

/// How many labels are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// Scores.
    pub rows: u64,
    /// Of these, judged or as old as the horizon.
    pub mature: u64,
    /// Of the mature ones, positive.
    pub positives: u64,
    /// Not mature, but followed by a conversion already.
    pub early: u64,
}

impl Labels {
    /// Counts a score: its label as far as it is known, and whether it is mature.
    pub fn count(&mut self, label: Option<bool>, is_mature: bool) {
        let is_positive = label == Some(true);
        self.rows += 1;
        self.mature += u64::from(is_mature);
        self.positives += u64::from(is_mature && is_positive);
        self.early += u64::from(!is_mature && is_positive);
    }

    /// Positives, mature or early.
    pub fn caught(&self) -> u64 {
        self.positives + self.early
    }
}

/// The newest outcomes of alerts, by what they say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// Right.
    pub true_positive: u64,
    /// Wrong.
    pub false_positive: u64,
    /// Told as not known.
    pub unknown: u64,
    /// How many were recorded more than once.
    pub corrected: u64,
}

/// A version in shadow beside the one that served, over the scores that both gave.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChallengerPerformance {
    /// The version in shadow.
    pub model_version: String,
    /// The version that served.
    pub champion_version: String,
    /// Event time of the first score of both.
    pub first_scored_at: Timestamp,
    /// Of the last.
    pub last_scored_at: Timestamp,
    /// How they agree about the threshold.
    pub agreement: Agreement,
    /// Users with at least one score over the threshold by the challenger.
    pub users_would_alert: u64,
    /// The same by the champion.
    pub users_champion_would_alert: u64,
    /// The mean of the absolute differences between their probabilities.
    pub difference_mean: f64,
    /// The largest.
    pub difference_max: f64,
    /// Scores whose label is known, by conversions alone.
    pub labels: Labels,
    /// The challenger's probabilities against them.
    pub quality: Quality,
    /// The champion's probabilities against the same.
    pub champion_quality: Quality,
}

/// Scores by who is over the threshold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Agreement {
    /// Both.
    pub both: u64,
    /// The challenger alone.
    pub challenger_only: u64,
    /// The champion alone.
    pub champion_only: u64,
    /// None of them.
    pub neither: u64,
}

impl Agreement {
    /// Counts a score.
    pub fn add(&mut self, challenger: bool, champion: bool) {
        *match (challenger, champion) {
            (true, true) => &mut self.both,
            (true, false) => &mut self.challenger_only,
            (false, true) => &mut self.champion_only,
            (false, false) => &mut self.neither,
        } += 1;
    }

    /// All scores.
    pub fn rows(&self) -> u64 {
        self.both + self.challenger_only + self.champion_only + self.neither
    }
}

impl VersionPerformance {
    /// Positives among mature alerts; none without any.
    pub fn precision(&self) -> Option<f64> {
        share(self.alerts.positives, self.alerts.mature)
    }

    /// Positive and early alerts among these and the missed conversions; none without any.
    pub fn recall(&self) -> Option<f64> {
        share(self.alerts.caught(), self.alerts.caught() + self.missed)
    }
}

impl ModelPerformance {
    /// Over all versions, see [`VersionPerformance::precision`].
    pub fn precision(&self) -> Option<f64> {
        let alerts = self.labels(|version| version.alerts);
        share(alerts.positives, alerts.mature)
    }

    /// Over all versions, see [`VersionPerformance::recall`].
    pub fn recall(&self) -> Option<f64> {
        let caught = self.labels(|version| version.alerts).caught();
        share(caught, caught + self.missed)
    }

    /// Labels summed up over all versions.
    pub fn labels(&self, of: impl Fn(&VersionPerformance) -> Labels) -> Labels {
        self.versions.iter().map(of).fold(Labels::default(), |sum, each| Labels {
            rows: sum.rows + each.rows,
            mature: sum.mature + each.mature,
            positives: sum.positives + each.positives,
            early: sum.early + each.early,
        })
    }

    /// The version that scored last.
    pub fn newest(&self) -> Option<&VersionPerformance> {
        self.versions.iter().max_by_key(|version| version.last_scored_at)
    }
}

impl Performance {
    /// Alerts per user and year at the pace of the window; none when the log covers less than a day of it.
    #[expect(clippy::cast_precision_loss, reason = "counts")]
    pub fn pace(&self, model: &ModelPerformance) -> Option<f64> {
        let user_years = self.users as f64 * self.pace_days / DAYS_PER_YEAR;
        (self.users > 0 && self.pace_days >= 1.0).then(|| model.alerts_recent as f64 / user_years)
    }
}

/// Mean length of a year in the Gregorian calendar.
const DAYS_PER_YEAR: f64 = 365.2425;

#[expect(clippy::cast_precision_loss, reason = "counts")]
fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}
