//! Recorded scores, conversions, and which conversion came first after which score: what figures of models are made of.
//!
//! Law: a score's `converted_at` is at every moment the earliest known conversion of its user and model after it, whatever
//! came first. Called by the fold.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::codes;
use super::row::{Names, intern};
use crate::domain::event::{AlertOutcomeRecorded, Position, Scoring};
use crate::domain::time::Timestamp;

/// The source of a conversion that `ConversionRecorded` tells.
pub(super) const RECORDED: i64 = 0;
/// The source of a conversion that a behaviour event is.
pub(super) const BEHAVIOUR: i64 = 1;
/// From here on: the source is the outcome of the alert at this position, plus this.
pub(super) const ALERT: i64 = 2;

/// Whose, and of which model.
#[derive(Clone, Copy, Debug)]
pub(super) struct Of {
    pub(super) user: i64,
    pub(super) model: i64,
}

/// Records the score that opened an alert, or that was asked for; one that did both is the alert's, which stands first.
pub(super) fn score(
    connection: &Connection,
    at: Position,
    of: Of,
    revision: u64,
    is_alert: bool,
    scoring: &Scoring,
) -> rusqlite::Result<()> {
    let as_of = scoring.as_of.millis();
    if !is_alert {
        let opened = connection
            .prepare_cached(
                "SELECT 1 FROM scores WHERE user = ?1 AND model = ?2 AND as_of = ?3 AND revision = ?4 AND alert",
            )?
            .exists(params![of.user, of.model, as_of, revision.cast_signed()])?;
        if opened {
            return Ok(());
        }
    }
    let version = intern(connection, Names::Versions, &scoring.model_version)?;
    connection
        .prepare_cached(
            "INSERT INTO scores (position, user, model, as_of, revision, alert, version, probability, converted_at,
                outcomes) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 0)",
        )?
        .execute(params![
            at.0.cast_signed(),
            of.user,
            of.model,
            as_of,
            revision.cast_signed(),
            is_alert,
            version,
            scoring.probability,
            first_after(connection, of, as_of)?,
        ])?;
    Ok(())
}

/// The earliest conversion after a time.
pub(super) fn first_after(connection: &Connection, of: Of, as_of: i64) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT min(at) FROM happened WHERE user = ?1 AND model = ?2 AND at > ?3")?
        .query_row(params![of.user, of.model, as_of], |row| row.get(0))
}

/// A conversion became known.
pub(super) fn converted(connection: &Connection, of: Of, at: Timestamp, source: i64) -> rusqlite::Result<()> {
    let at = at.millis();
    connection
        .prepare_cached("INSERT OR IGNORE INTO happened VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![of.user, of.model, at, source])?;
    for update in [
        "UPDATE scores SET converted_at = ?3 WHERE user = ?1 AND model = ?2 AND as_of < ?3
            AND (converted_at IS NULL OR converted_at > ?3)",
        "UPDATE shadows SET converted_at = ?3 WHERE user = ?1 AND model = ?2 AND as_of < ?3
            AND (converted_at IS NULL OR converted_at > ?3)",
    ] {
        connection.prepare_cached(update)?.execute(params![of.user, of.model, at])?;
    }
    Ok(())
}

/// A conversion was taken back.
pub(super) fn taken_back(connection: &Connection, of: Of, at: i64, source: i64) -> rusqlite::Result<()> {
    let gone = connection
        .prepare_cached("DELETE FROM happened WHERE user = ?1 AND model = ?2 AND at = ?3 AND source = ?4")?
        .execute(params![of.user, of.model, at, source])?;
    if gone == 0 {
        return Ok(());
    }
    for update in [
        "UPDATE scores SET converted_at = (SELECT min(at) FROM happened h
            WHERE h.user = ?1 AND h.model = ?2 AND h.at > scores.as_of)
         WHERE user = ?1 AND model = ?2 AND as_of < ?3",
        "UPDATE shadows SET converted_at = (SELECT min(at) FROM happened h
            WHERE h.user = ?1 AND h.model = ?2 AND h.at > shadows.as_of)
         WHERE user = ?1 AND model = ?2 AND as_of < ?3",
    ] {
        connection.prepare_cached(update)?.execute(params![of.user, of.model, at])?;
    }
    Ok(())
}

/// The newest word about an alert: it takes the place of the one before it, with the conversion that that one told.
pub(super) fn outcome(
    connection: &Connection,
    alert: i64,
    of: Of,
    fact: &AlertOutcomeRecorded,
) -> rusqlite::Result<()> {
    let source = ALERT.saturating_add(alert);
    let told_before: Option<i64> = connection
        .prepare_cached("SELECT at FROM happened WHERE user = ?1 AND model = ?2 AND source = ?3")?
        .query_row(params![of.user, of.model, source], |row| row.get(0))
        .optional()?;
    if let Some(at) = told_before {
        taken_back(connection, of, at, source)?;
    }
    if fact.converted == Some(true) {
        converted(connection, of, fact.occurred_at, source)?;
    }
    connection
        .prepare_cached(
            "UPDATE scores SET outcome = ?2, converted = ?3, outcomes = outcomes + 1 WHERE position = ?1",
        )?
        .execute(params![alert, codes::outcome(fact.outcome), fact.converted])?;
    Ok(())
}
