//! Random logs for the projection: steps with small numbers, so that times, users and scores tie often.

use bytes::Bytes;
use intentd::domain::alert::{Outcome, Status};
use intentd::domain::codec;
use intentd::domain::event::*;
use intentd::domain::id::{AlertId, EventId, UserId};
use intentd::domain::policy::Priority;
use intentd::domain::time::{DAY_MS, Timestamp};
use proptest::prelude::*;
use uuid::Uuid;

pub const MODELS: [&str; 3] = ["SELL", "BUY", "REFINANCE"];
pub const STATUSES: [Status; 7] = [
    Status::Pending,
    Status::Acknowledged,
    Status::InProgress,
    Status::Snoozed,
    Status::Converted,
    Status::Dismissed,
    Status::Expired,
];
pub const PRIORITIES: [Priority; 4] = [Priority::Low, Priority::Medium, Priority::High, Priority::Critical];
const OUTCOMES: [Outcome; 3] = [Outcome::TruePositive, Outcome::FalsePositive, Outcome::Unknown];
const ACTORS: [&str; 4] = ["api", "sweep", "policy", "ann"];

/// What happens next: which kind, to which user, and numbers that the kind reads as it likes.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    pub kind: u8,
    pub user: u8,
    pub a: u8,
    pub b: u8,
    pub day: u8,
}

pub fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = (0u8..17, 0u8..4, any::<u8>(), any::<u8>(), 0u8..5).prop_map(|(kind, user, a, b, day)| Step {
        kind,
        user,
        a,
        b,
        day,
    });
    proptest::collection::vec(step, 1..most)
}

/// An event as recorded and, when it is a fact, as what it says.
#[derive(Clone, Debug)]
pub enum Told {
    Fact(IntentEvent),
    First(Timestamp),
    Conversion(ConversionRecorded),
    Nothing,
}

#[derive(Default)]
pub struct Log {
    pub events: Vec<Recorded>,
    pub told: Vec<Told>,
    alerts: Vec<(AlertId, UserId, String)>,
    revisions: [u64; 8],
}

pub fn user(number: u8) -> UserId {
    format!("user-{number}_x%").parse().unwrap()
}

pub fn at(day: u8) -> Timestamp {
    Timestamp::from_millis(1_767_225_600_000 + i64::from(day) * DAY_MS / 2)
}

pub fn log(steps: &[Step]) -> Log {
    let mut log = Log::default();
    for step in steps {
        log.step(*step);
    }
    log
}

impl Log {
    fn step(&mut self, step: Step) {
        let user = user(step.user);
        let model = MODELS[usize::from(step.a % 3)].to_owned();
        let picked = self.alerts.get(usize::from(step.a) % self.alerts.len().max(1)).cloned();
        let cause = Cause { event_id: self.next_id(), revision: u64::from(step.b % 4) };
        match (step.kind, picked) {
            (0..=3, _) => {
                let fact = scored(step, user, model, AlertId(self.next_id().0), cause);
                self.alerts.push((fact.alert_id, fact.user_id.clone(), fact.model_type.clone()));
                self.fact(IntentEvent::AlertScored(Box::new(fact)), step.user);
            }
            (4, Some((alert_id, user_id, model_type))) => {
                let fact = scored(step, user_id, model_type, alert_id, cause);
                let fact = AlertEscalated {
                    alert_id,
                    user_id: fact.user_id,
                    model_type: fact.model_type,
                    from_priority: Priority::Low,
                    priority: fact.priority,
                    scored_at: fact.scored_at,
                    scoring: fact.scoring,
                    signals: fact.signals,
                    cause,
                };
                self.fact(IntentEvent::AlertEscalated(Box::new(fact)), step.user);
            }
            (5..=7, Some((alert_id, user_id, model_type))) => {
                let status = STATUSES[usize::from(step.b % 7)];
                let fact = AlertStatusChanged {
                    alert_id,
                    user_id,
                    model_type,
                    from: Status::Pending,
                    status,
                    at: at(step.day + 2),
                    as_of: at(step.day),
                    by: ACTORS[usize::from(step.b % 4)].to_owned(),
                    note: (step.b > 200).then(|| "a note".to_owned()),
                    snooze_until: (!step.b.is_multiple_of(5)).then(|| at(step.day + 4)),
                };
                self.fact(IntentEvent::AlertStatusChanged(fact), step.user);
            }
            (8, Some((alert_id, user_id, model_type))) => {
                let fact = AlertOutcomeRecorded {
                    alert_id,
                    user_id,
                    model_type,
                    outcome: OUTCOMES[usize::from(step.b % 3)],
                    converted: (!step.b.is_multiple_of(4)).then_some(step.b % 4 > 1),
                    conversion_value: (!step.b.is_multiple_of(2)).then_some(f64::from(step.b) / 4.0),
                    occurred_at: at(step.day),
                    at: at(step.day + 1),
                    by: "api".to_owned(),
                    note: None,
                };
                self.fact(IntentEvent::AlertOutcomeRecorded(fact), step.user);
            }
            (9, Some((alert_id, user_id, model_type))) => {
                let as_of = at(step.day);
                let fact =
                    AlertRearmed { alert_id, user_id, model_type, probability: 0.1, exit: 0.4, as_of, cause };
                self.fact(IntentEvent::AlertRearmed(fact), step.user);
            }
            (10, _) => {
                let scoring = scoring(step);
                let fact = UserScored {
                    user_id: user,
                    model_type: model,
                    scoring,
                    priority: None,
                    alert_id: None,
                    cause,
                };
                self.fact(IntentEvent::UserScored(fact), step.user);
            }
            (11, _) => {
                let failing = MODELS.iter().enumerate().filter(|(at, _)| step.a >> at & 1 == 1);
                let fact = ScoringFailed {
                    user_id: user,
                    model_types: failing.map(|(_, model)| (*model).to_owned()).collect(),
                    reason: format!("reason {}", step.b % 3),
                    as_of: at(step.day),
                    cause,
                };
                self.fact(IntentEvent::ScoringFailed(fact), step.user);
            }
            (12, _) if !step.a.is_multiple_of(3) => {
                let fact =
                    EventParked { user_id: user, cause, attempts: 5, reason: "bad".into(), at: at(step.day) };
                self.fact(IntentEvent::EventParked(fact), step.user);
            }
            (12, _) => {
                let fact = EventUnparked { user_id: user, cause, at: at(step.day), by: "api".to_owned() };
                self.fact(IntentEvent::EventUnparked(fact), step.user);
            }
            (13, _) => self.fact(IntentEvent::SignalDetected(signal(step, user, cause)), step.user),
            (14, _) => self.conversion(step, user, model),
            (16, _) => self.fact(IntentEvent::ChallengerScored(shadow(step, user, model, cause)), step.user),
            _ => self.behaviour(step, &user),
        }
    }

    fn conversion(&mut self, step: Step, user_id: UserId, model_type: String) {
        let fact = ConversionRecorded {
            id: "c".to_owned(),
            user_id,
            model_type,
            converted: !step.b.is_multiple_of(3),
            conversion_value: None,
            occurred_at: at(step.day),
        };
        let data = serde_json::to_vec(&fact).unwrap();
        let stream = format!("user-{}", fact.user_id);
        self.push(stream, CONVERSION_RECORDED, data, Told::Conversion(fact), 4 + step.user);
    }

    fn behaviour(&mut self, step: Step, user: &UserId) {
        let occurred_at = at(step.day + 6);
        let data = format!(r#"{{"id":"e","userId":"{user}","occurredAt":"{occurred_at}","data":{{}}}}"#);
        let first = self.revisions[usize::from(4 + step.user)] == 0;
        let told = if first { Told::First(occurred_at) } else { Told::Nothing };
        self.push(format!("user-{user}"), "LISTING_VIEWED", data.into_bytes(), told, 4 + step.user);
    }

    pub fn fact(&mut self, fact: IntentEvent, number: u8) {
        let data = fact_json(&fact);
        let event_type = codec::event_type(&fact);
        self.push(format!("intent-{}", user(number)), event_type, data, Told::Fact(fact), number);
    }

    pub fn push(&mut self, stream: String, event_type: &'static str, data: Vec<u8>, told: Told, slot: u8) {
        // An AlertScored has its alert's id, made just before from the same number.
        let id = self.next_id();
        let revision = &mut self.revisions[usize::from(slot)];
        self.events.push(Recorded {
            id,
            stream: stream.into(),
            revision: *revision,
            position: Position(self.events.len() as u64 * 3),
            event_type: event_type.into(),
            data: Bytes::from(data),
            metadata: Bytes::new(),
            recorded_at: at(3),
        });
        *revision += 1;
        self.told.push(told);
    }

    /// Ids are in no order.
    fn next_id(&self) -> EventId {
        EventId(Uuid::new_v5(&Uuid::NAMESPACE_OID, &self.events.len().to_le_bytes()))
    }
}

fn fact_json(fact: &IntentEvent) -> Vec<u8> {
    let id = EventId(Uuid::nil());
    let fact = Fact { id, event: fact.clone(), metadata: Metadata::default() };
    codec::encode_fact(&fact).data.to_vec()
}

fn scored(step: Step, user_id: UserId, model_type: String, alert_id: AlertId, cause: Cause) -> AlertScored {
    AlertScored {
        alert_id,
        user_id,
        model_type,
        priority: PRIORITIES[usize::from(step.b % 4)],
        threshold: 0.5,
        scored_at: at(step.day),
        expires_at: at(step.day + 3),
        scoring: scoring(step),
        signals: Vec::new(),
        cause,
    }
}

pub fn scoring(step: Step) -> Scoring {
    let features = (0u8..8)
        .map(|feature| Reason {
            name: format!("feature_{feature}"),
            value: if feature == 2 { f32::NAN } else { f32::from(step.b) / 7.0 },
            contribution: f32::from(step.a.rotate_left(u32::from(feature)) % 5) - 2.0,
        })
        .collect();
    Scoring {
        model_version: format!("2026-01-0{}", step.a / 3 % 3),
        catalog_version: "0123456789abcdef".to_owned(),
        market_revision: 3,
        as_of: at(step.day),
        raw: f32::from(step.b % 8) / 8.1,
        probability: f32::from(step.b % 5) / 5.1,
        bias: -0.25,
        features,
    }
}

fn shadow(step: Step, user_id: UserId, model_type: String, cause: Cause) -> ChallengerScored {
    let (probability, champion_probability) = (f32::from(step.b % 7) / 7.1, f32::from(step.b % 5) / 5.1);
    ChallengerScored {
        user_id,
        model_type,
        model_version: format!("2026-02-0{}", step.a % 2),
        raw: probability,
        probability,
        would_alert: probability >= 0.5,
        champion_version: format!("2026-01-0{}", step.b % 2),
        champion_probability,
        champion_would_alert: champion_probability >= 0.5,
        as_of: at(step.day),
        cause,
    }
}

fn signal(step: Step, user_id: UserId, cause: Cause) -> SignalDetected {
    SignalDetected {
        user_id,
        signal: format!("signal_{}", step.b % 3),
        category: "engagement".to_owned(),
        strength: 0.75,
        detected_at: at(step.day),
        expires_at: at(step.day + 5),
        models: vec!["SELL".to_owned()],
        cause,
        features: vec![NamedValue { name: "feature_1".to_owned(), value: f32::NAN }],
        catalog_version: "0123456789abcdef".to_owned(),
    }
}
