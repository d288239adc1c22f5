//! The decide side: from what an event changed and what the models answered to facts.
//!
//! Law: turns are decided strictly in the order of their revisions; what is decided depends on the turn and the record only.
//! The facts of one turn, in order: the event put aside; moves that time made; signals; per model the alert, the
//! score that was asked for and what a version in shadow said; the models that could not answer. Called by the machine.

use std::fmt::Write as _;

use super::record::{Move, Pen};
use super::scores::names;
use super::watch::{Detected, Found};
use crate::domain::alert::Status;
use crate::domain::catalog::{ModelSpec, SignalSpec};
use crate::domain::event::{
    AlertEscalated, AlertRearmed, AlertScored, Cause, ChallengerScored, EventParked, IntentEvent, NamedValue,
    Reason, Revision, Scoring, ScoringFailed, SignalDetected, SignalRef, UserScored,
};
use crate::domain::id::{AlertId, EventId};
use crate::domain::policy::{Priority, Verdict, band, judge};
use crate::domain::score::{Row, Score, Shadow, Unscored};
use crate::domain::signal::Detection;
use crate::domain::time::Timestamp;

/// A revision of `user-<id>` that waits to be decided.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Turn {
    /// The event.
    pub(super) cause: Cause,
    /// The last revision that this turn decides: events after the cause that change nothing come along.
    pub(super) through: Revision,
    /// The user's clock at the event.
    pub(super) as_of: Timestamp,
    /// Why the event is put aside, if it is.
    pub(super) park: Option<Box<Park>>,
    /// What it changed, if that is worth deciding about.
    pub(super) found: Option<Box<Found>>,
}

/// That an event is to be put aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Park {
    pub(super) attempts: u32,
    pub(super) reason: String,
    /// Wall clock.
    pub(super) at: Timestamp,
}

/// One answer of a model and what it was asked.
struct Asked<'a> {
    spec: &'a ModelSpec,
    row: &'a Row,
    score: &'a Score,
    turn: &'a Turn,
    found: &'a Found,
}

/// Decides a turn; `answers` are those of its rows, in order.
pub(super) fn decide(pen: &mut Pen<'_>, turn: &Turn, answers: Vec<Result<Score, Unscored>>) {
    if let Some(park) = &turn.park {
        let nth = pen.record.times_parked(turn.cause.revision).to_string();
        let event = IntentEvent::EventParked(EventParked {
            user_id: pen.user.clone(),
            cause: turn.cause,
            attempts: park.attempts,
            reason: park.reason.clone(),
            at: park.at,
        });
        pen.write(&nth, turn.cause.event_id, event);
    }
    pen.pass_time(turn.as_of, "policy");
    let Some(found) = &turn.found else { return };
    for detected in &found.detected {
        record_signal(pen, detected);
    }
    let mut failures: Vec<(&str, Unscored)> = Vec::new();
    for (row, answer) in found.rows.iter().zip(answers) {
        let rules = pen.rules;
        let Some(spec) = rules.catalog.models.get(usize::from(row.model.0)) else { continue };
        match answer.and_then(|score| sound(spec, row, score)) {
            Ok(score) => act(pen, &Asked { spec, row, score: &score, turn, found }),
            Err(unscored) => failures.push((&spec.name, unscored)),
        }
    }
    if !failures.is_empty() {
        record_failure(pen, turn, &failures);
    }
}

/// A score with a number that is none, or with too few reasons, must not reach the log: JSON cannot hold it, and nobody
/// could explain it.
fn sound(spec: &ModelSpec, row: &Row, score: Score) -> Result<Score, Unscored> {
    let numbers = [score.raw, score.probability, score.bias];
    let finite = numbers.iter().chain(&score.contributions).all(|number| number.is_finite());
    if finite && score.contributions.len() == row.features.len() {
        return Ok(score);
    }
    Err(Unscored::Failed {
        model_type: spec.name.clone(),
        version: score.version.to_string(),
        reason: "the answer is not finite, or has not one contribution per feature".to_owned(),
    })
}

fn act(pen: &mut Pen<'_>, asked: &Asked<'_>) {
    let Asked { spec, score, turn, found, .. } = *asked;
    let rules = pen.rules;
    let strength: f32 = behind(&rules.catalog.signals, asked).map(|(_, signal)| signal.strength).sum();
    let newest = pen.record.alerts.newest(&spec.name);
    match judge(spec, newest, score.probability, strength, turn.as_of) {
        Verdict::Silence => {}
        Verdict::Open(priority) => open(pen, asked, priority),
        Verdict::Escalate { alert, from, to } => escalate(pen, asked, alert, from, to),
        Verdict::Rearm(alert) => {
            let event = IntentEvent::AlertRearmed(AlertRearmed {
                alert_id: alert,
                user_id: pen.user.clone(),
                model_type: spec.name.clone(),
                probability: score.probability,
                exit: spec.exit,
                as_of: turn.as_of,
                cause: turn.cause,
            });
            pen.write(&spec.name, turn.cause.event_id, event);
        }
    }
    if found.requested {
        let event = IntentEvent::UserScored(UserScored {
            user_id: pen.user.clone(),
            model_type: spec.name.clone(),
            scoring: scoring(pen, asked),
            priority: band(spec, score.probability, strength),
            alert_id: pen.record.alerts.open(&spec.name).map(|alert| alert.id),
            cause: turn.cause,
        });
        pen.write(&spec.name, turn.cause.event_id, event);
    }
    if let Some(shadow) = &score.shadow {
        record_shadow(pen, asked, shadow);
    }
}

/// Writes what a version in shadow said, unless that is no probability: a challenger's nonsense is its own fault and must
/// not reach the log.
fn record_shadow(pen: &mut Pen<'_>, asked: &Asked<'_>, shadow: &Shadow) {
    let Asked { spec, score, turn, .. } = *asked;
    if ![shadow.raw, shadow.probability].iter().all(|number| (0.0..=1.0).contains(number)) {
        return;
    }
    let event = IntentEvent::ChallengerScored(ChallengerScored {
        user_id: pen.user.clone(),
        model_type: spec.name.clone(),
        model_version: shadow.version.to_string(),
        raw: shadow.raw,
        probability: shadow.probability,
        would_alert: shadow.probability >= spec.threshold,
        champion_version: score.version.to_string(),
        champion_probability: score.probability,
        champion_would_alert: score.probability >= spec.threshold,
        as_of: turn.as_of,
        cause: turn.cause,
    });
    // Another challenger may be asked of the same event when an append of a dead incarnation still lands.
    pen.write(&format!("{} {}", spec.name, shadow.version), turn.cause.event_id, event);
}

fn open(pen: &mut Pen<'_>, asked: &Asked<'_>, priority: Priority) {
    let Asked { spec, turn, .. } = *asked;
    let id = pen.id("AlertScored", &spec.name, turn.cause.event_id);
    let event = IntentEvent::AlertScored(Box::new(AlertScored {
        alert_id: AlertId(id.0),
        user_id: pen.user.clone(),
        model_type: spec.name.clone(),
        priority,
        threshold: spec.threshold,
        scored_at: turn.as_of,
        expires_at: turn.as_of.plus(spec.horizon),
        scoring: scoring(pen, asked),
        signals: signals(pen, asked),
        cause: turn.cause,
    }));
    pen.write_as(id, event);
}

/// A higher band: recorded, and the alert is woken when it was put off.
fn escalate(pen: &mut Pen<'_>, asked: &Asked<'_>, alert: AlertId, from: Priority, to: Priority) {
    let Asked { spec, turn, .. } = *asked;
    let event = IntentEvent::AlertEscalated(Box::new(AlertEscalated {
        alert_id: alert,
        user_id: pen.user.clone(),
        model_type: spec.name.clone(),
        from_priority: from,
        priority: to,
        scored_at: turn.as_of,
        scoring: scoring(pen, asked),
        signals: signals(pen, asked),
        cause: turn.cause,
    }));
    pen.write(&spec.name, turn.cause.event_id, event);
    if pen.record.alerts.get(alert).is_some_and(|alert| alert.status == Status::Snoozed) {
        pen.move_alert(Move {
            alert,
            to: Status::Pending,
            at: turn.as_of,
            as_of: turn.as_of,
            by: "policy".to_owned(),
            note: None,
            snooze_until: None,
        });
    }
}

fn scoring(pen: &Pen<'_>, asked: &Asked<'_>) -> Scoring {
    let Asked { spec, row, score, turn, found } = *asked;
    let catalog = &pen.rules.catalog;
    let features = names(catalog, spec)
        .zip(&row.features)
        .zip(&score.contributions)
        .map(|((name, value), contribution)| Reason {
            name: name.to_owned(),
            value: *value,
            contribution: *contribution,
        })
        .collect();
    Scoring {
        model_version: score.version.to_string(),
        catalog_version: catalog.version.clone(),
        market_revision: found.market_revision,
        as_of: turn.as_of,
        raw: score.raw,
        probability: score.probability,
        bias: score.bias,
        features,
    }
}

/// The live signals that matter to the model.
fn behind<'a>(
    rules: &'a [SignalSpec],
    asked: &'a Asked<'_>,
) -> impl Iterator<Item = (&'a Detection, &'a SignalSpec)> {
    let live = asked.found.live.iter();
    live.filter_map(|detection| Some((detection, detection.spec(rules)?)))
        .filter(|(_, spec)| spec.models.contains(&asked.row.model))
}

fn signals(pen: &Pen<'_>, asked: &Asked<'_>) -> Vec<SignalRef> {
    behind(&pen.rules.catalog.signals, asked)
        .map(|(detection, spec)| reference(pen, detection, spec))
        .collect()
}

fn reference(pen: &Pen<'_>, detection: &Detection, spec: &SignalSpec) -> SignalRef {
    SignalRef {
        event_id: pen.id("SignalDetected", &spec.name, detection.cause.event_id),
        signal: spec.name.clone(),
        strength: spec.strength,
        detected_at: detection.detected_at,
        cause: detection.cause,
    }
}

fn record_signal(pen: &mut Pen<'_>, detected: &Detected) {
    let catalog = &pen.rules.catalog;
    let Some(spec) = detected.detection.spec(&catalog.signals) else { return };
    let name = |slot: &u16| catalog.features.get(usize::from(*slot)).map_or("", |spec| spec.name.as_str());
    let detected_at = detected.detection.detected_at;
    let event = IntentEvent::SignalDetected(SignalDetected {
        user_id: pen.user.clone(),
        signal: spec.name.clone(),
        category: spec.category.clone(),
        strength: spec.strength,
        detected_at,
        expires_at: detected_at.plus(spec.expires),
        models: spec
            .models
            .iter()
            .filter_map(|model| catalog.models.get(usize::from(model.0)))
            .map(|model| model.name.clone())
            .collect(),
        cause: detected.detection.cause,
        features: spec
            .when
            .reads()
            .iter()
            .zip(&detected.values)
            .map(|(slot, value)| NamedValue { name: name(slot).to_owned(), value: *value })
            .collect(),
        catalog_version: catalog.version.clone(),
    });
    pen.write(&spec.name, detected.detection.cause.event_id, event);
}

fn record_failure(pen: &mut Pen<'_>, turn: &Turn, failures: &[(&str, Unscored)]) {
    let mut reason = String::new();
    for (_, unscored) in failures {
        let gap = if reason.is_empty() { "" } else { "; " };
        // Writing to a string cannot fail.
        write!(reason, "{gap}{unscored}").unwrap_or_default();
    }
    let event = IntentEvent::ScoringFailed(ScoringFailed {
        user_id: pen.user.clone(),
        model_types: failures.iter().map(|(model, _)| (*model).to_owned()).collect(),
        reason,
        as_of: turn.as_of,
        cause: turn.cause,
    });
    pen.write("", turn.cause.event_id, event);
}

/// The references of all live signals, for a description.
pub(super) fn live_signals<'a>(
    pen: &Pen<'_>,
    live: impl Iterator<Item = (&'a Detection, &'a SignalSpec)>,
) -> Vec<SignalRef> {
    live.map(|(detection, spec)| reference(pen, detection, spec)).collect()
}

/// The id that an event id and an alert id share: an alert's is that of the event that opened it.
pub(super) fn of_alert(alert: AlertId) -> EventId {
    EventId(alert.0)
}
