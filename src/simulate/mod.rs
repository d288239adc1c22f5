//! A seeded population whose hidden intents show in behaviour and end in conversions: the log for demos, benches and the
//! first honest models, and the truth behind it. Called by `intentd simulate` and `intentd demo`.
//!
//! Law: the same options give the same bytes. The events are written for the shipped real-estate catalogue.

mod behaviour;
mod fields;
mod hidden;
mod kind;
mod line;
mod market;
mod mixes;
mod person;
mod population;
mod season;
pub mod truth;

use std::io::{self, Write};

use rand::RngExt as _;

use crate::domain::time::{DAY_MS, Timestamp};
use kind::Kind;
use line::{Body, Line};
use person::Person;
use population::{Life, Purpose, World, generator};

/// What to simulate.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The same seed gives the same log.
    pub seed: u64,
    /// How many people.
    pub users: u32,
    /// Over how many days.
    pub days: u32,
    /// The end of the log.
    pub until: Timestamp,
    /// Events per user over the whole time, on average, before episodes of intent add theirs.
    pub events_per_user: f64,
    /// Stop after this many events, in order of time.
    pub events_max: Option<usize>,
}

/// What a simulation wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Lines.
    pub events: u64,
    /// Conversions among them.
    pub conversions: u64,
}

/// Writes the log as JSON Lines, sorted by time.
///
/// # Errors
/// The writer's own.
pub fn write(options: &Options, mut out: impl Write) -> io::Result<Summary> {
    let world = world(options);
    let (people, lines) = generate(options, &world);
    let mut written = Summary::default();
    for line in lines.iter().take(options.events_max.unwrap_or(usize::MAX)) {
        line.write(&body(options, &world, &people, line), &mut out)?;
        written.events += 1;
        written.conversions += u64::from(line.kind == Kind::Conversion);
    }
    out.flush()?;
    Ok(written)
}

fn world(options: &Options) -> World {
    let from = Timestamp::from_millis(options.until.millis() - i64::from(options.days) * DAY_MS);
    let span = season::Span { from, days: f64::from(options.days) };
    World { span, rates: market::Rates::new(options.seed, from, options.days) }
}

fn generate(options: &Options, world: &World) -> (Vec<Person>, Vec<Line>) {
    let mut lines = world.rates.lines();
    let people = (0..options.users).map(|user| {
        let life = Life::draw(options, user, world);
        life.live(options, user, world, &mut lines);
        life.person
    });
    let people = people.collect();
    lines.retain(|line| line.time < options.until);
    // Kinds of the market share serials: only a stable sort keeps them in place.
    lines.sort_by_key(|line| (line.time, line.user, line.serial));
    (people, lines)
}

/// What a line says besides who and when: drawn now, from the line's own generator.
fn body(options: &Options, world: &World, people: &[Person], line: &Line) -> Body {
    let known = line.user.and_then(|user| Some((user, people.get(usize::try_from(user).ok()?)?)));
    let Some((user, person)) = known else {
        return Body::Fields(world.rates.fields(line.kind, line.serial));
    };
    let mut rng = generator(options.seed, user, Purpose::Fields(line.serial));
    match line.focus {
        Some((intent, _)) if line.kind == Kind::Conversion => {
            Body::Conversion(intent.model_type(), intent.value(person) * (0.8 + 0.4 * rng.random::<f64>()))
        }
        focus => {
            let rate = world.rates.at(line.time);
            Body::Fields(fields::of(line.kind, person, focus, rate, &mut rng))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn options(seed: u64) -> Options {
        let until = "2026-07-01T00:00:00Z".parse().unwrap();
        Options { seed, users: 50, days: 90, until, events_per_user: 20.0, events_max: None }
    }

    fn log(seed: u64) -> Vec<u8> {
        let mut out = Vec::new();
        write(&options(seed), &mut out).unwrap();
        out
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes_in_order_of_time() {
        assert_eq!(log(7), log(7));
        assert_ne!(log(7), log(8));
        let times: Vec<String> = String::from_utf8(log(7))
            .unwrap()
            .lines()
            .map(|line| {
                serde_json::from_str::<Value>(line).unwrap()["occurredAt"].as_str().unwrap().to_owned()
            })
            .collect();
        assert!(times.len() > 500 && times.is_sorted());
    }
}
