//! An alert's own fold and its allowed moves.
//!
//! Law: what an alert is follows from the facts in `intent-<id>` alone, in their order. Called by the entity, both when it
//! recovers and when it decides: there is one fold.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::event::IntentEvent;
use super::id::AlertId;
use super::policy::Priority;
use super::time::Timestamp;

/// Where an alert is in its life (CONTRACT, An alert's life).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// Nobody has taken it up.
    Pending,
    /// Somebody has seen it.
    Acknowledged,
    /// Somebody works on it.
    InProgress,
    /// Put off until a time or a higher score.
    Snoozed,
    /// The user converted. An end.
    Converted,
    /// Judged not worth it. An end.
    Dismissed,
    /// The model's horizon passed. An end.
    Expired,
}

impl Status {
    /// Whether the alert still waits for somebody.
    pub fn is_open(self) -> bool {
        match self {
            Self::Pending | Self::Acknowledged | Self::InProgress | Self::Snoozed => true,
            Self::Converted | Self::Dismissed | Self::Expired => false,
        }
    }

    /// Where a person may move it from here. Time alone moves it to EXPIRED and back to PENDING.
    pub fn moves(self) -> &'static [Self] {
        match self {
            Self::Pending => &[Self::Acknowledged, Self::Snoozed, Self::Dismissed],
            Self::Acknowledged => &[Self::InProgress, Self::Snoozed, Self::Dismissed],
            Self::InProgress => &[Self::Converted, Self::Dismissed],
            Self::Snoozed => &[Self::Dismissed],
            Self::Converted | Self::Dismissed | Self::Expired => &[],
        }
    }
}

/// What really happened to the person an alert was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Outcome {
    /// The alert was right.
    TruePositive,
    /// The alert was wrong.
    FalsePositive,
    /// Not known (yet).
    Unknown,
}

/// An alert as the entity needs it: what decides about it and about the next one of its model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// Its id.
    pub id: AlertId,
    /// Its model's name: an alert outlives its model's place in the catalogue.
    pub model: Box<str>,
    /// Where it is.
    pub status: Status,
    /// How urgent.
    pub priority: Priority,
    /// Event time at which it expires while PENDING.
    pub expires_at: Timestamp,
    /// While SNOOZED, when it wakes.
    pub wakes_at: Option<Timestamp>,
    /// Event time at which it ended.
    pub ended_at: Option<Timestamp>,
    /// Whether the score was below `exit` since it ended.
    pub rearmed: bool,
    /// How often its status changed: numbers the facts about it.
    pub moves: u32,
    /// How often an outcome was recorded: numbers these facts.
    pub outcomes: u32,
}

/// A move that only time makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Which alert.
    pub alert: AlertId,
    /// Where to.
    pub to: Status,
    /// The instant itself.
    pub at: Timestamp,
}

impl Alert {
    /// The next move that time makes, and when. A snooze holds off the expiry: an alert that wakes late expires at once.
    fn next_due(&self) -> Option<Due> {
        let due = |to, at| Some(Due { alert: self.id, to, at });
        match self.status {
            Status::Pending => due(Status::Expired, self.expires_at),
            Status::Snoozed => self.wakes_at.and_then(|at| due(Status::Pending, at)),
            Status::Acknowledged
            | Status::InProgress
            | Status::Converted
            | Status::Dismissed
            | Status::Expired => None,
        }
    }

    /// Whether a new alert of its model may follow it at `as_of`: see [`super::policy::judge`].
    pub(super) fn lets_next(&self, as_of: Timestamp, cooldown: Duration) -> bool {
        self.ended_at.is_some_and(|ended| self.rearmed || as_of >= ended.plus(cooldown))
    }
}

/// All alerts of a user, in the order in which they were opened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alerts(Vec<Alert>);

impl Alerts {
    /// All of them, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Alert> {
        self.0.iter()
    }

    /// The alert of that id.
    pub fn get(&self, id: AlertId) -> Option<&Alert> {
        self.0.iter().find(|alert| alert.id == id)
    }

    /// The newest alert of a model, open or ended.
    pub fn newest(&self, model: &str) -> Option<&Alert> {
        self.0.iter().rev().find(|alert| &*alert.model == model)
    }

    /// The open alert of a model: there is at most one.
    pub fn open(&self, model: &str) -> Option<&Alert> {
        self.newest(model).filter(|alert| alert.status.is_open())
    }

    /// The earliest move that time makes up to `as_of`; of two at the same instant the older alert's.
    pub fn due(&self, as_of: Timestamp) -> Option<Due> {
        self.0.iter().filter_map(Alert::next_due).filter(|due| due.at <= as_of).min_by_key(|due| due.at)
    }

    /// Folds one fact; facts that are not about alerts, or about one that is not known, change nothing.
    pub fn apply(&mut self, fact: &IntentEvent) {
        match fact {
            IntentEvent::AlertScored(fact) => self.0.push(Alert {
                id: fact.alert_id,
                model: fact.model_type.as_str().into(),
                status: Status::Pending,
                priority: fact.priority,
                expires_at: fact.expires_at,
                wakes_at: None,
                ended_at: None,
                rearmed: false,
                moves: 0,
                outcomes: 0,
            }),
            IntentEvent::AlertEscalated(fact) => self.change(fact.alert_id, |alert| {
                alert.priority = fact.priority;
            }),
            IntentEvent::AlertStatusChanged(fact) => self.change(fact.alert_id, |alert| {
                alert.status = fact.status;
                alert.wakes_at = fact.snooze_until;
                alert.ended_at = (!fact.status.is_open()).then_some(fact.as_of);
                // Keeps the history in order when a snooze outlasted the horizon.
                if fact.status == Status::Pending {
                    alert.expires_at = alert.expires_at.max(fact.as_of);
                }
                alert.moves += 1;
            }),
            IntentEvent::AlertRearmed(fact) => self.change(fact.alert_id, |alert| alert.rearmed = true),
            IntentEvent::AlertOutcomeRecorded(fact) => {
                self.change(fact.alert_id, |alert| alert.outcomes += 1);
            }
            IntentEvent::SignalDetected(_)
            | IntentEvent::UserScored(_)
            | IntentEvent::ScoringFailed(_)
            | IntentEvent::ChallengerScored(_)
            | IntentEvent::EventParked(_)
            | IntentEvent::EventUnparked(_) => {}
        }
    }

    fn change(&mut self, id: AlertId, change: impl FnOnce(&mut Alert)) {
        if let Some(alert) = self.0.iter_mut().find(|alert| alert.id == id) {
            change(alert);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::AlertStatusChanged;
    use uuid::Uuid;

    const ALL: [Status; 7] = [
        Status::Pending,
        Status::Acknowledged,
        Status::InProgress,
        Status::Snoozed,
        Status::Converted,
        Status::Dismissed,
        Status::Expired,
    ];

    fn at(day: i64) -> Timestamp {
        Timestamp::from_millis(day * crate::domain::time::DAY_MS)
    }

    fn given(status: Status) -> Alerts {
        Alerts(vec![Alert {
            id: AlertId(Uuid::from_u128(1)),
            model: "SELL".into(),
            status,
            priority: Priority::Low,
            expires_at: at(30),
            wakes_at: (status == Status::Snoozed).then(|| at(40)),
            ended_at: (!status.is_open()).then(|| at(5)),
            rearmed: false,
            moves: 0,
            outcomes: 0,
        }])
    }

    fn moved(alerts: &mut Alerts, due: Due) {
        let from = alerts.get(due.alert).unwrap().status;
        alerts.apply(&IntentEvent::AlertStatusChanged(AlertStatusChanged {
            alert_id: due.alert,
            user_id: "u".parse().unwrap(),
            model_type: "SELL".into(),
            from,
            status: due.to,
            at: due.at,
            as_of: due.at,
            by: "policy".into(),
            note: None,
            snooze_until: None,
        }));
    }

    #[test]
    fn the_moves_of_a_person_are_those_of_the_contract() {
        let allowed: Vec<(Status, Status)> =
            ALL.iter().flat_map(|&from| from.moves().iter().map(move |&to| (from, to))).collect();
        assert_eq!(
            allowed,
            [
                (Status::Pending, Status::Acknowledged),
                (Status::Pending, Status::Snoozed),
                (Status::Pending, Status::Dismissed),
                (Status::Acknowledged, Status::InProgress),
                (Status::Acknowledged, Status::Snoozed),
                (Status::Acknowledged, Status::Dismissed),
                (Status::InProgress, Status::Converted),
                (Status::InProgress, Status::Dismissed),
                (Status::Snoozed, Status::Dismissed),
            ]
        );
    }

    #[test]
    fn only_a_pending_alert_expires() {
        for status in ALL {
            let due = given(status).due(at(35)).map(|due| due.to);
            assert_eq!(due, (status == Status::Pending).then_some(Status::Expired), "{status:?}");
        }
        assert_eq!(given(Status::Pending).due(at(29)), None);
    }

    #[test]
    fn a_snooze_beyond_the_horizon_wakes_and_then_expires() {
        let mut alerts = given(Status::Snoozed);
        assert_eq!(alerts.due(at(39)), None, "a snooze holds off the expiry");
        let wake = alerts.due(at(41)).unwrap();
        assert_eq!((wake.to, wake.at), (Status::Pending, at(40)));
        moved(&mut alerts, wake);
        let expiry = alerts.due(at(41)).unwrap();
        assert_eq!(
            (expiry.to, expiry.at),
            (Status::Expired, at(40)),
            "its horizon had passed, but not before it woke"
        );
        moved(&mut alerts, expiry);
        assert_eq!(alerts.due(Timestamp::MAX), None);
        assert_eq!(alerts.open("SELL"), None);
    }

    #[test]
    fn the_next_alert_waits_for_the_cooldown_unless_rearmed() {
        let cooldown = Duration::from_secs(10 * 86_400);
        let mut alert = given(Status::Dismissed).0.remove(0);
        assert!(!alert.lets_next(at(14), cooldown));
        assert!(alert.lets_next(at(15), cooldown));
        alert.rearmed = true;
        assert!(alert.lets_next(at(6), cooldown));
    }
}
