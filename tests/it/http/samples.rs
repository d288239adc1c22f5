//! Alerts, signals, scores and changes as the ports give them.

use intentd::domain::alert::Status;
use intentd::domain::entity::LastScore;
use intentd::domain::event::{Cause, Position, Reason, Scoring, SignalRef};
use intentd::domain::id::{AlertId, EventId};
use intentd::domain::policy::Priority;
use intentd::domain::time::Timestamp;
use intentd::projection::{AlertChange, AlertDetail, AlertView, HistoryEntry};
use uuid::Uuid;

pub fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub fn alert_id(number: u128) -> AlertId {
    AlertId(Uuid::from_u128(number))
}

pub fn cause(revision: u64) -> Cause {
    Cause { event_id: EventId(Uuid::from_u128(0xe0 + u128::from(revision))), revision }
}

pub fn reason(name: &str, value: f32, contribution: f32) -> Reason {
    Reason { name: name.to_owned(), value, contribution }
}

pub fn signal() -> SignalRef {
    SignalRef {
        event_id: EventId(Uuid::from_u128(0x51)),
        signal: "burst".to_owned(),
        strength: 0.8,
        detected_at: time("2026-01-01T00:00:00Z"),
        cause: cause(3),
    }
}

/// An alert of a user, pending.
pub fn alert(number: u128, user: &str) -> AlertDetail {
    AlertDetail {
        alert: AlertView {
            id: alert_id(number),
            user_id: user.parse().unwrap(),
            model_type: "SELL".to_owned(),
            model_version: "1".to_owned(),
            status: Status::Pending,
            priority: Priority::High,
            confidence: 0.9,
            calibrated_score: 0.75,
            top_features: vec![reason("busy", f32::NAN, 1.5)],
            scored_at: time("2026-01-02T00:00:00Z"),
            created_at: time("2026-01-01T00:00:00Z"),
            expires_at: time("2026-04-01T00:00:00Z"),
            snoozed_until: None,
            escalations: 0,
            outcome: None,
            converted: None,
            conversion_value: None,
            changed_at: Position(10),
        },
        threshold: 0.5,
        catalog_version: "c1".to_owned(),
        market_revision: 2,
        bias: -1.0,
        features: vec![reason("listing_views_7d", 7.0, 0.5), reason("busy", f32::NAN, 1.5)],
        signals: vec![signal()],
        cause: cause(5),
        history: vec![HistoryEntry {
            event_type: "AlertScored".to_owned(),
            event_id: EventId(Uuid::from_u128(number)),
            at: time("2026-01-01T00:00:00Z"),
            by: "policy".to_owned(),
            data: serde_json::json!({"threshold": 0.5}),
        }],
    }
}

pub fn change(position: u64, number: u128) -> AlertChange {
    AlertChange {
        position: Position(position),
        event_type: "AlertScored".to_owned(),
        alert: alert(number, "u1").alert,
    }
}

pub fn score(model: &str) -> LastScore {
    let contribution = |at: usize| reason(&format!("f{at}"), 1.0, if at == 6 { -9.0 } else { at as f32 });
    LastScore {
        model_type: model.to_owned(),
        scoring: Ok(Scoring {
            model_version: "1".to_owned(),
            catalog_version: "c1".to_owned(),
            market_revision: 0,
            as_of: time("2026-01-02T00:00:00Z"),
            raw: 0.9,
            probability: 0.75,
            bias: 0.0,
            features: (0..7).map(contribution).collect(),
        }),
        priority: Some(Priority::Low),
        alert_id: Some(alert_id(1)),
        revision: 5,
    }
}
