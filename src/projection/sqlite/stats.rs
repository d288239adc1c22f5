//! Figures over a span of opening time, from one walk along one index.
//!
//! Law: figures are sums over alerts in a fixed order, so that equal content gives equal bytes, floats included.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};

use super::codes::{self, Coded, PRIORITIES, STATUSES};
use crate::domain::alert::Status;
use crate::domain::policy::Priority;
use crate::domain::time::Timestamp;
use crate::projection::Stats;

/// All that figures need of an alert, read from the index alone.
pub(super) const SELECT: &str =
    "SELECT created_at, model, status, priority, response_ms, converted, conversion_value
         FROM alerts INDEXED BY alerts_created WHERE created_at >= ?1 AND created_at < ?2
         ORDER BY created_at, model, status, priority, response_ms, converted, conversion_value";

/// Figures over `[from, to)`.
pub(super) fn stats(
    connection: &Connection,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
) -> rusqlite::Result<Stats> {
    let from = from.unwrap_or(Timestamp::MIN);
    // Opening times are held at MAX by parsing: the last of them is within an open-ended span.
    let to = to.map_or(i64::MAX, Timestamp::millis);
    let mut tally = Tally::default();
    let mut statement = connection.prepare_cached(SELECT)?;
    let mut rows = statement.query(params![from.millis(), to])?;
    while let Some(row) = rows.next()? {
        tally.alert(&Alert {
            created_at: Timestamp::from_millis(row.get(0)?),
            model: row.get(1)?,
            status: row.get::<_, Coded<_>>(2)?.0,
            priority: row.get::<_, Coded<_>>(3)?.0,
            response_ms: row.get(4)?,
            converted: row.get(5)?,
            conversion_value: row.get(6)?,
        });
    }
    let mut stats = tally.stats(connection)?;
    log_figures(connection, from, to, &mut stats)?;
    Ok(stats)
}

/// What is known of the log besides its alerts.
fn log_figures(connection: &Connection, from: Timestamp, to: i64, stats: &mut Stats) -> rusqlite::Result<()> {
    let (users, first, last): (i64, Option<i64>, Option<i64>) = connection
        .prepare_cached("SELECT users, first_ms, last_ms FROM meta")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    stats.users = users.cast_unsigned();
    if let (Some(first), Some(last)) = (first, last) {
        let begin = Timestamp::from_millis(first.max(from.millis()));
        let end = Timestamp::from_millis(last.min(to));
        stats.span_days = end.days_since(begin).max(0.0);
    }
    let conversions: i64 = connection
        .prepare_cached(
            "SELECT count(*) FROM conversions WHERE converted AND occurred_at >= ?1 AND occurred_at < ?2",
        )?
        .query_row(params![from.millis(), to], |row| row.get(0))?;
    stats.conversions_recorded = conversions.cast_unsigned();
    Ok(())
}

struct Alert {
    created_at: Timestamp,
    model: u32,
    status: Status,
    priority: Priority,
    response_ms: Option<i64>,
    converted: Option<bool>,
    conversion_value: Option<f64>,
}

/// Sums on the way, by code where there is one.
#[derive(Default)]
struct Tally {
    total: u64,
    by_status: [u64; STATUSES.len()],
    by_priority: [u64; PRIORITIES.len()],
    by_model: BTreeMap<u32, u64>,
    by_day: Vec<(i32, u64)>,
    oldest_open: Option<Timestamp>,
    responses: Vec<i64>,
    outcomes_known: u64,
    converted: u64,
    conversion_value: f64,
}

impl Tally {
    fn alert(&mut self, alert: &Alert) {
        self.total += 1;
        if let Some(count) = count_at(&mut self.by_status, codes::status(alert.status)) {
            *count += 1;
        }
        if let Some(count) = count_at(&mut self.by_priority, codes::priority(alert.priority)) {
            *count += 1;
        }
        *self.by_model.entry(alert.model).or_default() += 1;
        let day = alert.created_at.day();
        match self.by_day.last_mut() {
            Some((last, count)) if *last == day => *count += 1,
            Some(_) | None => self.by_day.push((day, 1)),
        }
        if alert.status.is_open() && self.oldest_open.is_none() {
            self.oldest_open = Some(alert.created_at);
        }
        self.responses.extend(alert.response_ms);
        if let Some(converted) = alert.converted {
            self.outcomes_known += 1;
            self.converted += u64::from(converted);
            self.conversion_value += alert.conversion_value.filter(|_| converted).unwrap_or_default();
        }
    }

    fn stats(mut self, connection: &Connection) -> rusqlite::Result<Stats> {
        self.responses.sort_unstable();
        let mut by_model = Vec::new();
        let mut statement = connection.prepare_cached("SELECT name, id FROM models ORDER BY name")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let count = self.by_model.get(&row.get(1)?).copied().unwrap_or_default();
            by_model.push((row.get(0)?, count));
        }
        let by_status: Vec<(Status, u64)> = STATUSES.into_iter().zip(self.by_status).collect();
        let open = by_status.iter().filter(|(status, _)| status.is_open()).map(|(_, count)| count).sum();
        // Counted by code, from the lowest; told from the highest.
        let by_priority = PRIORITIES.into_iter().zip(self.by_priority.into_iter().rev()).collect();
        Ok(Stats {
            total: self.total,
            by_status,
            by_priority,
            by_model,
            by_day: self.by_day.into_iter().map(|(day, count)| (day_text(day), count)).collect(),
            open,
            oldest_open: self.oldest_open,
            response_ms_p50: percentile(&self.responses, 50),
            response_ms_p90: percentile(&self.responses, 90),
            outcomes_known: self.outcomes_known,
            converted: self.converted,
            conversion_value: self.conversion_value,
            ..Stats::default()
        })
    }
}

fn count_at(counts: &mut [u64], code: i64) -> Option<&mut u64> {
    usize::try_from(code).ok().and_then(|code| counts.get_mut(code))
}

/// The smallest value that at least so many percent of the values do not exceed (nearest rank).
fn percentile(sorted: &[i64], percent: usize) -> Option<i64> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.checked_sub(1)?).copied()
}

fn day_text(day: i32) -> String {
    let start = Timestamp::from_millis(i64::from(day) * crate::domain::time::DAY_MS).to_string();
    start.split('T').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        assert_eq!(percentile(&[], 50), None);
        assert_eq!(percentile(&[7], 90), Some(7));
        let ten: Vec<i64> = (1..=10).collect();
        assert_eq!((percentile(&ten, 50), percentile(&ten, 90)), (Some(5), Some(9)));
    }

    #[test]
    fn days_are_written_as_dates() {
        assert_eq!((day_text(0).as_str(), day_text(-1).as_str()), ("1970-01-01", "1969-12-31"));
    }
}
