//! The other lists: one alert whole, signals, parked events, what is due, changes.
//!
//! Law: each is read along an index in its own order, so that it costs what it gives.

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension as _, params};
use uuid::Uuid;

use super::alerts::page_limit;
use super::cursor::{self, Key, List};
use super::row::{AlertRow, Names, json, lookup, user_id};
use crate::domain::event::{AlertEscalated, AlertScored, EventParked, Position, SignalDetected};
use crate::domain::id::{AlertId, EventId, UserId};
use crate::domain::shard::Shard;
use crate::domain::time::Timestamp;
use crate::projection::{AlertChange, AlertDetail, HistoryEntry, Listed, ParkedView, SignalView};

/// What time changes, earliest first.
pub(super) const DUE: &str =
    "SELECT a.user, u.name FROM alerts a INDEXED BY alerts_due JOIN users u ON u.id = a.user
         WHERE a.due_at <= ?1 ORDER BY a.due_at, a.position";
const SCORED: &str = "AlertScored";
const ESCALATED: &str = "AlertEscalated";
const REARMED: &str = "AlertRearmed";
/// Who opens, escalates and re-arms.
const POLICY: &str = "policy";

/// One alert with all its events.
pub(super) fn detail(connection: &Connection, id: AlertId) -> rusqlite::Result<Option<AlertDetail>> {
    let Some(alert) = AlertRow::by_id(connection, id)? else { return Ok(None) };
    let mut statement = connection.prepare_cached(
        "SELECT event_type, event_id, body FROM history WHERE alert = ?1 ORDER BY position",
    )?;
    let mut rows = statement.query([alert.position])?;
    let mut history = Vec::new();
    let mut opened: Option<AlertScored> = None;
    let mut escalated: Option<AlertEscalated> = None;
    while let Some(row) = rows.next()? {
        let event_type: String = row.get(0)?;
        let body = row.get_ref(2)?.as_blob()?;
        if event_type == SCORED {
            opened = Some(json(2, body)?);
        } else if event_type == ESCALATED {
            escalated = Some(json(2, body)?);
        }
        history.push(entry(event_type, EventId(Uuid::from_bytes(row.get(1)?)), body)?);
    }
    let opened = opened.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
    let (scoring, signals, cause) = match escalated {
        Some(newest) => (newest.scoring, newest.signals, newest.cause),
        None => (opened.scoring, opened.signals, opened.cause),
    };
    Ok(Some(AlertDetail {
        alert: alert.view,
        threshold: opened.threshold,
        catalog_version: scoring.catalog_version,
        market_revision: scoring.market_revision,
        bias: scoring.bias,
        features: scoring.features,
        signals,
        cause,
        history,
    }))
}

fn entry(event_type: String, event_id: EventId, body: &[u8]) -> rusqlite::Result<HistoryEntry> {
    let data: serde_json::Value = json(2, body)?;
    let time = match event_type.as_str() {
        SCORED | ESCALATED => "scoredAt",
        REARMED => "asOf",
        _ => "at",
    };
    let time = data.get(time).cloned().unwrap_or_default();
    let at = serde_json::from_value(time).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(2, rusqlite::types::Type::Blob, Box::new(error))
    })?;
    let by = data.get("by").and_then(serde_json::Value::as_str).unwrap_or(POLICY).to_owned();
    Ok(HistoryEntry { event_type, event_id, at, by, data })
}

/// A user's signals, newest first.
pub(super) fn signals(
    connection: &Connection,
    user: &UserId,
    limit: usize,
    after: Option<Key>,
) -> rusqlite::Result<Listed<SignalView>> {
    let mut page = Listed { items: Vec::new(), next_cursor: None };
    let Some(user) = lookup(connection, Names::Users, user.as_str())? else { return Ok(page) };
    let limit = page_limit(limit);
    let after = after.unwrap_or(Key { priority: 0, main: i64::MAX, position: i64::MAX });
    let mut statement = connection.prepare_cached(
        "SELECT position, detected_at, event_id, body FROM signals INDEXED BY signals_user
         WHERE user = ?1 AND (detected_at, position) < (?2, ?3)
         ORDER BY detected_at DESC, position DESC LIMIT ?4",
    )?;
    let more = i64::try_from(limit + 1).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![user, after.main, after.position, more])?;
    let mut last = None;
    while let Some(row) = rows.next()? {
        if page.items.len() == limit {
            page.next_cursor = last.map(|key| cursor::encode(List::Signals, key));
            break;
        }
        last = Some(Key { priority: 0, main: row.get(1)?, position: row.get(0)? });
        let fact: SignalDetected = json(3, row.get_ref(3)?.as_blob()?)?;
        page.items.push(SignalView {
            id: EventId(Uuid::from_bytes(row.get(2)?)),
            user_id: fact.user_id,
            signal: fact.signal,
            category: fact.category,
            strength: fact.strength,
            detected_at: fact.detected_at,
            expires_at: fact.expires_at,
            models: fact.models,
            cause: fact.cause,
            features: fact.features,
            catalog_version: fact.catalog_version,
        });
    }
    Ok(page)
}

/// Parked events, newest first.
pub(super) fn parked(
    connection: &Connection,
    limit: usize,
    after: Option<Key>,
) -> rusqlite::Result<Listed<ParkedView>> {
    let mut page = Listed { items: Vec::new(), next_cursor: None };
    let limit = page_limit(limit);
    let mut statement = connection.prepare_cached(
        "SELECT position, body FROM parked WHERE position < ?1 ORDER BY position DESC LIMIT ?2",
    )?;
    let more = i64::try_from(limit + 1).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![after.map_or(i64::MAX, |key| key.position), more])?;
    let mut last = None;
    while let Some(row) = rows.next()? {
        if page.items.len() == limit {
            page.next_cursor = last.map(|key| cursor::encode(List::Parked, key));
            break;
        }
        last = Some(Key { priority: 0, main: 0, position: row.get(0)? });
        let fact: EventParked = json(1, row.get_ref(1)?.as_blob()?)?;
        page.items.push(ParkedView {
            user_id: fact.user_id,
            cause: fact.cause,
            attempts: fact.attempts,
            reason: fact.reason,
            at: fact.at,
        });
    }
    Ok(page)
}

/// Users of a shard whose alerts time changes by `now`, longest overdue first. Other shards' users take no place of the limit:
/// they stay due for as long as their own instance is away.
pub(super) fn due(
    connection: &Connection,
    now: Timestamp,
    limit: usize,
    shard: Shard,
) -> rusqlite::Result<Vec<UserId>> {
    let mut statement = connection.prepare_cached(DUE)?;
    let mut rows = statement.query([now.millis()])?;
    let mut seen = HashSet::new();
    let mut users = Vec::new();
    while users.len() < limit {
        let Some(row) = rows.next()? else { break };
        if seen.insert(row.get::<_, i64>(0)?) {
            let name = row.get_ref(1)?.as_str()?;
            if shard.holds_name(name) {
                users.push(user_id(1, name)?);
            }
        }
    }
    Ok(users)
}

/// Events about alerts after a position, oldest first, each with the alert as it stands now.
pub(super) fn changes(
    connection: &Connection,
    after: Position,
    limit: usize,
) -> rusqlite::Result<Vec<AlertChange>> {
    let mut statement = connection.prepare_cached(
        "SELECT position, event_type, alert FROM history WHERE position > ?1 ORDER BY position LIMIT ?2",
    )?;
    let mut rows =
        statement.query(params![after.0.cast_signed(), i64::try_from(limit).unwrap_or(i64::MAX)])?;
    let mut alerts = AlertRow::by_position(connection)?;
    let mut changes = Vec::new();
    while let Some(row) = rows.next()? {
        changes.push(AlertChange {
            position: Position(row.get::<_, i64>(0)?.cast_unsigned()),
            event_type: row.get(1)?,
            alert: alerts.get(row.get(2)?)?.view,
        });
    }
    Ok(changes)
}

/// How far of `$all` the file has come.
pub(super) fn position(connection: &Connection) -> rusqlite::Result<Option<Position>> {
    let mut statement = connection.prepare_cached("SELECT checkpoint FROM meta")?;
    let checkpoint: Option<Option<i64>> = statement.query_row([], |row| row.get(0)).optional()?;
    Ok(checkpoint.flatten().map(|at| Position(at.cast_unsigned())))
}
