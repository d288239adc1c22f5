//! One simulated person: traits, idle browsing, episodes of real intent, and episodes that only look like it.
//!
//! Sources: the yearly hazards are set near what the field reports (about 5 % of owners sell and 6 % of households buy in a
//! year; refinancing follows the gap between the owner's rate and the market's); they are assumptions of the simulation, not
//! measurements.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::behaviour::{self, Person};
use super::market::Rates;
use super::{Body, Line, Options};
use crate::domain::time::{DAY_MS, Timestamp};

/// What somebody is up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Intent {
    /// To sell the home they own.
    Sell,
    /// To buy a home.
    Buy,
    /// To refinance their mortgage.
    Refinance,
    /// To buy for rent.
    Invest,
}

const INTENTS: [Intent; 4] = [Intent::Sell, Intent::Buy, Intent::Refinance, Intent::Invest];

impl Intent {
    fn model_type(self) -> &'static str {
        match self {
            Self::Sell => "SELL",
            Self::Buy => "BUY",
            Self::Refinance => "REFINANCE",
            Self::Invest => "INVESTMENT",
        }
    }

    /// Chance a year that a person of these traits begins an episode, the market being as it is.
    fn hazard_per_year(self, person: &Person, rate_market: f64) -> f64 {
        match self {
            Self::Sell if person.owner => 0.05 + 0.05 * f64::from(u8::from(person.years_owned > 7.0)),
            Self::Buy if person.owner => 0.04,
            Self::Buy => 0.14,
            Self::Refinance if person.mortgage => {
                (0.03 + 0.10 * (person.mortgage_rate - rate_market)).clamp(0.0, 0.5)
            }
            Self::Invest => 0.01 + 0.05 * f64::from(u8::from(person.wealthy)),
            Self::Sell | Self::Refinance => 0.0,
        }
    }

    /// What a conversion is worth, in the currency of the business.
    fn value(self, person: &Person) -> f64 {
        match self {
            Self::Sell | Self::Buy => person.budget * 0.025,
            Self::Refinance => person.budget * 0.6 * 0.01,
            Self::Invest => person.budget * 0.02,
        }
    }
}

/// A stretch of time in which somebody does more than idle.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Episode {
    /// What it looks like.
    pub(crate) intent: Intent,
    /// When it begins.
    pub(crate) from: Timestamp,
    /// How long it lasts, in days.
    pub(crate) days: f64,
    /// 0 for a look-alike, towards 1 for a firm intent: how far the behaviour goes.
    pub(crate) firmness: f64,
}

/// Appends everything that one person does.
pub(crate) fn live(options: &Options, user: u32, from: Timestamp, rates: &Rates, lines: &mut Vec<Line>) {
    let mut rng = ChaCha8Rng::seed_from_u64(
        options.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(u64::from(user)),
    );
    let person = Person::draw(&mut rng);
    let days = f64::from(options.days);
    let joined = if rng.random_bool(0.6) { 0.0 } else { rng.random::<f64>() * days };
    let mut log = Log { user, serial: 0, lines };
    behaviour::joins(&person, at(from, joined + rng.random::<f64>()), &mut rng, &mut log);
    let sessions = person.activity * options.events_per_user / behaviour::EVENTS_PER_SESSION / days;
    behaviour::idles(&person, (from, joined, days), sessions, rates, &mut rng, &mut log);
    for episode in episodes(&person, from, joined, days, rates, &mut rng) {
        behaviour::acts(&person, &episode, rates, &mut rng, &mut log);
        if rng.random_bool(chance(&episode)) {
            let end = at(episode.from, episode.days + 1.0 + 6.0 * rng.random::<f64>());
            let value = episode.intent.value(&person) * (0.8 + 0.4 * rng.random::<f64>());
            log.push(end, "ConversionRecorded", Body::Conversion(episode.intent.model_type(), value));
        }
    }
}

/// Chance that an episode ends in a conversion: a logistic of its firmness, so that truth has a probability.
fn chance(episode: &Episode) -> f64 {
    1.0 / (1.0 + (-(episode.firmness - 0.45) * 9.0).exp())
}

fn episodes(
    person: &Person,
    from: Timestamp,
    joined: f64,
    days: f64,
    rates: &Rates,
    rng: &mut ChaCha8Rng,
) -> Vec<Episode> {
    let mut found = Vec::new();
    for intent in INTENTS {
        let begins = joined + rng.random::<f64>() * (days - joined).max(1.0);
        let begin = at(from, begins);
        let hazard = intent.hazard_per_year(person, rates.at(begin)) * (days - joined) / 365.0;
        // As many people look as if they meant it as there are people who do.
        let is_firm = rng.random_bool(hazard.clamp(0.0, 0.9));
        let is_alike = !is_firm && rng.random_bool(hazard.clamp(0.0, 0.9));
        if is_firm || is_alike {
            let spread = rng.random::<f64>();
            let firmness = if is_firm { 0.45 + 0.55 * spread } else { 0.65 * spread };
            let length = 14.0 + 46.0 * rng.random::<f64>();
            found.push(Episode { intent, from: begin, days: length, firmness });
        }
    }
    found
}

/// The time so many days after another.
pub(crate) fn at(from: Timestamp, days: f64) -> Timestamp {
    #[expect(clippy::cast_possible_truncation, reason = "days of a simulation, far below 2^53 ms")]
    let millis = (days * DAY_MS as f64) as i64;
    Timestamp::from_millis(from.millis() + millis)
}

/// Where a person's lines go.
pub(crate) struct Log<'a> {
    user: u32,
    serial: u32,
    lines: &'a mut Vec<Line>,
}

impl Log<'_> {
    /// Appends one line.
    pub(crate) fn push(&mut self, time: Timestamp, kind: &'static str, body: Body) {
        self.serial += 1;
        self.lines.push(Line { time, user: Some(self.user), serial: self.serial, kind, body });
    }
}
