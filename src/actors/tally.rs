//! Counts decisions for the metrics.
//!
//! Law: a fact is counted when it is handed over to be appended; labels are catalogue names and closed sets. Called by users.

use crate::domain::event::{Fact, IntentEvent};
use crate::metrics;

/// How a priority, status or outcome is written in a label: as in the API.
fn label(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

/// Counts facts that are about to be appended.
pub(super) fn count(facts: &[Fact]) {
    for fact in facts {
        match &fact.event {
            IntentEvent::SignalDetected(signal) => metrics::signals(&signal.signal, 1),
            IntentEvent::AlertScored(alert) => metrics::alerts(&alert.model_type, &label(&alert.priority), 1),
            IntentEvent::AlertEscalated(alert) => {
                metrics::alerts_escalated(&alert.model_type, &label(&alert.priority), 1);
            }
            IntentEvent::AlertStatusChanged(moved) => metrics::alert_moves(&label(&moved.status), 1),
            IntentEvent::AlertOutcomeRecorded(outcome) => metrics::outcomes(&label(&outcome.outcome), 1),
            IntentEvent::UserScored(_)
            | IntentEvent::ScoringFailed(_)
            | IntentEvent::AlertRearmed(_)
            | IntentEvent::ChallengerScored(_)
            | IntentEvent::EventParked(_)
            | IntentEvent::EventUnparked(_) => {}
        }
    }
}
