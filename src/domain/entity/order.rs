//! Commands on alerts and parked events: what a person asks of one user.
//!
//! Law: a command that is refused changes nothing but what time had changed anyway; one that is done is facts like any other.
//! Called by the machine, in the order of arrival.

use super::command::{Answer, Command, Description, Refusal};
use super::decide::{live_signals, of_alert};
use super::record::{Move, Pen};
use super::watch::Watch;
use crate::domain::alert::{Alert, Outcome, Status};
use crate::domain::event::{AlertOutcomeRecorded, EventUnparked, IntentEvent, Revision};
use crate::domain::id::AlertId;
use crate::domain::market::Market;
use crate::domain::time::Timestamp;

/// The clocks of a command.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clocks {
    /// The wall clock.
    pub(super) now: Timestamp,
    /// The log's clock.
    pub(super) as_of: Timestamp,
}

/// Does a command. [`Command::AwaitRevision`] is not one that waits its turn: the machine answers it itself.
pub(super) fn obey(
    pen: &mut Pen<'_>,
    watch: &Watch,
    folded: Option<Revision>,
    command: Command,
    clocks: Clocks,
) -> Result<Answer, Refusal> {
    match command {
        Command::SetStatus { alert, status, note, snooze_until, by } => {
            pen.pass_time(clocks.as_of, "policy");
            let wakes_at = check_move(known(pen, alert)?, status, snooze_until, clocks.as_of)?;
            pen.move_alert(Move {
                alert,
                to: status,
                at: clocks.now,
                as_of: clocks.as_of,
                by,
                note,
                snooze_until: wakes_at,
            });
            Ok(Answer::Done { intent_revision: pen.record.last() })
        }
        Command::RecordOutcome { alert, outcome, converted, conversion_value, occurred_at, note, by } => {
            check_outcome(outcome, converted, conversion_value)?;
            let known = known(pen, alert)?;
            // As for a move: all that is in it.
            let subject = format!(
                "{} {outcome:?} {converted:?} {conversion_value:?} {occurred_at} {} {by:?} {note:?}",
                known.outcomes, clocks.now
            );
            let event = IntentEvent::AlertOutcomeRecorded(AlertOutcomeRecorded {
                alert_id: alert,
                user_id: pen.user.clone(),
                model_type: known.model.to_string(),
                outcome,
                converted,
                conversion_value,
                occurred_at,
                at: clocks.now,
                by,
                note,
            });
            pen.write(&subject, of_alert(alert), event);
            Ok(Answer::Done { intent_revision: pen.record.last() })
        }
        Command::Unpark { revision, by } => {
            let Some((cause, times)) = pen.record.parked(revision) else {
                return Err(invalid(format!("the event at revision {revision} is not parked")));
            };
            let subject = format!("{times} {} {by:?}", clocks.now);
            let event = IntentEvent::EventUnparked(EventUnparked {
                user_id: pen.user.clone(),
                cause,
                at: clocks.now,
                by,
            });
            pen.write(&subject, cause.event_id, event);
            Ok(Answer::Done { intent_revision: pen.record.last() })
        }
        Command::Describe { as_of, market } => {
            Ok(Answer::Description(Box::new(describe(pen, watch, folded, as_of, &market))))
        }
        Command::AwaitRevision { .. } => Ok(scores(pen)),
    }
}

/// The newest scores.
pub(super) fn scores(pen: &Pen<'_>) -> Answer {
    Answer::Scores {
        scores: pen.record.scores.tell(&pen.rules.catalog, &pen.record.alerts),
        intent_revision: pen.record.last(),
    }
}

fn invalid(reason: String) -> Refusal {
    Refusal::Invalid { reason }
}

fn known<'a>(pen: &'a Pen<'_>, alert: AlertId) -> Result<&'a Alert, Refusal> {
    pen.record.alerts.get(alert).ok_or(Refusal::NoAlert { alert })
}

/// Whether a person may make the move; the end of the snooze, when it is one.
fn check_move(
    alert: &Alert,
    to: Status,
    snooze_until: Option<Timestamp>,
    as_of: Timestamp,
) -> Result<Option<Timestamp>, Refusal> {
    let allowed = alert.status.moves();
    if !allowed.contains(&to) {
        return Err(Refusal::NotAllowed { from: alert.status, to, allowed: allowed.to_vec() });
    }
    match (to == Status::Snoozed, snooze_until) {
        (true, Some(until)) if until > as_of => Ok(Some(until)),
        (true, Some(until)) => Err(invalid(format!("a snooze until {until} is over: it is {as_of}"))),
        (true, None) => Err(invalid("a snooze needs snoozeUntil".to_owned())),
        (false, Some(_)) => Err(invalid("only a snooze has snoozeUntil".to_owned())),
        (false, None) => Ok(None),
    }
}

fn check_outcome(
    outcome: Outcome,
    converted: Option<bool>,
    conversion_value: Option<f64>,
) -> Result<(), Refusal> {
    if converted == Some(true) && outcome != Outcome::TruePositive {
        return Err(invalid(format!(
            "a user who converted makes the alert a true positive, not {outcome:?}"
        )));
    }
    match conversion_value {
        Some(_) if converted == Some(false) => {
            Err(invalid("a conversion that did not happen has no value".to_owned()))
        }
        Some(value) if !value.is_finite() || value < 0.0 => {
            Err(invalid(format!("a conversion's value is a number from 0 on, not {value}")))
        }
        Some(_) | None => Ok(()),
    }
}

fn describe(
    pen: &Pen<'_>,
    watch: &Watch,
    folded: Option<Revision>,
    as_of: Timestamp,
    market: &Market,
) -> Description {
    let catalog = &pen.rules.catalog;
    let as_of = as_of.max(watch.clock());
    let open = pen.record.alerts.iter().filter(|alert| alert.status.is_open());
    Description {
        user: pen.user.clone(),
        as_of,
        revision: folded,
        features: watch.features(pen.rules, as_of, market),
        signals: live_signals(pen, watch.signals().live(&catalog.signals, as_of)),
        scores: pen.record.scores.tell(catalog, &pen.record.alerts),
        alerts: open.map(|alert| (alert.model.to_string(), alert.id, alert.status, alert.priority)).collect(),
    }
}
