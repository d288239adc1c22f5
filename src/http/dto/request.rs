//! Bodies of requests. Bounds that types cannot say are checked in `check`, with the path of what is wrong.
//!
//! Law: an unknown member is refused; a text has a bound.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::super::problem::Fault;
use super::{Outcome, Priority, Status};
use crate::domain::catalog::Catalog;
use crate::domain::event::CONVERSION_RECORDED;
use crate::domain::id::{EventId, UserId};
use crate::domain::time::Timestamp;

/// Longest note, in bytes: a few paragraphs.
const NOTE_BYTES_MAX: usize = 4_000;
/// Most users in one `score-users` (CONTRACT).
const USERS_MAX: usize = 1_000;
/// Most users in one `process-signals` (CONTRACT).
const SIGNALS_MAX: usize = 1_000;

/// Something that happened.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the body; it is read by domain::codec, against the catalogue")]
pub(in crate::http) struct Event<'a> {
    /// Any text of up to 200 bytes, unique per user: a second event with the same id is a duplicate.
    #[schema(max_length = 200)]
    id: String,
    /// Who; `*` for a market event, which every user sees.
    #[schema(max_length = 200)]
    user_id: String,
    /// One of the catalogue's event types.
    #[schema(rename = "type", example = "LISTING_VIEWED")]
    kind: String,
    /// When it happened.
    #[schema(value_type = String, format = DateTime)]
    occurred_at: Timestamp,
    /// What the catalogue says of the type.
    #[schema(value_type = Object)]
    data: &'a RawValue,
}

/// One event or up to 10,000.
#[derive(ToSchema)]
#[schema(as = EventOrEvents)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes the body")]
pub(in crate::http) enum Events<'a> {
    /// One.
    One(Event<'a>),
    /// Many.
    Many(Vec<Event<'a>>),
}

/// Which alerts, in which order, and how many.
#[derive(IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase", style = Form)]
#[expect(dead_code, reason = "describes the query; http::alerts reads it")]
pub(in crate::http) struct AlertFilters {
    /// In any of these states; repeat it or part values by commas.
    #[param(explode = false)]
    status: Option<Vec<Status>>,
    /// Of any of these models; repeat it or part values by commas.
    #[param(explode = false)]
    model_type: Option<Vec<String>>,
    /// Of any of these priorities; repeat it or part values by commas.
    #[param(explode = false)]
    priority: Option<Vec<Priority>>,
    /// With at least this raw confidence.
    #[param(minimum = 0, maximum = 1)]
    min_confidence: Option<f32>,
    /// Scored at or after (RFC 3339).
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<Timestamp>,
    /// Scored before (RFC 3339).
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<Timestamp>,
    /// With this newest outcome.
    outcome: Option<Outcome>,
    /// Text found in the user id or in the names of the top features.
    #[param(max_length = 200)]
    q: Option<String>,
    /// `-scoredAt` (when not given), `-priority` or `-calibratedScore`.
    sort: Option<String>,
    /// At most so many; 50 when not given.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u16>,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
}

/// Which users' waiting signals to score.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct ProcessSignals {
    /// At most this many users; 1,000 when not given.
    #[schema(minimum = 1, maximum = 1000)]
    #[serde(default)]
    pub(in crate::http) limit: Option<usize>,
}

impl ProcessSignals {
    /// The limit, or what is wrong with it.
    pub(in crate::http) fn limit(&self) -> Result<usize, Vec<Fault>> {
        let limit = self.limit.unwrap_or(SIGNALS_MAX);
        if (1..=SIGNALS_MAX).contains(&limit) {
            Ok(limit)
        } else {
            Err(vec![Fault::new("limit", format!("must be a whole number from 1 to {SIGNALS_MAX}"))])
        }
    }
}

/// Whom to score.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct ScoreUser {
    /// The user.
    #[schema(value_type = String)]
    pub(in crate::http) user_id: UserId,
    /// By which models; all when not given.
    #[serde(default)]
    pub(in crate::http) model_types: Vec<String>,
}

/// Whom to score.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct ScoreUsers {
    /// The users; one named twice is scored once.
    #[schema(value_type = Vec<String>, min_items = 1, max_items = 1000)]
    pub(in crate::http) user_ids: Vec<UserId>,
}

impl ScoreUsers {
    /// Every user once, in the order given.
    pub(in crate::http) fn users(self) -> Result<Vec<UserId>, Vec<Fault>> {
        if !(1..=USERS_MAX).contains(&self.user_ids.len()) {
            return Err(vec![Fault::new(
                "userIds",
                format!("must hold 1 to {USERS_MAX} users, holds {}", self.user_ids.len()),
            )]);
        }
        let mut seen = hashbrown::HashSet::new();
        Ok(self.user_ids.into_iter().filter(|user| seen.insert(user.clone())).collect())
    }
}

/// Names each model that the catalogue does not have.
pub(in crate::http) fn check_models(catalog: &Catalog, names: &[String]) -> Vec<Fault> {
    names
        .iter()
        .enumerate()
        .filter_map(|(at, name)| known_model(catalog, name).err().map(|why| (at, why)))
        .map(|(at, why)| Fault::new(format!("modelTypes[{at}]"), why))
        .collect()
}

/// The name of a model that the catalogue has, or which there are.
pub(in crate::http) fn known_model(catalog: &Catalog, name: &str) -> Result<String, String> {
    if catalog.model(name).is_some() {
        return Ok(name.to_owned());
    }
    let names: Vec<_> = catalog.models.iter().map(|model| model.name.as_str()).collect();
    Err(format!("must be one of {}", names.join(", ")))
}

/// Where an alert is to go.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct StatusChange {
    /// Where to.
    pub(in crate::http) status: Status,
    /// Words.
    #[schema(max_length = 4000)]
    #[serde(default)]
    pub(in crate::http) note: Option<String>,
    /// Until when, with `SNOOZED` and only with it.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(default)]
    pub(in crate::http) snooze_until: Option<Timestamp>,
}

impl StatusChange {
    /// What is wrong with it.
    pub(in crate::http) fn check(&self) -> Vec<Fault> {
        let mut faults = check_note(self.note.as_deref());
        match (self.status, self.snooze_until) {
            (Status::Snoozed, None) => faults.push(Fault::new("snoozeUntil", "is needed to snooze")),
            (Status::Snoozed, Some(_)) | (_, None) => {}
            (_, Some(_)) => faults.push(Fault::new("snoozeUntil", "goes with the status SNOOZED alone")),
        }
        faults
    }
}

/// What really happened to the person an alert was about.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct NewOutcome {
    /// Right, wrong, or not known.
    pub(in crate::http) outcome: Outcome,
    /// Whether the user converted.
    #[serde(default)]
    pub(in crate::http) converted: Option<bool>,
    /// What it was worth, in the currency of the business.
    #[schema(minimum = 0)]
    #[serde(default)]
    pub(in crate::http) conversion_value: Option<f64>,
    /// When; now when not given.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(default)]
    pub(in crate::http) occurred_at: Option<Timestamp>,
    /// Words.
    #[schema(max_length = 4000)]
    #[serde(default)]
    pub(in crate::http) note: Option<String>,
}

impl NewOutcome {
    /// What is wrong with it.
    pub(in crate::http) fn check(&self) -> Vec<Fault> {
        let mut faults = check_note(self.note.as_deref());
        faults.extend(check_value(self.conversion_value));
        faults
    }
}

/// A conversion (or its correction) that had no alert.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct NewConversion {
    /// Unique per user, as for events; made from all other members when not given, so that the same body again has no
    /// second effect. Needed to go back to a value that was corrected.
    #[schema(max_length = 200)]
    #[serde(default)]
    pub(in crate::http) id: Option<String>,
    /// Who.
    #[schema(value_type = String)]
    pub(in crate::http) user_id: UserId,
    /// Which model should have seen it.
    pub(in crate::http) model_type: String,
    /// Whether it happened; false corrects an earlier true.
    pub(in crate::http) converted: bool,
    /// What it was worth, in the currency of the business.
    #[schema(minimum = 0)]
    #[serde(default)]
    pub(in crate::http) conversion_value: Option<f64>,
    /// When it happened.
    #[schema(value_type = String, format = DateTime)]
    pub(in crate::http) occurred_at: Timestamp,
}

/// A conversion as an event of the user, for the door that all events pass.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ConversionEvent<'a> {
    id: &'a str,
    user_id: &'a UserId,
    #[serde(rename = "type")]
    kind: &'static str,
    occurred_at: Timestamp,
    model_type: &'a str,
    converted: bool,
    conversion_value: Option<f64>,
}

impl NewConversion {
    /// The event that records it.
    pub(in crate::http) fn event(&self) -> Result<Bytes, serde_json::Error> {
        let made_id = || {
            let value = self.conversion_value.map(|value| value.to_string()).unwrap_or_default();
            let (at, converted) = (self.occurred_at.to_string(), self.converted.to_string());
            let parts = [CONVERSION_RECORDED, &self.model_type, &at, &converted, &value];
            EventId::of_behaviour(self.user_id.as_str(), &parts.join("\0")).to_string()
        };
        let event = ConversionEvent {
            id: &self.id.clone().unwrap_or_else(made_id),
            user_id: &self.user_id,
            kind: CONVERSION_RECORDED,
            occurred_at: self.occurred_at,
            model_type: &self.model_type,
            converted: self.converted,
            conversion_value: self.conversion_value,
        };
        serde_json::to_vec(&event).map(Bytes::from)
    }
}

fn check_note(note: Option<&str>) -> Vec<Fault> {
    let is_long = note.is_some_and(|note| note.len() > NOTE_BYTES_MAX);
    is_long.then(|| Fault::new("note", format!("has at most {NOTE_BYTES_MAX} bytes"))).into_iter().collect()
}

fn check_value(value: Option<f64>) -> Option<Fault> {
    value
        .is_some_and(|value| !value.is_finite() || value < 0.0)
        .then(|| Fault::new("conversionValue", "must be a number of at least 0"))
}
