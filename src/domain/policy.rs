//! From a score to a decision: thresholds, bands, hysteresis, cooldown.
//!
//! Law: a verdict depends on the model's policy, the newest alert of the model, the probability, the strength of the live
//! signals and event time; on nothing else. Called by the entity for each answer of a model, in the order of the triggers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::alert::Alert;
use super::catalog::ModelSpec;
use super::id::AlertId;
use super::time::Timestamp;

/// How urgent an alert is; ordered from LOW to CRITICAL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Priority {
    /// Worth a look.
    Low,
    /// Soon.
    Medium,
    /// Today.
    High,
    /// Now.
    Critical,
}

/// What becomes of a score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Silence,
    /// A new alert.
    Open(Priority),
    /// The open alert has become more urgent.
    Escalate {
        /// Which.
        alert: AlertId,
        /// The band it had.
        from: Priority,
        /// The band it has now.
        to: Priority,
    },
    /// The ended alert's reason is gone: the next one need not wait for the cooldown.
    Rearm(AlertId),
}

/// The band a score falls in; none below the threshold.
pub fn band(model: &ModelSpec, probability: f32, strength: f32) -> Option<Priority> {
    let holds =
        |band: &&super::catalog::Band| probability >= band.probability_min && strength >= band.strength_min;
    let band = || model.bands.iter().find(holds).or(model.bands.last());
    (probability >= model.threshold).then(|| band().map_or(Priority::Low, |band| band.priority))
}

/// Judges a score. The rule, exactly:
///
/// 1. The model's newest alert is open: the score escalates it when it is at or over the threshold and its band is higher
///    than the alert's; else silence. A band never falls.
/// 2. There is no alert yet: at or over the threshold a new one opens.
/// 3. The newest alert has ended. A new one opens at or over the threshold when the cooldown is over (event time since the
///    end is at least `cooldown`) or the alert is re-armed: a score of the model, decided after the end, was below `exit`.
///    Between `exit` and the threshold nothing changes: a score that wavers there re-arms nothing.
/// 4. The first score below `exit` within the cooldown re-arms. That is written as a fact, since scores are not: after a
///    crash the same is known. Once the cooldown is over nothing needs to be written.
pub fn judge(
    model: &ModelSpec,
    newest: Option<&Alert>,
    probability: f32,
    strength: f32,
    as_of: Timestamp,
) -> Verdict {
    let priority = band(model, probability, strength);
    let opened = || priority.map_or(Verdict::Silence, Verdict::Open);
    match newest {
        None => opened(),
        Some(alert) if alert.status.is_open() => match priority {
            Some(to) if to > alert.priority => {
                Verdict::Escalate { alert: alert.id, from: alert.priority, to }
            }
            Some(_) | None => Verdict::Silence,
        },
        Some(alert) if alert.lets_next(as_of, model.cooldown) => opened(),
        Some(alert) if probability < model.exit => Verdict::Rearm(alert.id),
        Some(_) => Verdict::Silence,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::alert::Status;
    use crate::domain::catalog::Band;
    use crate::domain::time::DAY_MS;
    use std::time::Duration;

    fn at(day: i64) -> Timestamp {
        Timestamp::from_millis(day * DAY_MS)
    }

    fn model() -> ModelSpec {
        let band = |priority, probability_min, strength_min| Band { priority, probability_min, strength_min };
        ModelSpec {
            name: "SELL".into(),
            doc: String::new(),
            features: Vec::new(),
            threshold: 0.5,
            exit: 0.4,
            bands: vec![
                band(Priority::Critical, 0.9, 1.0),
                band(Priority::High, 0.8, 0.0),
                band(Priority::Low, 0.0, 0.0),
            ],
            cooldown: Duration::from_secs(10 * 86_400),
            rescore_after: Duration::from_secs(60),
            horizon: Duration::from_secs(30 * 86_400),
            budget_per_user_year: 0.1,
            conversion_events: Vec::new(),
        }
    }

    fn alert(status: Status, priority: Priority, rearmed: bool) -> Alert {
        Alert {
            id: AlertId(uuid::Uuid::from_u128(7)),
            model: "SELL".into(),
            status,
            priority,
            expires_at: at(30),
            wakes_at: None,
            ended_at: (!status.is_open()).then(|| at(5)),
            rearmed,
            moves: 0,
            outcomes: 0,
        }
    }

    fn check(newest: Option<Alert>, probability: f32, day: i64, then: Verdict) {
        let verdict = judge(&model(), newest.as_ref(), probability, 0.5, at(day));
        assert_eq!(verdict, then, "{newest:?} at {probability} on day {day}");
    }

    #[test]
    fn bands_need_probability_and_strength() {
        assert_eq!(band(&model(), 0.95, 1.0), Some(Priority::Critical));
        assert_eq!(band(&model(), 0.95, 0.9), Some(Priority::High));
        assert_eq!(band(&model(), 0.5, 9.0), Some(Priority::Low));
        assert_eq!(band(&model(), 0.499, 9.0), None);
        assert_eq!(band(&model(), f32::NAN, 9.0), None);
    }

    #[test]
    fn a_first_alert_needs_the_threshold_only() {
        check(None, 0.5, 0, Verdict::Open(Priority::Low));
        check(None, 0.49, 0, Verdict::Silence);
        check(None, f32::NAN, 0, Verdict::Silence);
    }

    #[test]
    fn an_open_alert_escalates_and_never_falls_or_doubles() {
        for status in [Status::Pending, Status::Acknowledged, Status::InProgress, Status::Snoozed] {
            let open = alert(status, Priority::Low, false);
            let up = Verdict::Escalate { alert: open.id, from: Priority::Low, to: Priority::High };
            check(Some(open.clone()), 0.8, 6, up);
            check(Some(open.clone()), 0.6, 6, Verdict::Silence);
            check(Some(open), 0.1, 6, Verdict::Silence);
            check(Some(alert(status, Priority::Critical, false)), 0.8, 6, Verdict::Silence);
        }
    }

    #[test]
    fn after_an_end_the_next_waits_for_the_cooldown_or_a_score_below_exit() {
        let ended = |rearmed| Some(alert(Status::Dismissed, Priority::Low, rearmed));
        check(ended(false), 0.9, 14, Verdict::Silence);
        check(ended(false), 0.9, 15, Verdict::Open(Priority::High));
        check(ended(false), 0.45, 6, Verdict::Silence);
        check(ended(false), 0.39, 6, Verdict::Rearm(AlertId(uuid::Uuid::from_u128(7))));
        check(ended(true), 0.39, 6, Verdict::Silence);
        check(ended(true), 0.5, 6, Verdict::Open(Priority::Low));
        check(ended(false), 0.39, 15, Verdict::Silence);
    }
}
