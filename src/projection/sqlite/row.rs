//! An alert as the file keeps it: read, changed by a fact, written back.
//!
//! Law: what lists show of an alert is a fold of its events and of nothing else.

use rusqlite::types::Type;
use rusqlite::{CachedStatement, Connection, OptionalExtension as _, Row, named_params};
use uuid::Uuid;

use super::codes::{self, Coded};
use crate::domain::alert::Status;
use crate::domain::event::{
    AlertEscalated, AlertOutcomeRecorded, AlertScored, AlertStatusChanged, Position, Reason, Scoring,
};
use crate::domain::id::{AlertId, UserId};
use crate::domain::time::Timestamp;
use crate::projection::AlertView;

/// How many features a list shows of an alert.
const TOP_FEATURES: usize = 5;
/// Between the names of a set of top features: feature names hold no control characters.
const NAME_END: &str = "\n";
/// Who moves alerts without being a person.
const MACHINES: [&str; 2] = ["policy", "sweep"];

const SELECT: &str = "
SELECT a.position, a.user, a.model, a.opened_at, a.response_ms, a.id, u.name, m.name, a.model_version, a.status,
    a.priority, a.raw, a.probability, a.reasons, a.scored_at, a.created_at, a.expires_at, a.snoozed_until,
    a.escalations, a.outcome, a.converted, a.conversion_value, a.changed
FROM alerts a JOIN users u ON u.id = a.user JOIN models m ON m.id = a.model";

/// An alert's row.
pub(super) struct AlertRow {
    /// The position of its `AlertScored`: its key.
    pub(super) position: i64,
    pub(super) user: i64,
    pub(super) model: i64,
    /// When the store took its `AlertScored`: people can answer from then on.
    opened_at: Timestamp,
    /// From then to the first move by a person.
    response_ms: Option<i64>,
    /// What lists show.
    pub(super) view: AlertView,
}

impl AlertRow {
    /// The row of a new alert.
    pub(super) fn opened(
        at: Position,
        recorded_at: Timestamp,
        fact: &AlertScored,
        user: i64,
        model: i64,
    ) -> Self {
        Self {
            position: at.0.cast_signed(),
            user,
            model,
            opened_at: recorded_at,
            response_ms: None,
            view: AlertView {
                id: fact.alert_id,
                user_id: fact.user_id.clone(),
                model_type: fact.model_type.clone(),
                model_version: fact.scoring.model_version.clone(),
                status: Status::Pending,
                priority: fact.priority,
                confidence: fact.scoring.raw,
                calibrated_score: fact.scoring.probability,
                top_features: top_features(&fact.scoring),
                scored_at: fact.scored_at,
                created_at: fact.scored_at,
                expires_at: fact.expires_at,
                snoozed_until: None,
                escalations: 0,
                outcome: None,
                converted: None,
                conversion_value: None,
                changed_at: at,
            },
        }
    }

    /// A higher band: the new score takes the place of the old one.
    pub(super) fn escalated(&mut self, at: Position, fact: &AlertEscalated) {
        let view = &mut self.view;
        view.model_version.clone_from(&fact.scoring.model_version);
        view.priority = fact.priority;
        view.confidence = fact.scoring.raw;
        view.calibrated_score = fact.scoring.probability;
        view.top_features = top_features(&fact.scoring);
        view.scored_at = fact.scored_at;
        view.escalations = view.escalations.saturating_add(1);
        view.changed_at = at;
    }

    /// A move along its life.
    pub(super) fn moved(&mut self, at: Position, fact: &AlertStatusChanged) {
        self.view.status = fact.status;
        self.view.snoozed_until = fact.snooze_until.filter(|_| fact.status == Status::Snoozed);
        if fact.status == Status::Pending {
            // As the entity's own fold: a snooze may outlast the horizon.
            self.view.expires_at = self.view.expires_at.max(fact.as_of);
        }
        self.view.changed_at = at;
        if self.response_ms.is_none() && !MACHINES.contains(&fact.by.as_str()) {
            self.response_ms = Some(fact.at.millis_since(self.opened_at).max(0));
        }
    }

    /// What really happened: the newest word counts, as a whole.
    pub(super) fn outcome(&mut self, at: Position, fact: &AlertOutcomeRecorded) {
        self.view.outcome = Some(fact.outcome);
        self.view.converted = fact.converted;
        self.view.conversion_value = fact.conversion_value;
        self.view.changed_at = at;
    }

    /// When time itself next changes it: a pending alert expires, a snoozed one wakes.
    fn due_at(&self) -> Option<Timestamp> {
        match self.view.status {
            Status::Pending => Some(self.view.expires_at),
            Status::Snoozed => self.view.snoozed_until,
            Status::Acknowledged
            | Status::InProgress
            | Status::Converted
            | Status::Dismissed
            | Status::Expired => None,
        }
    }

    /// Writes a new alert; false when there is one of that id already.
    pub(super) fn insert(&self, connection: &Connection) -> rusqlite::Result<bool> {
        let mut statement = connection.prepare_cached(
            "INSERT INTO alerts (position, id, user, model, created_at, opened_at, expires_at,
                top, status, priority, raw, probability, scored_at, snoozed_until, due_at, escalations,
                outcome, converted, conversion_value, response_ms, changed, model_version, reasons)
             VALUES (:position, :id, :user, :model, :created_at, :opened_at, :expires_at,
                :top, :status, :priority, :raw, :probability, :scored_at, :snoozed_until, :due_at, :escalations,
                :outcome, :converted, :conversion_value, :response_ms, :changed, :model_version, :reasons)
             ON CONFLICT (id) DO NOTHING",
        )?;
        let fixed = named_params! {
            ":id": self.view.id.0.as_bytes(),
            ":user": self.user,
            ":model": self.model,
            ":created_at": self.view.created_at.millis(),
            ":opened_at": self.opened_at.millis(),
        };
        for (name, value) in fixed {
            bind(&mut statement, name, value)?;
        }
        self.write(connection, &mut statement)
    }

    /// Writes what events can change.
    pub(super) fn update(&self, connection: &Connection) -> rusqlite::Result<bool> {
        let mut statement = connection.prepare_cached(
            "UPDATE alerts SET expires_at = :expires_at, top = :top, status = :status, priority = :priority, raw = :raw,
                probability = :probability, scored_at = :scored_at, snoozed_until = :snoozed_until,
                due_at = :due_at, escalations = :escalations, outcome = :outcome, converted = :converted,
                conversion_value = :conversion_value, response_ms = :response_ms, changed = :changed,
                model_version = :model_version, reasons = :reasons
             WHERE position = :position",
        )?;
        self.write(connection, &mut statement)
    }

    /// Binds what events can change, and runs the statement; whether it changed a row.
    fn write(&self, connection: &Connection, statement: &mut CachedStatement<'_>) -> rusqlite::Result<bool> {
        let view = &self.view;
        let names: Vec<&str> = view.top_features.iter().map(|reason| reason.name.as_str()).collect();
        let top = top(connection, &names)?;
        let reasons = serde_json::to_string(&view.top_features)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
        let changeable = named_params! {
            ":position": self.position,
            ":expires_at": view.expires_at.millis(),
            ":top": top,
            ":status": Coded(view.status),
            ":priority": Coded(view.priority),
            ":raw": view.confidence,
            ":probability": view.calibrated_score,
            ":scored_at": view.scored_at.millis(),
            ":snoozed_until": view.snoozed_until.map(Timestamp::millis),
            ":due_at": self.due_at().map(Timestamp::millis),
            ":escalations": view.escalations,
            ":outcome": view.outcome.map(codes::outcome),
            ":converted": view.converted,
            ":conversion_value": view.conversion_value,
            ":response_ms": self.response_ms,
            ":changed": view.changed_at.0.cast_signed(),
            ":model_version": view.model_version,
            ":reasons": reasons,
        };
        for (name, value) in changeable {
            bind(statement, name, value)?;
        }
        Ok(statement.raw_execute()? == 1)
    }

    /// The alert of that id.
    pub(super) fn by_id(connection: &Connection, id: AlertId) -> rusqlite::Result<Option<Self>> {
        let mut statement = connection.prepare_cached(&format!("{SELECT} WHERE a.id = ?1"))?;
        statement.query_row([id.0.as_bytes()], Self::read).optional()
    }

    /// A query for alerts by the position of their `AlertScored`: prepared once for a page.
    pub(super) fn by_position(connection: &Connection) -> rusqlite::Result<ByPosition<'_>> {
        connection.prepare_cached(&format!("{SELECT} WHERE a.position = ?1")).map(ByPosition)
    }

    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let time = |index: usize| row.get(index).map(Timestamp::from_millis);
        let reasons: String = row.get(13)?;
        let snoozed_until: Option<i64> = row.get(17)?;
        let outcome: Option<Coded<_>> = row.get(19)?;
        Ok(Self {
            position: row.get(0)?,
            user: row.get(1)?,
            model: row.get(2)?,
            opened_at: time(3)?,
            response_ms: row.get(4)?,
            view: AlertView {
                id: AlertId(Uuid::from_bytes(row.get(5)?)),
                user_id: user_id(6, &row.get::<_, String>(6)?)?,
                model_type: row.get(7)?,
                model_version: row.get(8)?,
                status: row.get::<_, Coded<_>>(9)?.0,
                priority: row.get::<_, Coded<_>>(10)?.0,
                confidence: row.get(11)?,
                calibrated_score: row.get(12)?,
                top_features: json(13, reasons.as_bytes())?,
                scored_at: time(14)?,
                created_at: time(15)?,
                expires_at: time(16)?,
                snoozed_until: snoozed_until.map(Timestamp::from_millis),
                escalations: row.get(18)?,
                outcome: outcome.map(|coded| coded.0),
                converted: row.get(20)?,
                conversion_value: row.get(21)?,
                changed_at: Position(row.get::<_, i64>(22)?.cast_unsigned()),
            },
        })
    }
}

/// See [`AlertRow::by_position`].
pub(super) struct ByPosition<'a>(CachedStatement<'a>);

impl ByPosition<'_> {
    /// The alert at that position.
    pub(super) fn get(&mut self, position: i64) -> rusqlite::Result<AlertRow> {
        self.0.query_row([position], AlertRow::read)
    }
}

fn bind(
    statement: &mut CachedStatement<'_>,
    name: &str,
    value: &dyn rusqlite::ToSql,
) -> rusqlite::Result<()> {
    let index = statement.parameter_index(name)?;
    let index = index.ok_or_else(|| rusqlite::Error::InvalidParameterName(name.to_owned()))?;
    statement.raw_bind_parameter(index, value)
}

/// The features with the largest absolute contributions; equal ones in the model's order.
pub(super) fn top_features(scoring: &Scoring) -> Vec<Reason> {
    let mut features: Vec<&Reason> = scoring.features.iter().collect();
    features.sort_by(|one, other| other.contribution.abs().total_cmp(&one.contribution.abs()));
    features.into_iter().take(TOP_FEATURES).cloned().collect()
}

/// A table of names, each with a small number, given out in log order.
#[derive(Clone, Copy)]
pub(super) enum Names {
    Users,
    Models,
    Tops,
    Versions,
    Features,
}

/// The number of a name, if it has one.
pub(super) fn lookup(connection: &Connection, names: Names, name: &str) -> rusqlite::Result<Option<i64>> {
    let select = match names {
        Names::Users => "SELECT id FROM users WHERE name = ?1",
        Names::Models => "SELECT id FROM models WHERE name = ?1",
        Names::Tops => "SELECT id FROM tops WHERE name = ?1",
        Names::Versions => "SELECT id FROM versions WHERE name = ?1",
        Names::Features => "SELECT id FROM features WHERE name = ?1",
    };
    connection.prepare_cached(select)?.query_row([name], |row| row.get(0)).optional()
}

/// The number of a name; a new one when it has none.
pub(super) fn intern(connection: &Connection, names: Names, name: &str) -> rusqlite::Result<i64> {
    if let Some(id) = lookup(connection, names, name)? {
        return Ok(id);
    }
    let insert = match names {
        Names::Users => "INSERT INTO users (name) VALUES (?1)",
        Names::Models => "INSERT INTO models (name) VALUES (?1)",
        Names::Tops => "INSERT INTO tops (name) VALUES (?1)",
        Names::Versions => "INSERT INTO versions (name) VALUES (?1)",
        Names::Features => "INSERT INTO features (name) VALUES (?1)",
    };
    let id = connection.prepare_cached(insert)?.insert([name])?;
    if matches!(names, Names::Users) {
        connection
            .prepare_cached("INSERT INTO users_text (rowid, name) VALUES (?1, ?2)")?
            .execute((id, name))?;
    }
    Ok(id)
}

/// The number of a set of top features; a new set's names can be found by a part of them from then on.
fn top(connection: &Connection, names: &[&str]) -> rusqlite::Result<i64> {
    let joined = names.join(NAME_END);
    if let Some(known) = lookup(connection, Names::Tops, &joined)? {
        return Ok(known);
    }
    for name in names {
        intern(connection, Names::Features, name)?;
    }
    intern(connection, Names::Tops, &joined)
}

/// JSON in a column.
pub(super) fn json<T: serde::de::DeserializeOwned>(column: usize, text: &[u8]) -> rusqlite::Result<T> {
    serde_json::from_slice(text)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error)))
}

/// A user id in a column.
pub(super) fn user_id(column: usize, text: &str) -> rusqlite::Result<UserId> {
    text.parse().map_err(|error: crate::domain::id::BadId| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
    })
}
