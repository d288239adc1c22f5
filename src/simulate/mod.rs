//! A seeded population whose hidden intents show in behaviour and end in conversions: the log for demos, benches and the
//! first honest models. Called by `intentd simulate` and `intentd demo`.
//!
//! Law: the same options give the same bytes. The events are written for the shipped real-estate catalogue.

mod behaviour;
mod market;
mod population;

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Value;

use crate::domain::time::{DAY_MS, Timestamp};

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

/// One line of the log; `time` first so that the derived order is the log's.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    time: Timestamp,
    user: Option<u32>,
    serial: u32,
    kind: &'static str,
    body: Body,
}

/// What stands in a line besides time and user.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    /// A behaviour or market event's fields.
    Fields(Fields),
    /// A conversion of this model type with this value.
    Conversion(&'static str, f64),
}

/// Field values; a name each, at most three.
pub(crate) type Fields = smallvec::SmallVec<[(&'static str, Datum); 3]>;

/// A field's value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Datum {
    /// A number, rounded to so many decimals.
    Number(f64, u8),
    /// A text made of a prefix and a number, such as `L6756`.
    Tag(&'static str, u32),
    /// One of a fixed set of texts.
    Word(&'static str),
}

impl Datum {
    fn value(self) -> Value {
        match self {
            Self::Number(number, decimals) => {
                let scale = 10f64.powi(i32::from(decimals));
                let rounded = (number * scale).round() / scale;
                serde_json::Number::from_f64(rounded).map_or(Value::Null, Value::Number)
            }
            Self::Tag(prefix, number) => Value::String(format!("{prefix}{number}")),
            Self::Word(word) => Value::String(word.to_owned()),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    id: &'a str,
    user_id: &'a str,
    r#type: &'a str,
    occurred_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<serde_json::Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    converted: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    conversion_value: Option<f64>,
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
    let mut lines = generate(options);
    if let Some(max) = options.events_max {
        lines.truncate(max);
    }
    let mut written = Summary::default();
    for line in &lines {
        write_line(line, &mut out)?;
        written.events += 1;
        written.conversions += u64::from(matches!(line.body, Body::Conversion(..)));
    }
    out.flush()?;
    Ok(written)
}

fn generate(options: &Options) -> Vec<Line> {
    let from = Timestamp::from_millis(options.until.millis() - i64::from(options.days) * DAY_MS);
    let rates = market::Rates::new(options.seed, from, options.days);
    let mut lines = rates.lines();
    for user in 0..options.users {
        population::live(options, user, from, &rates, &mut lines);
    }
    lines.retain(|line| line.time < options.until);
    lines.sort_by_key(|line| (line.time, line.user, line.serial));
    lines
}

fn write_line(line: &Line, out: &mut impl Write) -> io::Result<()> {
    let (user_id, id) = match line.user {
        Some(user) => (format!("user-{user}"), format!("e{user}-{}", line.serial)),
        None => ("*".to_owned(), format!("m-{}-{}", line.kind, line.serial)),
    };
    let mut written = Written {
        id: &id,
        user_id: &user_id,
        r#type: line.kind,
        occurred_at: line.time,
        data: None,
        model_type: None,
        converted: None,
        conversion_value: None,
    };
    match &line.body {
        Body::Fields(fields) => {
            written.data =
                Some(fields.iter().map(|&(name, datum)| (name.to_owned(), datum.value())).collect());
        }
        Body::Conversion(model_type, value) => {
            written.model_type = Some(model_type);
            written.converted = Some(true);
            written.conversion_value = Some(value.round());
        }
    }
    serde_json::to_writer(&mut *out, &written)?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(seed: u64) -> Vec<u8> {
        let options = Options {
            seed,
            users: 50,
            days: 90,
            until: "2026-07-01T00:00:00Z".parse().unwrap(),
            events_per_user: 20.0,
            events_max: None,
        };
        let mut out = Vec::new();
        write(&options, &mut out).unwrap();
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
