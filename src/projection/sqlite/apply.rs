//! The fold: facts of `intent-*` and a little of `user-*` into rows, within the caller's transaction.
//!
//! Law: what a row becomes depends on the events of the log in their order, never on where a batch ends. An event that
//! cannot be read is left out and told; only the file itself can make a batch fail.

use rusqlite::{Connection, params};
use serde::Deserialize;

use super::Unreadable;
use super::recorded::{self, Of};
use super::row::{AlertRow, Names, intern};
use super::{shadows, unscored};
use crate::domain::codec;
use crate::domain::event::{
    AlertEscalated, AlertOutcomeRecorded, AlertRearmed, AlertScored, AlertStatusChanged, CONVERSION_RECORDED,
    ChallengerScored, ConversionRecorded, EventParked, EventUnparked, IntentEvent, Position, Recorded,
    ScoringFailed, SignalDetected, UserScored,
};
use crate::domain::id::{AlertId, BadId, UserId, stream};
use crate::domain::time::Timestamp;
use crate::projection::AlertChange;

/// What a batch did.
pub(super) struct Applied {
    pub(super) changes: Vec<AlertChange>,
    pub(super) unreadable: Vec<Unreadable>,
    pub(super) through: Position,
}

/// Why an event was not folded.
enum Fault {
    /// The file failed: the batch fails.
    File(rusqlite::Error),
    /// The event is at fault: it is left out.
    Event(String),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::File(error)
    }
}

/// Folds the events that stand behind the checkpoint, and moves it.
pub(super) fn batch(
    connection: &Connection,
    conversion_events: &[(String, Vec<String>)],
    checkpoint: Option<Position>,
    events: &[Recorded],
    through: Position,
) -> rusqlite::Result<Applied> {
    let mut fold = Fold { connection, conversion_events, totals: Totals::default() };
    let mut applied = Applied { changes: Vec::new(), unreadable: Vec::new(), through };
    let mut seen = checkpoint;
    for event in events {
        if seen >= Some(event.position) {
            continue;
        }
        seen = Some(event.position);
        match fold.event(event) {
            Ok(change) => applied.changes.extend(change),
            Err(Fault::File(error)) => return Err(error),
            Err(Fault::Event(reason)) => applied.unreadable.push(Unreadable {
                position: event.position,
                event_type: event.event_type.to_string(),
                reason,
            }),
        }
    }
    applied.through = seen.map_or(through, |seen| seen.max(through));
    fold.totals.store(connection, applied.through)?;
    Ok(applied)
}

/// What a batch adds to the figures about the whole log.
#[derive(Default)]
struct Totals {
    users: i64,
    span: Option<(Timestamp, Timestamp)>,
}

impl Totals {
    fn saw(&mut self, at: Timestamp) {
        let (first, last) = self.span.unwrap_or((at, at));
        self.span = Some((first.min(at), last.max(at)));
    }

    fn store(&self, connection: &Connection, through: Position) -> rusqlite::Result<()> {
        let first = self.span.map(|(first, _)| first.millis());
        let last = self.span.map(|(_, last)| last.millis());
        connection
            .prepare_cached(
                "UPDATE meta SET checkpoint = ?1, users = users + ?2,
                    first_ms = min(coalesce(first_ms, ?3), coalesce(?3, first_ms)),
                    last_ms = max(coalesce(last_ms, ?4), coalesce(?4, last_ms))",
            )?
            .execute(params![through.0.cast_signed(), self.users, first, last])?;
        Ok(())
    }
}

/// The one thing read of a user's first event and of conversions, whatever their type.
#[derive(Deserialize)]
struct When {
    #[serde(rename = "occurredAt")]
    occurred_at: Timestamp,
}

struct Fold<'a> {
    connection: &'a Connection,
    conversion_events: &'a [(String, Vec<String>)],
    totals: Totals,
}

impl Fold<'_> {
    fn event(&mut self, event: &Recorded) -> Result<Option<AlertChange>, Fault> {
        if event.stream.starts_with(stream::INTENT) {
            return self.fact(event);
        }
        if event.stream.starts_with(stream::USER) {
            self.behaviour(event)?;
        }
        Ok(None)
    }

    /// Users are counted by their streams' first events: millions of behaviour events cost the projection a comparison.
    fn behaviour(&mut self, event: &Recorded) -> Result<(), Fault> {
        if event.revision == 0 {
            self.totals.users += 1;
            // Other systems may write events without a time; they count all the same.
            if let Ok(first) = serde_json::from_slice::<When>(&event.data) {
                self.totals.saw(first.occurred_at);
            }
        }
        if event.event_type == CONVERSION_RECORDED {
            let fact: ConversionRecorded = parse(event)?;
            let key = (self.user(&fact.user_id)?, self.model(&fact.model_type)?, fact.occurred_at.millis());
            self.connection
                .prepare_cached("INSERT OR REPLACE INTO conversions VALUES (?1, ?2, ?3, ?4, ?5)")?
                .execute(params![key.0, key.1, key.2, fact.converted, fact.conversion_value])?;
            let of = Of { user: key.0, model: key.1 };
            if fact.converted {
                recorded::converted(self.connection, of, fact.occurred_at, recorded::RECORDED)?;
            } else {
                recorded::taken_back(self.connection, of, key.2, recorded::RECORDED)?;
            }
        }
        let is_conversion = |(name, _): &&(String, Vec<String>)| *name == *event.event_type;
        match self.conversion_events.iter().find(is_conversion) {
            Some((_, models)) => self.conversion(event, models),
            None => Ok(()),
        }
    }

    /// A behaviour event by which the user converts.
    fn conversion(&self, event: &Recorded, models: &[String]) -> Result<(), Fault> {
        let name = event.stream.strip_prefix(stream::USER).unwrap_or_default();
        let user: UserId = name.parse().map_err(|error: BadId| Fault::Event(error.to_string()))?;
        let When { occurred_at } = parse(event)?;
        for model in models {
            let of = Of { user: self.user(&user)?, model: self.model(model)? };
            recorded::converted(self.connection, of, occurred_at, recorded::BEHAVIOUR)?;
        }
        Ok(())
    }

    fn fact(&mut self, event: &Recorded) -> Result<Option<AlertChange>, Fault> {
        let row = match decode(event)? {
            IntentEvent::AlertScored(fact) => self.scored(event, &fact)?,
            IntentEvent::AlertEscalated(fact) => self.escalated(event, &fact)?,
            IntentEvent::AlertStatusChanged(fact) => self.moved(event, &fact)?,
            IntentEvent::AlertOutcomeRecorded(fact) => self.outcome(event, &fact)?,
            IntentEvent::AlertRearmed(fact) => self.rearmed(event, &fact)?,
            IntentEvent::SignalDetected(fact) => return self.signal(event, &fact).map(|()| None),
            IntentEvent::UserScored(fact) => return self.answered(event, &fact).map(|()| None),
            IntentEvent::ScoringFailed(fact) => return self.failed(event, &fact).map(|()| None),
            IntentEvent::ChallengerScored(fact) => return self.shadow(event, &fact).map(|()| None),
            IntentEvent::EventParked(fact) => return self.parked(event, &fact).map(|()| None),
            IntentEvent::EventUnparked(fact) => return self.unparked(&fact).map(|()| None),
        };
        self.remember(event, row.position)?;
        Ok(Some(AlertChange {
            position: event.position,
            event_type: event.event_type.to_string(),
            alert: row.view,
        }))
    }

    fn scored(&mut self, event: &Recorded, fact: &AlertScored) -> Result<AlertRow, Fault> {
        self.totals.saw(fact.scored_at);
        let (user, model) = (self.user(&fact.user_id)?, self.model(&fact.model_type)?);
        let row = AlertRow::opened(event.position, event.recorded_at, fact, user, model);
        if !row.insert(self.connection)? {
            return Err(Fault::Event(format!("alert {} was opened before", fact.alert_id)));
        }
        unscored::answered(self.connection, user, &fact.model_type)?;
        let of = Of { user, model };
        recorded::score(self.connection, event.position, of, fact.cause.revision, true, &fact.scoring)?;
        Ok(row)
    }

    fn escalated(&mut self, event: &Recorded, fact: &AlertEscalated) -> Result<AlertRow, Fault> {
        self.totals.saw(fact.scored_at);
        let row = self.change(fact.alert_id, |row| row.escalated(event.position, fact))?;
        unscored::answered(self.connection, self.user(&fact.user_id)?, &fact.model_type)?;
        Ok(row)
    }

    fn moved(&self, event: &Recorded, fact: &AlertStatusChanged) -> Result<AlertRow, Fault> {
        self.change(fact.alert_id, |row| row.moved(event.position, fact))
    }

    fn outcome(&self, event: &Recorded, fact: &AlertOutcomeRecorded) -> Result<AlertRow, Fault> {
        let row = self.change(fact.alert_id, |row| row.outcome(event.position, fact))?;
        let of = Of { user: row.user, model: row.model };
        recorded::outcome(self.connection, row.position, of, fact)?;
        Ok(row)
    }

    fn rearmed(&self, event: &Recorded, fact: &AlertRearmed) -> Result<AlertRow, Fault> {
        self.change(fact.alert_id, |row| row.view.changed_at = event.position)
    }

    fn change(&self, alert: AlertId, with: impl FnOnce(&mut AlertRow)) -> Result<AlertRow, Fault> {
        let mut row = AlertRow::by_id(self.connection, alert)?
            .ok_or_else(|| Fault::Event(format!("there is no alert {alert}")))?;
        with(&mut row);
        row.update(self.connection)?;
        Ok(row)
    }

    fn remember(&self, event: &Recorded, alert: i64) -> Result<(), Fault> {
        self.connection.prepare_cached("INSERT INTO history VALUES (?1, ?2, ?3, ?4, ?5)")?.execute(
            params![
                event.position.0.cast_signed(),
                alert,
                event.id.0.as_bytes(),
                &*event.event_type,
                &*event.data
            ],
        )?;
        Ok(())
    }

    fn signal(&mut self, event: &Recorded, fact: &SignalDetected) -> Result<(), Fault> {
        self.totals.saw(fact.detected_at);
        let user = self.user(&fact.user_id)?;
        self.connection.prepare_cached("INSERT INTO signals VALUES (?1, ?2, ?3, ?4, ?5)")?.execute(
            params![
                event.position.0.cast_signed(),
                user,
                fact.detected_at.millis(),
                event.id.0.as_bytes(),
                &*event.data
            ],
        )?;
        Ok(())
    }

    fn answered(&mut self, event: &Recorded, fact: &UserScored) -> Result<(), Fault> {
        self.totals.saw(fact.scoring.as_of);
        let of = Of { user: self.user(&fact.user_id)?, model: self.model(&fact.model_type)? };
        unscored::answered(self.connection, of.user, &fact.model_type)?;
        Ok(recorded::score(self.connection, event.position, of, fact.cause.revision, false, &fact.scoring)?)
    }

    fn shadow(&mut self, event: &Recorded, fact: &ChallengerScored) -> Result<(), Fault> {
        self.totals.saw(fact.as_of);
        let of = Of { user: self.user(&fact.user_id)?, model: self.model(&fact.model_type)? };
        Ok(shadows::record(self.connection, event.position, of, fact)?)
    }

    fn failed(&mut self, event: &Recorded, fact: &ScoringFailed) -> Result<(), Fault> {
        self.totals.saw(fact.as_of);
        Ok(unscored::failed(self.connection, event.position, self.user(&fact.user_id)?, fact)?)
    }

    fn parked(&self, event: &Recorded, fact: &EventParked) -> Result<(), Fault> {
        let user = self.user(&fact.user_id)?;
        self.connection.prepare_cached("INSERT OR REPLACE INTO parked VALUES (?1, ?2, ?3, ?4)")?.execute(
            params![event.position.0.cast_signed(), user, fact.cause.revision.cast_signed(), &*event.data],
        )?;
        Ok(())
    }

    fn unparked(&self, fact: &EventUnparked) -> Result<(), Fault> {
        let user = self.user(&fact.user_id)?;
        self.connection
            .prepare_cached("DELETE FROM parked WHERE user = ?1 AND revision = ?2")?
            .execute(params![user, fact.cause.revision.cast_signed()])?;
        Ok(())
    }

    fn user(&self, user: &UserId) -> rusqlite::Result<i64> {
        intern(self.connection, Names::Users, user.as_str())
    }

    fn model(&self, model: &str) -> rusqlite::Result<i64> {
        intern(self.connection, Names::Models, model)
    }
}

fn parse<T: serde::de::DeserializeOwned>(event: &Recorded) -> Result<T, Fault> {
    serde_json::from_slice(&event.data).map_err(|error| Fault::Event(error.to_string()))
}

/// The fact that an event of an `intent-*` stream holds.
fn decode(event: &Recorded) -> Result<IntentEvent, Fault> {
    match codec::decode_fact(&event.event_type, &event.data) {
        Ok(Some(fact)) => Ok(fact),
        Ok(None) => Err(Fault::Event("no fact of that type is known".to_owned())),
        Err(error) => Err(Fault::Event(error.to_string())),
    }
}
