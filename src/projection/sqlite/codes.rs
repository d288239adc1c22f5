//! Small integers for the closed enums, as the file keeps them.
//!
//! Law: a code never changes its meaning within one schema number; priorities sort by their codes.

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};

use crate::domain::alert::{Outcome, Status};
use crate::domain::policy::Priority;

/// Every state of an alert, in the order of its life; its place here is its code.
pub(super) const STATUSES: [Status; 7] = [
    Status::Pending,
    Status::Acknowledged,
    Status::InProgress,
    Status::Snoozed,
    Status::Converted,
    Status::Dismissed,
    Status::Expired,
];

/// Every priority, from the highest.
pub(super) const PRIORITIES: [Priority; 4] =
    [Priority::Critical, Priority::High, Priority::Medium, Priority::Low];

const OUTCOMES: [Outcome; 3] = [Outcome::TruePositive, Outcome::FalsePositive, Outcome::Unknown];

/// The code of a state.
pub(super) const fn status(status: Status) -> i64 {
    match status {
        Status::Pending => 0,
        Status::Acknowledged => 1,
        Status::InProgress => 2,
        Status::Snoozed => 3,
        Status::Converted => 4,
        Status::Dismissed => 5,
        Status::Expired => 6,
    }
}

/// The code of a priority.
pub(super) const fn priority(priority: Priority) -> i64 {
    match priority {
        Priority::Low => 0,
        Priority::Medium => 1,
        Priority::High => 2,
        Priority::Critical => 3,
    }
}

/// The code of an outcome.
pub(super) const fn outcome(outcome: Outcome) -> i64 {
    match outcome {
        Outcome::TruePositive => 0,
        Outcome::FalsePositive => 1,
        Outcome::Unknown => 2,
    }
}

/// A value kept as its code.
#[derive(Clone, Copy, Debug)]
pub(super) struct Coded<T>(pub(super) T);

fn decode<T: Copy>(value: ValueRef<'_>, all: &[T], code: fn(T) -> i64) -> FromSqlResult<Coded<T>> {
    let wanted = value.as_i64()?;
    let found = all.iter().copied().find(|&one| code(one) == wanted);
    found.map(Coded).ok_or(FromSqlError::OutOfRange(wanted))
}

impl FromSql for Coded<Status> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        decode(value, &STATUSES, status)
    }
}

impl FromSql for Coded<Priority> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        decode(value, &PRIORITIES, priority)
    }
}

impl FromSql for Coded<Outcome> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        decode(value, &OUTCOMES, outcome)
    }
}

impl ToSql for Coded<Status> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(status(self.0).into())
    }
}

impl ToSql for Coded<Priority> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(priority(self.0).into())
    }
}

impl ToSql for Coded<Outcome> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(outcome(self.0).into())
    }
}
