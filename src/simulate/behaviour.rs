//! What people do in a session: which events, with which fields, when idle and when they mean it.

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use super::market::Rates;
use super::population::{Episode, Intent, Log, at};
use super::{Body, Datum, Fields};
use crate::domain::time::Timestamp;

/// Fields by name.
macro_rules! fields {
    ($($name:ident: $datum:expr),*) => {
        [$((stringify!($name), $datum)),*].into_iter().collect::<Fields>()
    };
}

/// Events in an idle session on average, the session's start included.
pub(crate) const EVENTS_PER_SESSION: f64 = 4.0;

/// What does not change about a person.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Person {
    /// How active, 1 on average, with a long tail.
    pub(crate) activity: f64,
    /// Whether they own their home.
    pub(crate) owner: bool,
    /// For how many years.
    pub(crate) years_owned: f64,
    /// Whether a mortgage stands on it.
    pub(crate) mortgage: bool,
    /// Its rate, in percent.
    pub(crate) mortgage_rate: f64,
    /// Whether they could buy for rent.
    pub(crate) wealthy: bool,
    /// What they can pay, or what their home is worth.
    pub(crate) budget: f64,
    /// Where they look.
    pub(crate) zip: u32,
}

impl Person {
    /// Draws a person.
    pub(crate) fn draw(rng: &mut ChaCha8Rng) -> Self {
        let owner = rng.random_bool(0.62);
        let spread: f64 = (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0;
        Self {
            // Lognormal with sigma 1; the division keeps the mean at 1 (exp(sigma^2 / 2)).
            activity: spread.exp() / 0.5f64.exp(),
            owner,
            years_owned: 1.0 + 19.0 * rng.random::<f64>(),
            mortgage: owner && rng.random_bool(0.65),
            mortgage_rate: 3.0 + 5.5 * rng.random::<f64>(),
            wealthy: rng.random_bool(0.15),
            budget: 150_000.0 * (1.0 + 5.0 * rng.random::<f64>() * rng.random::<f64>()),
            zip: rng.random_range(10_000..10_400),
        }
    }
}

type Mix = &'static [(&'static str, f64)];

const IDLE: Mix = &[
    ("LISTING_VIEWED", 5.0),
    ("SEARCH_PERFORMED", 2.5),
    ("NEIGHBORHOOD_VIEWED", 0.5),
    ("HOME_VALUE_CHECKED", 0.5),
    ("LISTING_SAVED", 0.25),
    ("MORTGAGE_CALCULATED", 0.25),
    ("EMAIL_OPENED", 0.6),
    ("EMAIL_CLICKED", 0.15),
    ("AGENT_PROFILE_VIEWED", 0.1),
    ("ARTICLE_READ", 0.6),
    ("AFFORDABILITY_CALCULATED", 0.1),
    ("RENTAL_YIELD_VIEWED", 0.05),
];

const SELL: Mix = &[
    ("HOME_VALUE_CHECKED", 4.0),
    ("VALUATION_REPORT_VIEWED", 2.5),
    ("SALE_COMPARABLES_VIEWED", 3.0),
    ("SELLING_COST_CALCULATED", 1.0),
    ("AGENT_PROFILE_VIEWED", 1.5),
    ("LISTING_VIEWED", 1.5),
    ("LISTING_DRAFT_STARTED", 0.4),
    ("AGENT_CONTACTED", 0.4),
    ("MESSAGE_SENT", 0.4),
    ("CALL_COMPLETED", 0.1),
];

const BUY: Mix = &[
    ("LISTING_VIEWED", 6.0),
    ("SEARCH_PERFORMED", 2.5),
    ("LISTING_SAVED", 1.6),
    ("SEARCH_SAVED", 0.5),
    ("LISTING_SHARED", 0.4),
    ("MORTGAGE_CALCULATED", 1.0),
    ("AFFORDABILITY_CALCULATED", 0.5),
    ("TOUR_REQUESTED", 0.5),
    ("OPEN_HOUSE_REGISTERED", 0.25),
    ("PREAPPROVAL_STARTED", 0.2),
    ("AGENT_CONTACTED", 0.3),
    ("NEIGHBORHOOD_VIEWED", 1.0),
];

const REFINANCE: Mix = &[
    ("REFINANCE_CALCULATED", 3.5),
    ("MORTGAGE_CALCULATED", 1.5),
    ("RATE_ALERT_SET", 0.6),
    ("MORTGAGE_REPORTED", 0.4),
    ("HOME_VALUE_CHECKED", 1.0),
    ("PREAPPROVAL_STARTED", 0.3),
    ("EMAIL_CLICKED", 0.6),
];

const INVEST: Mix = &[
    ("RENTAL_YIELD_VIEWED", 4.0),
    ("INVESTMENT_CALCULATED", 2.0),
    ("LISTING_VIEWED", 3.0),
    ("SEARCH_PERFORMED", 1.5),
    ("LISTING_SAVED", 0.6),
    ("MORTGAGE_CALCULATED", 0.8),
    ("NEIGHBORHOOD_VIEWED", 0.8),
    ("AGENT_CONTACTED", 0.3),
];

/// The first things that somebody does.
pub(crate) fn joins(person: &Person, time: Timestamp, rng: &mut ChaCha8Rng, log: &mut Log<'_>) {
    log.push(time, "SESSION_STARTED", Body::Fields(fields("SESSION_STARTED", person, 0.0, rng)));
    if person.owner && rng.random_bool(0.5) {
        let later = at(time, 0.002);
        log.push(later, "HOME_CLAIMED", Body::Fields(fields("HOME_CLAIMED", person, 0.0, rng)));
        if person.mortgage && rng.random_bool(0.5) {
            let later = at(time, 0.004);
            log.push(later, "MORTGAGE_REPORTED", Body::Fields(fields("MORTGAGE_REPORTED", person, 0.0, rng)));
        }
    }
}

/// Idle browsing between two days, so many sessions a day, more at weekends.
pub(crate) fn idles(
    person: &Person,
    (from, joined, days): (Timestamp, f64, f64),
    sessions_per_day: f64,
    rates: &Rates,
    rng: &mut ChaCha8Rng,
    log: &mut Log<'_>,
) {
    let mut day = joined;
    loop {
        day += gap(sessions_per_day, rng);
        if day >= days {
            return;
        }
        let start = at(from, day);
        // 1970-01-01 was a Thursday: days 2 and 3 of its week are the weekend.
        let is_weekend = matches!(start.day().rem_euclid(7), 2 | 3);
        if is_weekend || rng.random_bool(0.8) {
            session(person, start, IDLE, EVENTS_PER_SESSION - 1.0, rates, rng, log);
        }
    }
}

/// The sessions of an episode: ever more of them, ever more to the point, the firmer it is.
pub(crate) fn acts(
    person: &Person,
    episode: &Episode,
    rates: &Rates,
    rng: &mut ChaCha8Rng,
    log: &mut Log<'_>,
) {
    let mix = match episode.intent {
        Intent::Sell => SELL,
        Intent::Buy => BUY,
        Intent::Refinance => REFINANCE,
        Intent::Invest => INVEST,
    };
    let mut day = 0.0;
    while day < episode.days {
        let progress = day / episode.days;
        let start = at(episode.from, day);
        let to_the_point =
            rng.random_bool((0.25 + 0.75 * episode.firmness * (0.4 + 0.6 * progress)).clamp(0.0, 1.0));
        let length = 2.0 + 4.0 * episode.firmness * progress;
        session(person, start, if to_the_point { mix } else { IDLE }, length, rates, rng, log);
        day += gap(0.08 + 0.45 * episode.firmness * (0.3 + progress), rng);
    }
}

/// Days to the next session of so many a day: exponential.
fn gap(sessions_per_day: f64, rng: &mut ChaCha8Rng) -> f64 {
    -(1.0 - rng.random::<f64>()).ln() / sessions_per_day.max(1e-6)
}

fn session(
    person: &Person,
    start: Timestamp,
    mix: Mix,
    events: f64,
    rates: &Rates,
    rng: &mut ChaCha8Rng,
    log: &mut Log<'_>,
) {
    let rate = rates.at(start);
    log.push(start, "SESSION_STARTED", Body::Fields(fields("SESSION_STARTED", person, rate, rng)));
    let mut minutes = 0.0;
    let mut left = events * 2.0 * rng.random::<f64>();
    while left > 0.5 {
        minutes += 0.2 + 4.0 * rng.random::<f64>();
        let kind = pick(mix, rng);
        log.push(at(start, minutes / 1440.0), kind, Body::Fields(fields(kind, person, rate, rng)));
        left -= 1.0;
    }
}

fn pick(mix: Mix, rng: &mut ChaCha8Rng) -> &'static str {
    let mut left = rng.random::<f64>() * mix.iter().map(|(_, weight)| weight).sum::<f64>();
    for (kind, weight) in mix {
        left -= weight;
        if left <= 0.0 {
            return kind;
        }
    }
    "SESSION_STARTED"
}

const TOPICS: [&str; 5] = ["SELL", "BUY", "REFINANCE", "INVEST", "NEWS"];
const HOMES: [&str; 5] = ["HOUSE", "CONDO", "TOWNHOUSE", "MULTI_FAMILY", "LAND"];

/// The fields of one event, as the shipped catalogue has them; now and then one is missing, as in life.
fn fields(kind: &str, person: &Person, rate: f64, rng: &mut ChaCha8Rng) -> Fields {
    let near = Datum::Number(person.budget * (0.7 + 0.6 * rng.random::<f64>()), 0);
    let listing = Datum::Tag("L", rng.random_range(0..50_000));
    let location = Datum::Tag("", person.zip + rng.random_range(0..4));
    let dwell = Datum::Number(-60.0 * (1.0 - rng.random::<f64>()).ln(), 1);
    let topic = Datum::Word(one_of(&TOPICS, rng));
    let mut found: Fields = match kind {
        "LISTING_VIEWED" => fields![listingId: listing, price: near, dwellSeconds: dwell],
        "LISTING_SAVED" | "TOUR_REQUESTED" | "OPEN_HOUSE_REGISTERED" => {
            return fields![listingId: listing, price: near];
        }
        "LISTING_SHARED" => return fields![listingId: listing],
        "SEARCH_PERFORMED" => {
            fields![location: location, maxPrice: near, propertyType: Datum::Word(one_of(&HOMES, rng))]
        }
        "SEARCH_SAVED" => fields![location: location, maxPrice: near],
        "NEIGHBORHOOD_VIEWED" => fields![location: location, dwellSeconds: dwell],
        "HOME_VALUE_CHECKED" => return fields![estimate: near],
        "VALUATION_REPORT_VIEWED" => fields![dwellSeconds: dwell],
        "SALE_COMPARABLES_VIEWED" => fields![comparables: Datum::Number(rng.random_range(1..20).into(), 0)],
        "SELLING_COST_CALCULATED" => fields![salePrice: near],
        "LISTING_DRAFT_STARTED" => fields![askingPrice: near],
        "MORTGAGE_CALCULATED" | "PREAPPROVAL_STARTED" => return loan(kind, person, rate),
        "AFFORDABILITY_CALCULATED" => fields![income: Datum::Number(person.budget / 4.0, 0)],
        "REFINANCE_CALCULATED" => {
            fields![currentRate: Datum::Number(person.mortgage_rate, 3), newRate: Datum::Number(rate, 3)]
        }
        "RATE_ALERT_SET" => return fields![rate: Datum::Number((rate - 0.5).max(0.5), 3)],
        "MORTGAGE_REPORTED" => {
            return fields![
                balance: Datum::Number(person.budget * 0.6, 0),
                rate: Datum::Number(person.mortgage_rate, 3),
                homeValue: Datum::Number(person.budget, 0)
            ];
        }
        "HOME_CLAIMED" => fields![
            purchaseYear: Datum::Number((2026.0 - person.years_owned).floor(), 0),
            purchasePrice: Datum::Number(person.budget * 0.8, 0)
        ],
        "RENTAL_YIELD_VIEWED" => {
            fields![location: location, yield: Datum::Number(2.0 + 6.0 * rng.random::<f64>(), 2)]
        }
        "INVESTMENT_CALCULATED" => fields![price: near, rent: Datum::Number(person.budget * 0.004, 0)],
        "EMAIL_OPENED" | "EMAIL_CLICKED" | "AGENT_CONTACTED" => fields![topic: topic],
        "ARTICLE_READ" => fields![topic: topic, dwellSeconds: dwell],
        "SESSION_STARTED" => fields![channel: Datum::Word(if rng.random_bool(0.6) { "APP" } else { "WEB" })],
        "CALL_COMPLETED" => fields![minutes: Datum::Number(1.0 + 20.0 * rng.random::<f64>(), 1)],
        _ => Fields::new(),
    };
    // What the sender may leave out is missing now and then; the first field of a listing view never is.
    if kind != "LISTING_VIEWED" && rng.random_bool(0.02) {
        found.clear();
    }
    found
}

fn loan(kind: &str, person: &Person, rate: f64) -> Fields {
    let amount = Datum::Number(person.budget * 0.8, 0);
    if kind == "MORTGAGE_CALCULATED" {
        fields![amount: amount, rate: Datum::Number(rate, 3)]
    } else {
        fields![amount: amount]
    }
}

fn one_of(words: &[&'static str; 5], rng: &mut ChaCha8Rng) -> &'static str {
    words.get(rng.random_range(0..5)).copied().unwrap_or("NEWS")
}
