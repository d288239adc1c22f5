//! One event of each type, as the encoder writes it: a user checks what a home is worth, and what follows.
//!
//! Law: an example has every field that its type can have. Called by the module above.

use bytes::Bytes;
use bytestring::ByteString;
use serde::Serialize;
use uuid::Uuid;

use crate::domain::alert::{Outcome, Status};
use crate::domain::codec::{encode_fact, encode_model_event, event_type};
use crate::domain::event::{
    AlertEscalated, AlertOutcomeRecorded, AlertRearmed, AlertScored, AlertStatusChanged, CONVERSION_RECORDED,
    Cause, ChallengerScored, ConversionRecorded, EventParked, EventUnparked, Fact, IntentEvent, Metadata,
    NamedValue, NewEvent, Reason, SCORE_REQUESTED, STORE_NAMED, ScoreRequested, Scoring, ScoringFailed,
    SignalDetected, SignalRef, StoreNamed, UserScored,
};
use crate::domain::id::{AlertId, EventId, UserId};
use crate::domain::model::{
    Asked, ChallengerStarted, ChallengerStopped, Made, ModelActivated, ModelEvent, ModelRefused,
    ModelRolledBack,
};
use crate::domain::policy::Priority;
use crate::domain::time::{DAY_MS, Timestamp};

const MODEL: &str = "SELL";
const SIGNAL: &str = "valuation_burst";
const CATALOG: &str = "0123456789abcdef";

/// One event of each type.
pub(super) fn all() -> Vec<NewEvent> {
    // The user of the contract's example: this id is one.
    let Ok(user) = "user-123".parse::<UserId>() else { return Vec::new() };
    let story = Story::of(user);
    let mut events: Vec<NewEvent> = story.facts().into_iter().map(|event| story.encoded(event)).collect();
    events.extend(story.requests());
    events.extend(models().iter().zip(0..).map(|(event, revision)| encode_model_event(event, revision)));
    events.push(store());
    events
}

/// The name of a log, whose event has the same id.
fn store() -> NewEvent {
    let id = Uuid::from_u128(0x3f6c_1b0e_7d52_4a7e_9c31_5d0a_88e4_2b17);
    NewEvent {
        id: EventId(id),
        event_type: ByteString::from_static(STORE_NAMED),
        data: Bytes::from(serde_json::to_vec(&StoreNamed { id }).unwrap_or_default()),
        metadata: Bytes::new(),
    }
}

/// Some days after the first event.
fn at(days: i64) -> Timestamp {
    Timestamp::from_millis(1_767_225_600_608 + days * DAY_MS)
}

struct Story {
    user: UserId,
    cause: Cause,
    alert: AlertId,
}

impl Story {
    fn of(user: UserId) -> Self {
        let cause = Cause { event_id: EventId::of_behaviour(user.as_str(), "9227e21e"), revision: 42 };
        let alert = AlertId(EventId::of_decision(&user, "AlertScored", MODEL, cause.event_id).0);
        Self { user, cause, alert }
    }

    fn encoded(&self, event: IntentEvent) -> NewEvent {
        let subject = if matches!(event, IntentEvent::SignalDetected(_)) { SIGNAL } else { MODEL };
        let cause = self.cause.event_id;
        let metadata = Metadata {
            causation_id: Some(cause),
            correlation_id: Some(cause),
            source_revision: Some(self.cause.revision),
            // Stamped by the encoder.
            schema: 0,
        };
        let id = EventId::of_decision(&self.user, event_type(&event), subject, cause);
        encode_fact(&Fact { id, event, metadata })
    }

    fn facts(&self) -> Vec<IntentEvent> {
        let Self { user, cause, alert } = self;
        let (user_id, cause, alert_id, model_type) = (user.clone(), *cause, *alert, MODEL.to_owned());
        let mut facts = self.scores();
        facts.extend(self.commands());
        facts.push(IntentEvent::AlertRearmed(AlertRearmed {
            alert_id,
            user_id: user_id.clone(),
            model_type: model_type.clone(),
            probability: 0.31,
            exit: 0.4,
            as_of: at(40),
            cause,
        }));
        facts.push(IntentEvent::ScoringFailed(ScoringFailed {
            user_id: user_id.clone(),
            model_types: vec![model_type.clone()],
            reason: "no score in time".to_owned(),
            as_of: at(0),
            cause,
        }));
        facts.push(IntentEvent::ChallengerScored(ChallengerScored {
            user_id: user_id.clone(),
            model_type,
            model_version: "2026.2.1".to_owned(),
            raw: 0.48,
            probability: 0.512_345_6,
            would_alert: true,
            champion_version: "2026.1.1".to_owned(),
            champion_probability: 0.443_217_9,
            champion_would_alert: false,
            as_of: at(0),
            cause,
        }));
        facts.push(IntentEvent::EventParked(EventParked {
            user_id: user_id.clone(),
            cause,
            attempts: 3,
            reason: "event 8f1d of type LISTING_VIEWED cannot be decoded".to_owned(),
            at: at(0),
        }));
        let by = "ann".to_owned();
        facts.push(IntentEvent::EventUnparked(EventUnparked { user_id, cause, at: at(1), by }));
        facts
    }

    fn scores(&self) -> Vec<IntentEvent> {
        let (user_id, cause, alert_id) = (self.user.clone(), self.cause, self.alert);
        let detected = SignalDetected {
            user_id: user_id.clone(),
            signal: SIGNAL.to_owned(),
            category: "valuation".to_owned(),
            strength: 0.6,
            detected_at: at(0),
            expires_at: at(30),
            models: vec![MODEL.to_owned()],
            cause,
            features: vec![NamedValue { name: "value_checks_7d".to_owned(), value: 3.0 }],
            catalog_version: CATALOG.to_owned(),
        };
        let scored = AlertScored {
            alert_id,
            user_id: user_id.clone(),
            model_type: MODEL.to_owned(),
            priority: Priority::High,
            threshold: 0.5,
            scored_at: at(0),
            expires_at: at(90),
            scoring: scoring(),
            signals: self.signals(),
            cause,
        };
        let escalated = AlertEscalated {
            alert_id,
            user_id: user_id.clone(),
            model_type: MODEL.to_owned(),
            from_priority: Priority::High,
            priority: Priority::Critical,
            scored_at: at(0),
            scoring: scoring(),
            signals: self.signals(),
            cause,
        };
        let answered = UserScored {
            user_id,
            model_type: MODEL.to_owned(),
            scoring: scoring(),
            priority: Some(Priority::High),
            alert_id: Some(alert_id),
            cause,
        };
        vec![
            IntentEvent::SignalDetected(detected),
            IntentEvent::AlertScored(Box::new(scored)),
            IntentEvent::AlertEscalated(Box::new(escalated)),
            IntentEvent::UserScored(answered),
        ]
    }

    fn signals(&self) -> Vec<SignalRef> {
        let event_id = EventId::of_decision(&self.user, "SignalDetected", SIGNAL, self.cause.event_id);
        let (signal, cause) = (SIGNAL.to_owned(), self.cause);
        vec![SignalRef { event_id, signal, strength: 0.6, detected_at: at(0), cause }]
    }

    fn commands(&self) -> Vec<IntentEvent> {
        let (user_id, alert_id) = (self.user.clone(), self.alert);
        let snoozed = AlertStatusChanged {
            alert_id,
            user_id: user_id.clone(),
            model_type: MODEL.to_owned(),
            from: Status::Pending,
            status: Status::Snoozed,
            at: at(1),
            as_of: at(1),
            by: "ann".to_owned(),
            note: Some("call after the holidays".to_owned()),
            snooze_until: Some(at(9)),
        };
        let recorded = AlertOutcomeRecorded {
            alert_id,
            user_id,
            model_type: MODEL.to_owned(),
            outcome: Outcome::TruePositive,
            converted: Some(true),
            conversion_value: Some(9_500.0),
            occurred_at: at(30),
            at: at(31),
            by: "crm".to_owned(),
            note: Some("sold".to_owned()),
        };
        vec![IntentEvent::AlertStatusChanged(snoozed), IntentEvent::AlertOutcomeRecorded(recorded)]
    }

    fn requests(&self) -> [NewEvent; 2] {
        let requested = ScoreRequested {
            id: "9a5c".to_owned(),
            user_id: self.user.clone(),
            occurred_at: at(0),
            model_types: vec![MODEL.to_owned()],
            reason: "REQUEST".to_owned(),
        };
        let recorded = ConversionRecorded {
            id: "crm-77".to_owned(),
            user_id: self.user.clone(),
            model_type: MODEL.to_owned(),
            converted: true,
            conversion_value: Some(9_500.0),
            occurred_at: at(30),
        };
        [
            self.request(SCORE_REQUESTED, &requested.id, &requested),
            self.request(CONVERSION_RECORDED, &recorded.id, &recorded),
        ]
    }

    fn request(&self, event_type: &'static str, id: &str, data: &impl Serialize) -> NewEvent {
        NewEvent {
            id: EventId::of_behaviour(self.user.as_str(), id),
            event_type: ByteString::from_static(event_type),
            data: Bytes::from(serde_json::to_vec(data).unwrap_or_default()),
            metadata: Bytes::new(),
        }
    }
}

fn scoring() -> Scoring {
    let reason = |name: &str, value, contribution| Reason { name: name.to_owned(), value, contribution };
    Scoring {
        model_version: "2026.1.1".to_owned(),
        catalog_version: CATALOG.to_owned(),
        market_revision: 3,
        as_of: at(0),
        raw: 0.784_120_6,
        probability: 0.812_5,
        bias: -2.5,
        features: vec![reason("value_checks_7d", 3.0, 3.79), reason("equity_share", f32::NAN, -0.0)],
    }
}

fn models() -> [ModelEvent; 5] {
    let asked = |why: &str| Asked { by: "ann".to_owned(), why: why.to_owned(), at: at(0) };
    let made = |version: &str| Made {
        version: version.to_owned(),
        model_sha256: "2e0ae32a4f1c0b7de7a8b6a0f1b0a7c3f6f2d1c5b4a39281706f5e4d3c2b1a09".to_owned(),
        catalog_version: CATALOG.to_owned(),
    };
    let (model_type, newer, older) = (MODEL.to_owned(), "2026.2.1", "2026.1.1");
    [
        ModelEvent::ModelActivated(ModelActivated {
            model_type: model_type.clone(),
            made: made(newer),
            previous: Some(older.to_owned()),
            asked: asked("trained on the spring"),
        }),
        ModelEvent::ModelRefused(ModelRefused {
            model_type: model_type.clone(),
            version: newer.to_owned(),
            reasons: vec!["CARD.md cannot be read: No such file or directory".to_owned()],
            catalog_version: CATALOG.to_owned(),
            asked: asked("reload"),
        }),
        ModelEvent::ModelRolledBack(ModelRolledBack {
            model_type: model_type.clone(),
            made: made(older),
            from: newer.to_owned(),
            asked: asked("precision fell"),
        }),
        ModelEvent::ChallengerStarted(ChallengerStarted {
            model_type: model_type.clone(),
            made: made(newer),
            asked: asked("two weeks beside"),
        }),
        ModelEvent::ChallengerStopped(ChallengerStopped {
            model_type,
            version: newer.to_owned(),
            asked: asked("no better"),
        }),
    ]
}
