//! What happens to a simulated user: a small catalogue whose rules fire often, a seeded stream of events, a market, and
//! models that are a function of their input.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use intentd::domain::catalog::Catalog;
use intentd::domain::codec;
use intentd::domain::entity::Rules;
use intentd::domain::event::{Position, Recorded, Revision, UserEvent};
use intentd::domain::id::{EventId, UserId};
use intentd::domain::market::Market;
use intentd::domain::score::{Row, Score, Shadow};
use intentd::domain::time::{DAY_MS, HOUR_MS, Timestamp};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

const CATALOG: &str = r#"
name = "simulated"
categories = ["engagement", "market"]

[event.VIEWED]
category = "engagement"
doc = "A view."
fields.price = { type = "number", min = 0, max = 1e9 }

[event.SEARCHED]
category = "engagement"
doc = "A search."
fields.city = { type = "text" }

[event.MOVED]
category = "engagement"
doc = "Feeds nothing that a rule reads."

[event.RATE]
category = "market"
doc = "The rate."
market = "rates"
fields.rate = { type = "number", min = 0, max = 20 }

[feature.views_2d]
category = "engagement"
doc = "Views."
unit = "events"
count = "VIEWED"
window = "2d"

[feature.price_last]
category = "engagement"
doc = "The last price seen."
unit = "EUR"
last = "VIEWED.price"
window = "all"

[feature.searches]
category = "engagement"
doc = "Searches."
unit = "events"
count = "SEARCHED"
window = "7d"

[feature.rate]
category = "market"
doc = "The rate."
unit = "percent"
market = "RATE.rate"

[feature.pressure]
category = "market"
doc = "Views and rate."
unit = "none"
derive = 'views_2d + coalesce(rate, 0)'

[signal.burst]
category = "engagement"
doc = "Two views."
when = 'views_2d >= 2'
strength = 0.6
cooldown = "1d"
expires = "3d"
models = ["SELL"]

[signal.hunt]
category = "engagement"
doc = "Searching."
when = 'searches >= 2'
strength = 0.5
cooldown = "6h"
expires = "2d"
models = ["SELL", "BUY"]

[signal.pressed]
category = "market"
doc = "Rates press."
when = 'pressure > 6'
strength = 0.4
cooldown = "12h"
expires = "1d"
models = ["BUY"]

[model.SELL]
doc = "Sells."
features = ["views_2d", "price_last", "rate", "pressure"]
threshold = 0.5
exit = 0.4
cooldown = "3d"
horizon = "2d"
rescore_after = "2h"
bands = [{ priority = "CRITICAL", score = 0.85, strength = 0.6 }, { priority = "HIGH", score = 0.7 }, { priority = "LOW", score = 0.5 }]

[model.BUY]
doc = "Buys."
features = ["searches", "views_2d"]
threshold = 0.6
exit = 0.5
cooldown = "2d"
horizon = "4d"
rescore_after = "30m"
bands = [{ priority = "HIGH", score = 0.8 }, { priority = "MEDIUM", score = 0.6 }]
"#;

/// The rules of the simulated business.
pub static RULES: LazyLock<Rules> =
    LazyLock::new(|| Rules::new(Catalog::load(CATALOG, "sim").unwrap_or_else(|faults| panic!("{faults:?}"))));

/// Who it is all about.
pub fn user() -> UserId {
    "u1".parse().unwrap()
}

/// All that happens to the user.
pub struct Story {
    /// `user-u1`.
    pub events: Vec<Recorded>,
    /// Market events with their positions.
    pub market: Vec<Recorded>,
    /// An event on which the fold panics until it is parked.
    pub poison: Option<Revision>,
}

pub fn start() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn recorded(stream: &str, revision: u64, position: u64, event_type: &str, data: String) -> Recorded {
    Recorded {
        id: EventId::of_behaviour(stream, &revision.to_string()),
        stream: stream.to_owned().into(),
        revision,
        position: Position(position),
        event_type: event_type.to_owned().into(),
        data: Bytes::from(data),
        metadata: Bytes::new(),
        recorded_at: start().plus(std::time::Duration::from_secs(revision)),
    }
}

impl Story {
    pub fn new(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x5107);
        let mut clock = start().millis();
        let count = rng.random_range(8..36_u64);
        let mut events = Vec::new();
        let mut market = Vec::new();
        for revision in 0..count {
            clock += match rng.random_range(0..10_u32) {
                0..5 => rng.random_range(0..HOUR_MS),
                5..9 => rng.random_range(0..12 * HOUR_MS),
                _ => rng.random_range(0..4 * DAY_MS),
            };
            // One in eight comes late.
            let late = if rng.random_range(0..8_u32) == 0 { rng.random_range(0..2 * DAY_MS) } else { 0 };
            let at = Timestamp::from_millis(clock - late);
            let (event_type, data) = match rng.random_range(0..24_u32) {
                0..9 => ("VIEWED", format!(r#"{{"price": {}}}"#, rng.random_range(1..9_u32))),
                9..16 => ("SEARCHED", r#"{"city": "Bern"}"#.to_owned()),
                16..18 => ("MOVED", "{}".to_owned()),
                18 => ("VIEWED", r#"{"price": "cheap"}"#.to_owned()),
                19 => ("ConversionRecorded", String::new()),
                20 => ("NOT_IN_THE_CATALOGUE", "{}".to_owned()),
                _ => ("ScoreRequested", String::new()),
            };
            let models = ["[]", r#"["BUY"]"#, r#"["SELL", "NONE"]"#][rng.random_range(0..3)];
            let data = match event_type {
                "ScoreRequested" => format!(
                    r#"{{"id": "{revision}", "userId": "u1", "occurredAt": "{at}", "modelTypes": {models}}}"#
                ),
                "ConversionRecorded" => format!(
                    r#"{{"id": "{revision}", "userId": "u1", "occurredAt": "{at}", "modelType": "SELL", "converted": true}}"#
                ),
                _ => format!(
                    r#"{{"id": "{revision}", "userId": "u1", "type": "{event_type}", "occurredAt": "{at}", "data": {data}}}"#
                ),
            };
            events.push(recorded("user-u1", revision, 10 * revision + 5, event_type, data));
            if rng.random_range(0..4_u32) == 0 {
                let nth = market.len() as u64;
                let rate = rng.random_range(0..8_u32);
                let data = format!(
                    r#"{{"id": "{nth}", "userId": "*", "type": "RATE", "occurredAt": "{at}", "data": {{"rate": {rate}}}}}"#
                );
                market.push(recorded("market-rates", nth, 10 * revision + 8, "RATE", data));
            }
        }
        let poison = (rng.random_range(0..4_u32) == 0).then(|| rng.random_range(0..count));
        Self { events, market, poison }
    }

    pub fn last(&self) -> Revision {
        self.events.len() as u64 - 1
    }

    /// The market as far as the log had told before `position`.
    pub fn market_before(&self, position: Position) -> Arc<Market> {
        let known = self.market.iter().filter(|event| event.position < position);
        let decoded = known.map(|event| match codec::decode(&RULES.catalog, event).unwrap() {
            UserEvent::Behaviour(behaviour) => (event.position, behaviour),
            other => panic!("{other:?} is no market event"),
        });
        Arc::new(Market::new(decoded.collect()))
    }
}

/// What the model says: any number, but always the same one for the same input.
pub fn answer(row: &Row) -> Score {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ u64::from(row.model.0);
    for value in &row.features {
        hash = (hash ^ u64::from(value.to_bits())).wrapping_mul(0x0100_0000_01b3);
        hash ^= hash >> 29;
    }
    let probability = (hash % 1_000) as f32 / 1_000.0;
    Score {
        version: "v1".into(),
        raw: probability,
        probability,
        bias: 0.25,
        contributions: row.features.iter().map(|value| if value.is_nan() { 0.0 } else { *value }).collect(),
        shadow: hash.is_multiple_of(5).then(|| {
            let raw = (hash % 997) as f32 / 997.0;
            Box::new(Shadow { version: "v2".into(), raw, probability: raw })
        }),
    }
}
