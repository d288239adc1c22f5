//! Figures over a span, on the wire.
//!
//! Law: a rate whose base is nothing is null, never 0 or infinity; every status and priority has its count, 0 included.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::{Priority, Status};
use crate::domain::catalog::Catalog;
use crate::domain::time::Timestamp;
use crate::projection;

/// Mean length of a year in the Gregorian calendar.
const DAYS_PER_YEAR: f64 = 365.2425;

/// How many alerts were opened on a day.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct Day {
    /// `2026-01-31`, UTC.
    #[schema(format = Date)]
    day: String,
    /// How many.
    alerts: u64,
}

/// What waits for somebody.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct Backlog {
    /// Open alerts now.
    open: u64,
    /// When the oldest of them was opened (event time).
    #[schema(value_type = Option<String>, format = DateTime)]
    oldest_opened_at: Option<Timestamp>,
    /// How long ago that is, by the log's clock.
    oldest_age_seconds: Option<f64>,
}

/// Time from an alert's opening to the first move by a person.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct Response {
    /// Median, in seconds.
    p50_seconds: Option<f64>,
    /// 90th percentile, in seconds.
    p90_seconds: Option<f64>,
}

/// What became of the alerts.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct Conversions {
    /// Alerts of which it is known whether the user converted.
    known: u64,
    /// Of these, converted.
    converted: u64,
    /// `converted / known`.
    rate: Option<f64>,
    /// Sum of what the conversions were worth.
    value: f64,
    /// Conversions recorded for users and not for alerts (`POST /outcomes`), in the span of when they happened.
    recorded_without_alert: u64,
}

/// Alerts per 1,000 users and year.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct Rate {
    /// Which model; null for all models together.
    model_type: Option<String>,
    /// Alerts per 1,000 users and year over the span.
    per_thousand_users_per_year: Option<f64>,
    /// As many as the business can work on (10 % of users a year is 100); over all models, the sum of theirs.
    budget_per_thousand_users_per_year: f64,
    /// Whether the rate is within the budget.
    within_budget: Option<bool>,
}

/// How many alerts there are for how many users.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct AlertRate {
    /// Users known.
    users: u64,
    /// Length of the span in days, as far as the log covers it.
    span_days: f64,
    /// Over all models.
    overall: Rate,
    /// Per model of the catalogue.
    by_model: Vec<Rate>,
}

/// Figures over a span of opening time.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct Stats {
    /// Opened at or after; null when not given.
    #[schema(value_type = Option<String>, format = DateTime)]
    from: Option<Timestamp>,
    /// Opened before; null when not given.
    #[schema(value_type = Option<String>, format = DateTime)]
    to: Option<Timestamp>,
    /// Alerts opened in the span.
    total: u64,
    /// By state now.
    #[schema(value_type = std::collections::HashMap<String, u64>)]
    by_status: BTreeMap<&'static str, u64>,
    /// By priority now.
    #[schema(value_type = std::collections::HashMap<String, u64>)]
    by_priority: BTreeMap<&'static str, u64>,
    /// By model.
    #[schema(value_type = std::collections::HashMap<String, u64>)]
    by_model: BTreeMap<String, u64>,
    /// By day of opening, ascending.
    by_day: Vec<Day>,
    /// What waits for somebody now.
    backlog: Backlog,
    /// How fast people take alerts up.
    response: Response,
    /// What became of the alerts.
    conversions: Conversions,
    /// How many alerts there are for how many users.
    alert_rate: AlertRate,
}

/// What each model may alert, from the catalogue: name and alerts per user and year.
pub(in crate::http) struct Budgets(Vec<(String, f64)>);

impl Budgets {
    /// The catalogue's.
    pub(in crate::http) fn of(catalog: &Catalog) -> Self {
        Self(catalog.models.iter().map(|model| (model.name.clone(), model.budget_per_user_year)).collect())
    }
}

impl Stats {
    /// The projection's figures, with rates and ages.
    pub(in crate::http) fn new(
        figures: projection::Stats,
        (from, to): (Option<Timestamp>, Option<Timestamp>),
        now: Timestamp,
        Budgets(budgets): &Budgets,
    ) -> Self {
        let mut by_status: BTreeMap<_, _> = Status::ALL.iter().map(|status| (status.name(), 0)).collect();
        by_status
            .extend(figures.by_status.iter().map(|(status, count)| (Status::from(*status).name(), *count)));
        let mut by_priority: BTreeMap<_, _> = Priority::ALL.iter().map(|each| (each.name(), 0)).collect();
        by_priority
            .extend(figures.by_priority.iter().map(|(each, count)| (Priority::from(*each).name(), *count)));
        let mut by_model: BTreeMap<_, _> = budgets.iter().map(|(name, _)| (name.clone(), 0)).collect();
        by_model.extend(figures.by_model.iter().cloned());
        let user_years = figures.users as f64 * figures.span_days / DAYS_PER_YEAR;
        let rate = |model_type: Option<String>, alerts: u64, budget: f64| {
            let per_user = Some(alerts as f64 / user_years).filter(|rate| rate.is_finite());
            Rate {
                model_type,
                per_thousand_users_per_year: per_user.map(|rate| rate * 1_000.0),
                budget_per_thousand_users_per_year: budget * 1_000.0,
                within_budget: per_user.map(|rate| rate <= budget),
            }
        };
        let of_model = |(name, budget): &(String, f64)| {
            rate(Some(name.clone()), by_model.get(name).copied().unwrap_or(0), *budget)
        };
        let alert_rate = AlertRate {
            users: figures.users,
            span_days: figures.span_days,
            overall: rate(None, figures.total, budgets.iter().map(|(_, budget)| budget).sum()),
            by_model: budgets.iter().map(of_model).collect(),
        };
        let seconds = |millis: i64| millis as f64 / 1_000.0;
        let known = figures.outcomes_known;
        Self {
            from,
            to,
            total: figures.total,
            by_status,
            by_priority,
            by_model,
            by_day: figures.by_day.into_iter().map(|(day, alerts)| Day { day, alerts }).collect(),
            backlog: Backlog {
                open: figures.open,
                oldest_opened_at: figures.oldest_open,
                oldest_age_seconds: figures.oldest_open.map(|at| seconds(now.millis_since(at).max(0))),
            },
            response: Response {
                p50_seconds: figures.response_ms_p50.map(seconds),
                p90_seconds: figures.response_ms_p90.map(seconds),
            },
            conversions: Conversions {
                known,
                converted: figures.converted,
                rate: (known > 0).then(|| figures.converted as f64 / known as f64),
                value: figures.conversion_value,
                recorded_without_alert: figures.conversions_recorded,
            },
            alert_rate,
        }
    }
}
