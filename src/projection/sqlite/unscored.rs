//! Users some of whose models could not answer: one row per user, kept until each of these models has answered.
//!
//! Law: a failure adds a model, an answer of that model takes it away, whatever stands between.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _};
use serde::{Deserialize, Serialize};

use super::row::{json, user_id};
use crate::domain::event::{Position, ScoringFailed};
use crate::domain::shard::Shard;
use crate::domain::time::Timestamp;
use crate::projection::UnscoredView;

/// One model's failures since it last answered.
#[derive(Debug, Serialize, Deserialize)]
struct Failure {
    newest: u64,
    attempts: u32,
    as_of: Timestamp,
    reason: String,
}

/// By model, so that equal content has equal bytes.
type Failures = BTreeMap<String, Failure>;

/// Adds the models of a failure.
pub(super) fn failed(
    connection: &Connection,
    at: Position,
    user: i64,
    fact: &ScoringFailed,
) -> rusqlite::Result<()> {
    let mut failures = load(connection, user)?.unwrap_or_default();
    for model in &fact.model_types {
        let attempts = failures.get(model).map_or(0, |failure| failure.attempts).saturating_add(1);
        let failure = Failure { newest: at.0, attempts, as_of: fact.as_of, reason: fact.reason.clone() };
        failures.insert(model.clone(), failure);
    }
    store(connection, user, &failures)
}

/// Takes a model away that has answered.
pub(super) fn answered(connection: &Connection, user: i64, model: &str) -> rusqlite::Result<()> {
    let Some(mut failures) = load(connection, user)? else { return Ok(()) };
    if failures.remove(model).is_none() {
        return Ok(());
    }
    store(connection, user, &failures)
}

/// The users of a shard whose newest failure is the oldest: asked again in turn, none is starved by others that keep failing.
pub(super) fn list(
    connection: &Connection,
    limit: usize,
    shard: Shard,
) -> rusqlite::Result<Vec<UnscoredView>> {
    let mut statement = connection.prepare_cached(
        "SELECT u.name, f.body FROM unscored f JOIN users u ON u.id = f.user ORDER BY f.newest, f.user",
    )?;
    let mut rows = statement.query([])?;
    let mut views = Vec::new();
    while views.len() < limit {
        let Some(row) = rows.next()? else { break };
        let name = row.get_ref(0)?.as_str()?;
        if !shard.holds_name(name) {
            continue;
        }
        let failures: Failures = json(1, row.get_ref(1)?.as_bytes()?)?;
        let Some(newest) = failures.values().max_by_key(|failure| failure.newest) else { continue };
        views.push(UnscoredView {
            user_id: user_id(0, name)?,
            attempts: failures.values().map(|failure| failure.attempts).max().unwrap_or_default(),
            as_of: newest.as_of,
            reason: newest.reason.clone(),
            model_types: failures.into_keys().collect(),
        });
    }
    Ok(views)
}

fn load(connection: &Connection, user: i64) -> rusqlite::Result<Option<Failures>> {
    let mut statement = connection.prepare_cached("SELECT body FROM unscored WHERE user = ?1")?;
    statement.query_row([user], |row| json(0, row.get_ref(0)?.as_bytes()?)).optional()
}

fn store(connection: &Connection, user: i64, failures: &Failures) -> rusqlite::Result<()> {
    let Some(newest) = failures.values().map(|failure| failure.newest).max() else {
        connection.prepare_cached("DELETE FROM unscored WHERE user = ?1")?.execute([user])?;
        return Ok(());
    };
    let body = serde_json::to_string(failures)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    connection
        .prepare_cached(
            "INSERT INTO unscored (user, newest, body) VALUES (?1, ?2, ?3)
             ON CONFLICT (user) DO UPDATE SET newest = excluded.newest, body = excluded.body",
        )?
        .execute((user, newest.cast_signed(), body))?;
    Ok(())
}
