//! What people ask of a simulated user.

use intentd::domain::alert::{Outcome, Status};
use intentd::domain::entity::{Command, Input, Token, UserEntity};
use intentd::domain::event::IntentEvent;
use intentd::domain::market::Market;
use intentd::domain::time::{HOUR_MS, Timestamp};
use rand::RngExt as _;

use super::story::start;
use super::world::World;

impl World<'_> {
    /// The log's clock as far as the user's events tell it.
    pub fn log_clock(&mut self) -> Timestamp {
        let seen = self.entity.as_ref().map_or(0, UserEntity::next_revision) as usize;
        let times = self.story.events[..seen].iter().filter_map(|event| {
            let text = std::str::from_utf8(&event.data).unwrap();
            let (_, rest) = text.split_once(r#""occurredAt": ""#)?;
            rest.split('"').next()?.parse::<Timestamp>().ok()
        });
        let clock = times.max().unwrap_or(start());
        let ahead = self.rng.random_range(0..12 * HOUR_MS);
        Timestamp::from_millis(clock.millis() + ahead)
    }

    /// Some command, mostly about the newest alerts.
    pub fn command(&mut self) {
        let as_of = self.log_clock();
        let alerts: Vec<_> = self
            .log
            .facts()
            .filter_map(
                |fact| if let IntentEvent::AlertScored(fact) = fact { Some(fact.alert_id) } else { None },
            )
            .collect();
        let parked: Vec<_> = self
            .log
            .facts()
            .filter_map(|fact| match fact {
                IntentEvent::EventParked(fact) => Some(fact.cause.revision),
                _ => None,
            })
            .collect();
        self.tokens += 1;
        let token = Token(self.tokens);
        let by = "test".to_owned();
        let command = match self.rng.random_range(0..8_u32) {
            0 => {
                let revision = self.rng.random_range(0..=self.story.last());
                self.awaited.push((token, revision));
                Command::AwaitRevision { revision }
            }
            1 => Command::Describe { as_of, market: std::sync::Arc::new(Market::default()) },
            2 if !parked.is_empty() => {
                let revision = parked[self.rng.random_range(0..parked.len())];
                self.cured |= self.story.poison == Some(revision);
                Command::Unpark { revision, by }
            }
            3 if !alerts.is_empty() => Command::RecordOutcome {
                alert: alerts[self.rng.random_range(0..alerts.len())],
                outcome: Outcome::TruePositive,
                converted: self.chance(2).then_some(true),
                conversion_value: self.chance(3).then_some(1_000.0),
                occurred_at: as_of,
                note: None,
                by,
            },
            4.. if !alerts.is_empty() => {
                let status = [
                    Status::Acknowledged,
                    Status::InProgress,
                    Status::Snoozed,
                    Status::Converted,
                    Status::Dismissed,
                    Status::Pending,
                    Status::Expired,
                ][self.rng.random_range(0..7)];
                let until = Timestamp::from_millis(as_of.millis() + self.rng.random_range(-1..20) * HOUR_MS);
                Command::SetStatus {
                    // Mostly the newest: the older ones have ended.
                    alert: alerts[alerts.len() - 1 - self.rng.random_range(0..alerts.len().min(2))],
                    status,
                    note: None,
                    snooze_until: (status == Status::Snoozed).then_some(until),
                    by,
                }
            }
            _ => return,
        };
        let now = Timestamp::from_millis(as_of.millis() + 400 * 24 * HOUR_MS);
        self.tell(Input::Command { token, command, now, as_of });
    }
}
