//! What really happened to one user, as far as the log tells: conversions by model, and what people said of alerts.
//!
//! Law: of what was said about the same thing the newest counts: a `ConversionRecorded` replaces an earlier one of the same
//! model and time, an outcome an earlier one of the same alert. Called by the dataset and the back-test.

use std::time::Duration;

use super::alert::Outcome;
use super::catalog::ModelIx;
use super::event::{AlertOutcomeRecorded, ConversionRecorded, Revision};
use super::id::AlertId;
use super::label::{Label, label};
use super::time::Timestamp;

/// A conversion: when, and what it was worth if somebody said so.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conversion {
    /// When.
    pub at: Timestamp,
    /// In the currency of the business.
    pub value: Option<f64>,
}

/// What happened to one user.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Truth(Vec<(ModelIx, Told)>);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Told {
    /// A behaviour event that the catalogue calls a conversion.
    Seen(Timestamp),
    /// Somebody said that the user did, or did not, convert.
    Recorded { conversion: Conversion, converted: bool },
    /// An alert opened at this revision of `user-<id>`.
    Alert { alert: AlertId, revision: Revision },
    /// What became of it.
    Outcome { alert: AlertId, verdict: Option<bool>, conversion: Option<Conversion> },
}

impl Truth {
    /// A behaviour event that is a conversion of the model.
    pub fn seen(&mut self, model: ModelIx, at: Timestamp) {
        self.0.push((model, Told::Seen(at)));
    }

    /// A conversion, or its correction.
    pub fn recorded(&mut self, model: ModelIx, fact: &ConversionRecorded) {
        let conversion = Conversion { at: fact.occurred_at, value: fact.conversion_value };
        let same = |(of, told): &(ModelIx, Told)| {
            *of == model
                && matches!(told, Told::Recorded { conversion, .. } if conversion.at == fact.occurred_at)
        };
        self.0.retain(|told| !same(told));
        self.0.push((model, Told::Recorded { conversion, converted: fact.converted }));
    }

    /// An alert was opened on the event at this revision: an outcome of it speaks of that score.
    pub fn alerted(&mut self, model: ModelIx, alert: AlertId, revision: Revision) {
        self.0.push((model, Told::Alert { alert, revision }));
    }

    /// What became of an alert, or a correction of that.
    pub fn outcome(&mut self, model: ModelIx, fact: &AlertOutcomeRecorded) {
        let verdict = match (fact.outcome, fact.converted) {
            (_, Some(converted)) => Some(converted),
            (Outcome::TruePositive, None) => Some(true),
            (Outcome::FalsePositive, None) => Some(false),
            (Outcome::Unknown, None) => None,
        };
        let conversion = (fact.converted == Some(true))
            .then_some(Conversion { at: fact.occurred_at, value: fact.conversion_value });
        self.0.retain(|(_, told)| !matches!(told, Told::Outcome { alert, .. } if *alert == fact.alert_id));
        self.0.push((model, Told::Outcome { alert: fact.alert_id, verdict, conversion }));
    }

    /// The user's conversions of a model, oldest first; two at the same time are one.
    pub fn conversions(&self, model: ModelIx) -> Vec<Conversion> {
        let of_model = self.0.iter().filter(|(of, _)| *of == model);
        let mut found: Vec<Conversion> = of_model
            .filter_map(|(_, told)| match told {
                Told::Seen(at) => Some(Conversion { at: *at, value: None }),
                Told::Recorded { conversion, converted } => converted.then_some(*conversion),
                Told::Outcome { conversion, .. } => *conversion,
                Told::Alert { .. } => None,
            })
            .collect();
        found.sort_by(|a, b| a.at.cmp(&b.at).then(b.value.is_some().cmp(&a.value.is_some())));
        found.dedup_by_key(|conversion| conversion.at);
        found
    }

    /// What people said of the alert that the score at this revision opened; none when nothing is known, or there was none.
    pub fn verdict(&self, model: ModelIx, revision: Revision) -> Option<bool> {
        let alert = self.0.iter().find_map(|(of, told)| match told {
            Told::Alert { alert, revision: at } if *of == model && *at == revision => Some(*alert),
            Told::Alert { .. } | Told::Seen(_) | Told::Recorded { .. } | Told::Outcome { .. } => None,
        })?;
        self.verdict_of(alert)
    }

    /// What people said of an alert.
    pub fn verdict_of(&self, asked: AlertId) -> Option<bool> {
        self.0.iter().find_map(|(_, told)| match told {
            Told::Outcome { alert, verdict, .. } if *alert == asked => *verdict,
            Told::Outcome { .. } | Told::Alert { .. } | Told::Seen(_) | Told::Recorded { .. } => None,
        })
    }

    /// The label of a score: what people said of the alert that it opened; else whether the user converted within the
    /// horizon (see [`label`]).
    pub fn label(
        &self,
        model: ModelIx,
        revision: Revision,
        as_of: Timestamp,
        horizon: Duration,
        now: Timestamp,
    ) -> Label {
        match self.verdict(model, revision) {
            Some(true) => Label::Positive,
            Some(false) => Label::Negative,
            None => {
                let at: Vec<Timestamp> =
                    self.conversions(model).iter().map(|conversion| conversion.at).collect();
                label(as_of, horizon, &at, now)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    const MODEL: ModelIx = ModelIx(0);
    const HORIZON: Duration = Duration::from_millis(100);

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn recorded(millis: i64, converted: bool) -> ConversionRecorded {
        ConversionRecorded {
            id: format!("{millis}"),
            user_id: "u".parse().unwrap(),
            model_type: "SELL".into(),
            converted,
            conversion_value: converted.then_some(7.0),
            occurred_at: at(millis),
        }
    }

    fn outcome(outcome: Outcome, converted: Option<bool>, millis: i64) -> AlertOutcomeRecorded {
        AlertOutcomeRecorded {
            alert_id: AlertId(Uuid::from_u128(1)),
            user_id: "u".parse().unwrap(),
            model_type: "SELL".into(),
            outcome,
            converted,
            conversion_value: None,
            occurred_at: at(millis),
            at: at(millis),
            by: "test".into(),
            note: None,
        }
    }

    fn label_at(truth: &Truth, revision: Revision) -> Label {
        truth.label(MODEL, revision, at(1_000), HORIZON, at(5_000))
    }

    #[test]
    fn a_correction_takes_the_conversion_back() {
        let mut truth = Truth::default();
        truth.recorded(MODEL, &recorded(1_050, true));
        assert_eq!(label_at(&truth, 3), Label::Positive);
        assert_eq!(truth.conversions(MODEL), [Conversion { at: at(1_050), value: Some(7.0) }]);
        truth.recorded(MODEL, &recorded(1_050, false));
        assert_eq!(label_at(&truth, 3), Label::Negative);
        truth.seen(MODEL, at(1_060));
        assert_eq!(label_at(&truth, 3), Label::Positive);
        assert_eq!(truth.label(ModelIx(1), 3, at(1_000), HORIZON, at(5_000)), Label::Negative);
    }

    #[test]
    fn the_newest_outcome_of_an_alert_speaks_for_its_score_alone() {
        let mut truth = Truth::default();
        truth.alerted(MODEL, AlertId(Uuid::from_u128(1)), 3);
        truth.outcome(MODEL, &outcome(Outcome::TruePositive, None, 9_000));
        assert_eq!((label_at(&truth, 3), label_at(&truth, 4)), (Label::Positive, Label::Negative));
        truth.outcome(MODEL, &outcome(Outcome::FalsePositive, None, 9_000));
        assert_eq!(label_at(&truth, 3), Label::Negative);
        truth.outcome(MODEL, &outcome(Outcome::Unknown, None, 9_000));
        truth.seen(MODEL, at(1_060));
        assert_eq!(label_at(&truth, 3), Label::Positive, "unknown says nothing");
        truth.outcome(MODEL, &outcome(Outcome::FalsePositive, Some(false), 9_000));
        assert_eq!((label_at(&truth, 3), label_at(&truth, 4)), (Label::Negative, Label::Positive));
    }

    #[test]
    fn a_converted_alert_is_a_conversion_for_other_scores_too() {
        let mut truth = Truth::default();
        truth.outcome(MODEL, &outcome(Outcome::TruePositive, Some(true), 1_080));
        assert_eq!(label_at(&truth, 4), Label::Positive);
        truth.seen(MODEL, at(1_080));
        assert_eq!(truth.conversions(MODEL).len(), 1);
    }
}
