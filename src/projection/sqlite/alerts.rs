//! Lists of alerts: which index answers a query, and the page it gives.
//!
//! Law: every list is read along an index in its own order, from the cursor on, and stops at the end of the page; what
//! an index cannot answer is checked on the way. Tests hold the plans to this.

use std::fmt::Write as _;

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::codes::{self, PRIORITIES, STATUSES};
use super::cursor::{self, Key, List};
use super::row::{AlertRow, Names, lookup};
use super::text::{self, Found};
use crate::domain::policy::Priority;
use crate::domain::time::Timestamp;
use crate::projection::{AlertQuery, AlertView, Error, Listed, Sort};

/// Most items of a page (CONTRACT).
const LIMIT_MAX: usize = 500;

/// How many items a page has.
pub(super) fn page_limit(asked: usize) -> usize {
    asked.clamp(1, LIMIT_MAX)
}

/// An SQL text and its values.
pub(super) struct Select {
    pub(super) sql: String,
    pub(super) values: Vec<Value>,
}

impl Select {
    fn bind(&mut self, value: impl Into<Value>) -> String {
        self.values.push(value.into());
        format!("?{}", self.values.len())
    }
}

/// The list a query reads.
fn list_of(query: &AlertQuery) -> List {
    match query.sort {
        Sort::ScoredAtDescending => List::Scored,
        Sort::PriorityDescending => List::Priority,
        Sort::CalibratedScoreDescending => List::Calibrated,
    }
}

/// The cursor of a query, checked.
pub(super) fn after(query: &AlertQuery) -> Result<Option<Key>, Error> {
    cursor::decode(list_of(query), query.cursor.as_deref())
}

/// A page of alerts.
pub(super) fn page(
    connection: &Connection,
    query: &AlertQuery,
    after: Option<Key>,
) -> rusqlite::Result<Listed<AlertView>> {
    let limit = page_limit(query.limit);
    let mut page = Listed { items: Vec::new(), next_cursor: None };
    let Some(select) = select(connection, query, after)? else { return Ok(page) };
    let mut statement = connection.prepare_cached(&select.sql)?;
    let mut found = statement.query(params_from_iter(select.values))?;
    let mut alerts = AlertRow::by_position(connection)?;
    let mut last = None;
    while let Some(row) = found.next()? {
        if page.items.len() == limit {
            page.next_cursor = last.map(|key| cursor::encode(list_of(query), key));
            break;
        }
        let alert = alerts.get(row.get(0)?)?;
        last = Some(key_of(query.sort, &alert));
        page.items.push(alert.view);
    }
    Ok(page)
}

fn key_of(sort: Sort, alert: &AlertRow) -> Key {
    let view = &alert.view;
    let scored = view.scored_at.millis();
    let priority = u8::try_from(codes::priority(view.priority)).unwrap_or_default();
    match sort {
        Sort::ScoredAtDescending => Key { priority: 0, main: scored, position: alert.position },
        Sort::PriorityDescending => Key { priority, main: scored, position: alert.position },
        Sort::CalibratedScoreDescending => Key {
            priority: 0,
            main: f64::from(view.calibrated_score).to_bits().cast_signed(),
            position: alert.position,
        },
    }
}

/// The positions of a page's alerts and one more; none when nothing can match.
pub(super) fn select(
    connection: &Connection,
    query: &AlertQuery,
    after: Option<Key>,
) -> rusqlite::Result<Option<Select>> {
    let mut select = Select { sql: String::new(), values: Vec::new() };
    let found = query.text.as_deref().map(|text| text::find(connection, text)).transpose()?;
    let few = matches!(found, Some(Found::Few(_)));
    let Some(filter) = filter(connection, query, found, &mut select)? else { return Ok(None) };
    let by_state = !query.status.is_empty() || !query.priority.is_empty();
    let calibrated = query.sort == Sort::CalibratedScoreDescending;
    if query.user.is_some() || few || calibrated || (query.sort == Sort::ScoredAtDescending && !by_state) {
        straight(query, few, after, &filter, &mut select);
    } else if !merged(query, after, &filter, &mut select) {
        return Ok(None);
    }
    let limit = select.bind(i64::try_from(page_limit(query.limit) + 1).unwrap_or(i64::MAX));
    let order = match query.sort {
        Sort::ScoredAtDescending => "scored_at DESC, position DESC",
        Sort::PriorityDescending => "priority DESC, scored_at DESC, position DESC",
        Sort::CalibratedScoreDescending => "probability DESC, position DESC",
    };
    write!(select.sql, " ORDER BY {order} LIMIT {limit}").unwrap_or_default();
    Ok(Some(select))
}

/// One walk along one index; for a few users that a text found, one along each of theirs, sorted.
fn straight(query: &AlertQuery, few: bool, after: Option<Key>, filter: &str, select: &mut Select) {
    let index = match (query.user.is_some() || few, query.sort) {
        (true, _) => "alerts_user",
        (false, Sort::CalibratedScoreDescending) => "alerts_probability",
        (false, Sort::ScoredAtDescending | Sort::PriorityDescending) => "alerts_scored",
    };
    let mut bounds = String::new();
    if let Some(key) = after {
        let position = select.bind(key.position);
        bounds = match query.sort {
            Sort::ScoredAtDescending => {
                let main = select.bind(key.main);
                format!(" AND (scored_at, position) < ({main}, {position})")
            }
            Sort::PriorityDescending => {
                let (priority, main) = (select.bind(i64::from(key.priority)), select.bind(key.main));
                format!(" AND (priority, scored_at, position) < ({priority}, {main}, {position})")
            }
            Sort::CalibratedScoreDescending => {
                let main = select.bind(f64::from_bits(key.main.cast_unsigned()));
                format!(" AND (probability, position) < ({main}, {position})")
            }
        };
    }
    let user = query.user.as_ref().map_or(String::new(), |user| {
        let name = select.bind(user.as_str().to_owned());
        format!(" AND user = (SELECT id FROM users WHERE name = {name})")
    });
    let span = span(query, select);
    let states = in_list("status", query.status.iter().map(|&status| codes::status(status)));
    let priorities = in_list("priority", query.priority.iter().map(|&one| codes::priority(one)));
    select.sql = format!(
        "SELECT position, scored_at, priority, probability FROM alerts INDEXED BY {index}
         WHERE TRUE{user}{bounds}{span}{states}{priorities}{filter}"
    );
}

/// One walk per state and priority along `alerts_state`, each in order, merged by SQLite as they are read; false when
/// the cursor leaves none.
fn merged(query: &AlertQuery, after: Option<Key>, filter: &str, select: &mut Select) -> bool {
    let span = span(query, select);
    let keyset = after.map(|key| {
        let (main, position) = (select.bind(key.main), select.bind(key.position));
        format!(" AND (scored_at, position) < ({main}, {position})")
    });
    let mut arms = Vec::new();
    for status in STATUSES {
        for priority in PRIORITIES {
            let wanted = (query.status.is_empty() || query.status.contains(&status))
                && (query.priority.is_empty() || query.priority.contains(&priority));
            let bounds = match bounds_of(query.sort, priority, after) {
                Bounds::Whole => "",
                Bounds::Rest => keyset.as_deref().unwrap_or_default(),
                Bounds::Nothing => continue,
            };
            if wanted {
                let (status, priority) = (codes::status(status), codes::priority(priority));
                arms.push(format!(
                    "SELECT position, scored_at, priority FROM alerts INDEXED BY alerts_state
                     WHERE status = {status} AND priority = {priority}{bounds}{span}{filter}"
                ));
            }
        }
    }
    select.sql = arms.join(" UNION ALL ");
    !arms.is_empty()
}

/// What a cursor leaves of the alerts of one priority.
enum Bounds {
    Whole,
    Rest,
    Nothing,
}

fn bounds_of(sort: Sort, priority: Priority, after: Option<Key>) -> Bounds {
    let Some(key) = after else { return Bounds::Whole };
    if sort != Sort::PriorityDescending {
        return Bounds::Rest;
    }
    match codes::priority(priority).cmp(&i64::from(key.priority)) {
        std::cmp::Ordering::Less => Bounds::Whole,
        std::cmp::Ordering::Equal => Bounds::Rest,
        std::cmp::Ordering::Greater => Bounds::Nothing,
    }
}

fn span(query: &AlertQuery, select: &mut Select) -> String {
    let mut bound = |time: Option<Timestamp>, comparison: &str| {
        time.map_or(String::new(), |time| {
            let value = select.bind(time.millis());
            format!(" AND scored_at {comparison} {value}")
        })
    };
    bound(query.from, ">=") + &bound(query.to, "<")
}

fn in_list(column: &str, codes: impl Iterator<Item = i64>) -> String {
    let codes: Vec<String> = codes.map(|code| code.to_string()).collect();
    if codes.is_empty() { String::new() } else { format!(" AND {column} IN ({})", codes.join(", ")) }
}

/// What each row is checked for besides state, priority, time and user; none when nothing can match.
fn filter(
    connection: &Connection,
    query: &AlertQuery,
    found: Option<Found>,
    select: &mut Select,
) -> rusqlite::Result<Option<String>> {
    let mut filter = String::new();
    if !query.model_type.is_empty() {
        let mut models = Vec::new();
        for model in &query.model_type {
            models.extend(lookup(connection, Names::Models, model)?);
        }
        if models.is_empty() {
            return Ok(None);
        }
        filter += &in_list("model", models.into_iter());
    }
    if let Some(least) = query.min_confidence {
        let least = select.bind(f64::from(least));
        filter += &format!(" AND raw >= {least}");
    }
    if let Some(outcome) = query.outcome {
        filter += &format!(" AND outcome = {}", codes::outcome(outcome));
    }
    if let (Some(text), Some(found)) = (&query.text, found) {
        let Some(condition) = text::condition(&found, text, |value| select.bind(value)) else {
            return Ok(None);
        };
        filter += &condition;
    }
    Ok(Some(filter))
}
