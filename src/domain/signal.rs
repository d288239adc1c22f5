//! Rules that fire, cool down, expire: what a user's signals are, given when their rules held.
//!
//! Law: follows from the events in revision order and the catalogue; never from a score or a fact. Called by the entity's
//! watch on each event that changes an input of a rule.

use serde::{Deserialize, Serialize};

use super::catalog::{ModelIx, SignalIx, SignalSpec};
use super::event::Cause;
use super::time::Timestamp;

/// That a rule fired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detection {
    signal: u16,
    /// Event time.
    pub detected_at: Timestamp,
    /// The behaviour event that made it fire.
    pub cause: Cause,
}

impl Detection {
    /// That `signal` fired on `cause`.
    pub fn new(signal: SignalIx, detected_at: Timestamp, cause: Cause) -> Self {
        Self { signal: signal.0, detected_at, cause }
    }

    /// Which rule.
    pub fn signal(&self) -> SignalIx {
        SignalIx(self.signal)
    }

    /// The rule among the catalogue's.
    pub fn spec<'a>(&self, rules: &'a [SignalSpec]) -> Option<&'a SignalSpec> {
        rules.get(usize::from(self.signal))
    }

    fn is_live(&self, spec: &SignalSpec, as_of: Timestamp) -> bool {
        as_of < self.detected_at.plus(spec.expires)
    }

    fn is_cooling(&self, spec: &SignalSpec, as_of: Timestamp) -> bool {
        as_of < self.detected_at.plus(spec.cooldown)
    }
}

/// The newest detection of each rule, as long as it is live or cools down; in the order of the rules.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signals(Vec<Detection>);

impl Signals {
    /// Whether the rule may fire: it never did, or its cooldown is over.
    pub fn may_fire(&self, signal: SignalIx, spec: &SignalSpec, as_of: Timestamp) -> bool {
        self.0
            .iter()
            .find(|detection| detection.signal == signal.0)
            .is_none_or(|detection| !detection.is_cooling(spec, as_of))
    }

    /// Remembers that a rule fired, and forgets what is neither live nor cooling down.
    pub fn detected(&mut self, rules: &[SignalSpec], detection: Detection) {
        let as_of = detection.detected_at;
        self.0.retain(|kept| {
            kept.signal != detection.signal
                && kept
                    .spec(rules)
                    .is_some_and(|spec| kept.is_live(spec, as_of) || kept.is_cooling(spec, as_of))
        });
        let place = self.0.partition_point(|kept| kept.signal < detection.signal);
        self.0.insert(place, detection);
    }

    /// The live ones, in the order of the rules.
    pub fn live<'a>(
        &'a self,
        rules: &'a [SignalSpec],
        as_of: Timestamp,
    ) -> impl Iterator<Item = (&'a Detection, &'a SignalSpec)> {
        self.0
            .iter()
            .filter_map(|detection| Some((detection, detection.spec(rules)?)))
            .filter(move |(detection, spec)| detection.is_live(spec, as_of))
    }

    /// Whether a live one matters to the model.
    pub fn any_live_for(&self, rules: &[SignalSpec], model: ModelIx, as_of: Timestamp) -> bool {
        self.live(rules, as_of).any(|(_, spec)| spec.models.contains(&model))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::catalog::expr::Program;
    use crate::domain::id::EventId;
    use crate::domain::time::DAY_MS;
    use std::time::Duration;

    fn at(day: i64) -> Timestamp {
        Timestamp::from_millis(day * DAY_MS)
    }

    /// A rule for model 0 that is live 10 days.
    fn rule(cooldown_days: u64) -> SignalSpec {
        SignalSpec {
            name: "burst".into(),
            category: "search".into(),
            doc: String::new(),
            strength: 0.5,
            when: Program::default(),
            when_text: String::new(),
            cooldown: Duration::from_secs(cooldown_days * 86_400),
            expires: Duration::from_secs(10 * 86_400),
            models: vec![ModelIx(0)],
        }
    }

    fn detection(signal: u16, day: i64) -> Detection {
        let cause = Cause { event_id: EventId(uuid::Uuid::nil()), revision: 0 };
        Detection::new(SignalIx(signal), at(day), cause)
    }

    #[test]
    fn a_rule_fires_again_when_its_cooldown_is_over() {
        let rules = [rule(3)];
        let mut signals = Signals::default();
        assert!(signals.may_fire(SignalIx(0), &rules[0], at(5)));
        signals.detected(&rules, detection(0, 5));
        assert!(!signals.may_fire(SignalIx(0), &rules[0], at(7)));
        assert!(signals.may_fire(SignalIx(0), &rules[0], at(8)));
    }

    #[test]
    fn a_signal_lives_until_it_expires_and_matters_to_its_models_only() {
        let rules = [rule(3)];
        let mut signals = Signals::default();
        signals.detected(&rules, detection(0, 5));
        assert!(signals.any_live_for(&rules, ModelIx(0), at(14)));
        assert!(!signals.any_live_for(&rules, ModelIx(0), at(15)));
        assert!(!signals.any_live_for(&rules, ModelIx(1), at(5)));
    }

    #[test]
    fn what_neither_lives_nor_cools_is_forgotten() {
        let rules = [rule(3), rule(30)];
        let mut signals = Signals::default();
        signals.detected(&rules, detection(1, 0));
        signals.detected(&rules, detection(0, 1));
        signals.detected(&rules, detection(0, 12));
        assert_eq!(signals.0, [detection(0, 12), detection(1, 0)], "the second still cools down");
        signals.detected(&rules, detection(0, 30));
        assert_eq!(signals.0, [detection(0, 30)]);
    }
}
