//! What a text finds, before any alert is looked at: users by a part of their id, sets of top features by a part of a name.
//!
//! Law: a text that finds nothing costs no look at an alert, and one that finds few users only looks at theirs. ASCII letters
//! match in either case. Called for lists of alerts.

use rusqlite::{Connection, params_from_iter};

/// An index holds every three letters in a row of a user's id; for shorter texts every id is looked at.
const INDEXED_FROM: usize = 3;
/// Users whose alerts are read and sorted, rather than all alerts walked: some tens of alerts each.
const FEW: usize = 256;

/// What a text finds.
pub(super) enum Found {
    /// Nothing: no alert matches.
    Nothing,
    /// These users and no feature.
    Few(Vec<i64>),
    /// Users, features, or both: more than can be listed.
    Many {
        /// Whether there are such users.
        users: bool,
        /// Whether there are such features.
        features: bool,
    },
}

/// Looks a text up.
pub(super) fn find(connection: &Connection, text: &str) -> rusqlite::Result<Found> {
    if text.chars().any(char::is_control) {
        return Ok(Found::Nothing);
    }
    let features: bool = connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM features WHERE name LIKE ?1 ESCAPE '\\')")?
        .query_row([pattern(text)], |row| row.get(0))?;
    let mut values: Vec<String> = Vec::new();
    let select = users(text, |value| {
        values.push(value);
        format!("?{}", values.len())
    });
    let mut statement = connection.prepare_cached(&format!("{select} LIMIT {}", FEW + 1))?;
    let found = statement.query_map(params_from_iter(values), |row| row.get(0))?;
    let users: Vec<i64> = found.collect::<rusqlite::Result<_>>()?;
    Ok(match (users.len(), features) {
        (0, false) => Found::Nothing,
        (1..=FEW, false) => Found::Few(users),
        (users, features) => Found::Many { users: users > 0, features },
    })
}

/// The condition on an alert's columns, with its values bound; none when nothing can match.
pub(super) fn condition(found: &Found, text: &str, mut bind: impl FnMut(String) -> String) -> Option<String> {
    match found {
        Found::Nothing => None,
        Found::Few(users) => {
            let listed: Vec<String> = users.iter().map(i64::to_string).collect();
            let listed = bind(format!("[{}]", listed.join(",")));
            Some(format!(" AND user IN (SELECT value FROM json_each({listed}))"))
        }
        Found::Many { users: any, features } => {
            let mut sides = Vec::new();
            if *any {
                sides.push(format!("user IN ({})", users(text, &mut bind)));
            }
            if *features {
                let pattern = bind(pattern(text));
                sides.push(format!("top IN (SELECT id FROM tops WHERE name LIKE {pattern} ESCAPE '\\')"));
            }
            Some(format!(" AND ({})", sides.join(" OR ")))
        }
    }
}

/// Selects the users whose id holds a text. The index folds letters beyond ASCII too, so what it finds is looked at again.
fn users(text: &str, mut bind: impl FnMut(String) -> String) -> String {
    let pattern = bind(pattern(text));
    if text.chars().count() < INDEXED_FROM {
        return format!("SELECT id FROM users WHERE name LIKE {pattern} ESCAPE '\\'");
    }
    let phrase = bind(format!("\"{}\"", text.replace('"', "\"\"")));
    format!(
        "SELECT rowid FROM users_text WHERE users_text MATCH {phrase} AND name LIKE {pattern} ESCAPE '\\'"
    )
}

/// A pattern that finds the text itself, anywhere.
fn pattern(text: &str) -> String {
    let mut pattern = String::from("%");
    for letter in text.chars() {
        if matches!(letter, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern.push('%');
    pattern
}
