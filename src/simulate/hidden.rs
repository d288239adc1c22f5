//! What nobody sees: intents that come and go, how far each has come, and when it ends in a conversion.
//!
//! Law: a conversion is the first arrival of a Poisson process whose hazard is constant on each [`Piece`]. Pieces are drawn
//! as if nobody converted yet and never depend on the arrival; what comes after the arrival is void. So for a moment before
//! it, the chance of a conversion in (t, t + H] is exactly 1 - exp(-hazard summed over (t, t + H]); after it, 0.
//!
//! The hazards a year are set near what the field reports (about 5 % of owners sell and 6 % of households buy in a year;
//! refinancing follows the gap between the owner's rate and the market's), raised for people who use such a site: assumptions
//! of the simulation, not measurements.

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use smallvec::SmallVec;

use super::market::Rates;
use super::person::Person;
use super::season::Span;

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

/// How far an intent has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Looks around.
    Curious,
    /// Works out what it would mean.
    Serious,
    /// Acts on it.
    Ready,
}

/// A stretch in one stage, in days.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Phase {
    pub(crate) stage: Stage,
    pub(crate) from: f64,
    pub(crate) to: f64,
}

/// An intent from its beginning to where it would end without a conversion.
pub(crate) type Episode = SmallVec<[Phase; 3]>;

/// A stretch with a constant hazard a day; pieces of a person and an intent add up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Piece {
    pub(crate) from: f64,
    pub(crate) to: f64,
    pub(crate) per_day: f64,
}

/// One intent of one person over the whole log.
#[derive(Clone, Debug)]
pub(crate) struct Hidden {
    pub(crate) intent: Intent,
    /// In order of time, apart from each other; look-alikes among them.
    pub(crate) episodes: Vec<Episode>,
    /// The first is the baseline, over the whole time; the others lie apart, in order of time.
    pub(crate) pieces: Vec<Piece>,
    /// When the conversion came, in days; everything later is void.
    pub(crate) converted: Option<f64>,
}

/// Hazards change at most this often: seasons and markets move slowly.
const PIECE_DAYS: f64 = 14.0;
/// No intent begins more often than so many times a year; the thinning below needs a bound.
const BEGINS_PER_YEAR_MAX: f64 = 4.0;
const YEAR_DAYS: f64 = 365.25;

impl Intent {
    pub(crate) const ALL: [Self; 4] = [Self::Sell, Self::Buy, Self::Refinance, Self::Invest];

    /// The model that is to find it.
    pub(crate) fn model_type(self) -> &'static str {
        match self {
            Self::Sell => "SELL",
            Self::Buy => "BUY",
            Self::Refinance => "REFINANCE",
            Self::Invest => "INVESTMENT",
        }
    }

    /// What a conversion is worth, in the currency of the business.
    pub(crate) fn value(self, person: &Person) -> f64 {
        match self {
            Self::Sell | Self::Buy => person.budget * 0.025,
            Self::Refinance => person.budget * person.debt_share * 0.01,
            Self::Invest => person.budget * 0.02,
        }
    }

    /// Episodes a year: meant ones, and ones that only look alike.
    fn begins_per_year(self, person: &Person, gap: f64) -> (f64, f64) {
        let is = |holds: bool| f64::from(u8::from(holds));
        match self {
            Self::Sell if person.owner => (0.08 + 0.06 * is(person.years_owned > 7.0), 0.28),
            Self::Buy if person.owner => (0.08, 0.2),
            Self::Buy => (0.17, 0.3),
            Self::Refinance if person.mortgage => {
                (0.07 + 0.18 * gap.clamp(0.0, 2.0), 0.12 + 0.3 * gap.clamp(0.0, 2.0))
            }
            Self::Invest => (0.035 + 0.2 * is(person.wealthy), 0.09 + 0.4 * is(person.wealthy)),
            Self::Sell | Self::Refinance => (0.0, 0.0),
        }
    }

    /// Conversions a year that no behaviour announces.
    fn baseline_per_year(self, person: &Person) -> f64 {
        let base = match self {
            Self::Sell if person.owner => 0.006,
            Self::Buy => 0.008,
            Self::Refinance if person.mortgage => 0.006,
            Self::Invest => 0.002,
            Self::Sell | Self::Refinance => 0.0,
        };
        base * person.drive * person.activity.sqrt()
    }

    /// The year's wave of beginnings: height, and the day of its crest.
    fn wave(self) -> (f64, f64) {
        match self {
            Self::Sell => (0.1, 110.0),
            Self::Buy => (0.1, 140.0),
            Self::Refinance => (0.0, 0.0),
            Self::Invest => (0.08, 270.0),
        }
    }

    /// The hazard a day of a meant intent in a stage, for a person of usual drive.
    fn hazard(self, stage: Stage, gap: f64) -> f64 {
        match (stage, self) {
            (Stage::Curious, _) => 0.0003,
            (Stage::Serious, _) => 0.003,
            // Nobody refinances at a loss: the market decides how fast it goes.
            (Stage::Ready, Self::Refinance) => 0.06 * (0.95 + 0.1 * gap).clamp(0.8, 1.15),
            (Stage::Ready, Self::Sell | Self::Buy) => 0.04,
            (Stage::Ready, Self::Invest) => 0.035,
        }
    }
}

impl Hidden {
    /// Draws one intent of a person who joined on a day.
    pub(crate) fn draw(
        intent: Intent,
        person: &Person,
        joined: f64,
        span: &Span,
        rates: &Rates,
        rng: &mut ChaCha8Rng,
    ) -> Self {
        let baseline = intent.baseline_per_year(person) / YEAR_DAYS;
        let mut pieces = vec![Piece { from: joined, to: span.days, per_day: baseline }];
        let mut episodes = Vec::new();
        let mut day = joined;
        loop {
            day += exponential(YEAR_DAYS / BEGINS_PER_YEAR_MAX, rng);
            if day >= span.days {
                break;
            }
            let gap = person.mortgage_rate - rates.at(span.at(day));
            let (meant, alike) = intent.begins_per_year(person, gap);
            let (height, crest) = intent.wave();
            let often = span.year(day, height, crest) * person.activity.powf(0.3);
            // The last months bring more people who only look.
            let (meant, alike) = (meant * often, alike * often * (1.0 + 0.12 * span.drift(day)));
            let share = rng.random::<f64>() * BEGINS_PER_YEAR_MAX;
            if share >= meant + alike {
                continue;
            }
            let is_meant = share < meant;
            let episode = episode(day, is_meant, rng);
            if is_meant {
                for phase in &episode {
                    hazards(intent, person, phase, span, rates, &mut pieces);
                }
            }
            day = episode.last().map_or(day, |phase| phase.to);
            episodes.push(episode);
        }
        let converted = arrival(&pieces, exponential(1.0, rng));
        Self { intent, episodes, pieces, converted }
    }
}

/// The stages of an episode; few look-alikes go as far as to act, and not all who mean it do.
fn episode(begins: f64, is_meant: bool, rng: &mut ChaCha8Rng) -> Episode {
    let mut day = begins;
    let mut phase = |stage, days: f64| {
        let from = day;
        day += days;
        Phase { stage, from, to: day }
    };
    let mut phases = Episode::new();
    phases.push(phase(Stage::Curious, 3.0 + exponential(12.0, rng)));
    if is_meant || rng.random_bool(0.6) {
        phases.push(phase(Stage::Serious, 4.0 + exponential(if is_meant { 14.0 } else { 18.0 }, rng)));
    }
    if is_meant && rng.random_bool(0.85) {
        // Long enough that hardly anybody of usual drive is left at its end.
        phases.push(phase(Stage::Ready, 90.0 + 60.0 * rng.random::<f64>()));
    } else if !is_meant && rng.random_bool(0.035) {
        phases.push(phase(Stage::Ready, 5.0 + exponential(8.0, rng)));
    }
    phases
}

/// The pieces of a phase of a meant intent.
fn hazards(
    intent: Intent,
    person: &Person,
    phase: &Phase,
    span: &Span,
    rates: &Rates,
    pieces: &mut Vec<Piece>,
) {
    let mut from = phase.from;
    while from < phase.to.min(span.days) {
        let to = (from + PIECE_DAYS).min(phase.to).min(span.days);
        let gap = person.mortgage_rate - rates.at(span.at(from));
        // Deals close faster in summer, and slower in the last months.
        let tempo = person.drive * span.year(from, 0.06, 170.0) * (1.0 - 0.08 * span.drift(from));
        pieces.push(Piece { from, to, per_day: intent.hazard(phase.stage, gap) * tempo });
        from = to;
    }
}

/// When a process with these hazards has used up so much hazard, if ever: its first arrival.
fn arrival(pieces: &[Piece], threshold: f64) -> Option<f64> {
    let (baseline, others) = pieces.split_first()?;
    let mut left = threshold;
    let mut day = baseline.from;
    let mut spend = |to: f64, per_day: f64, day: &mut f64| {
        let used = (to - *day).max(0.0) * per_day;
        if used >= left && per_day > 0.0 {
            return Some(*day + left / per_day);
        }
        left -= used;
        *day = to.max(*day);
        None
    };
    for piece in others {
        let found = spend(piece.from, baseline.per_day, &mut day)
            .or_else(|| spend(piece.to, baseline.per_day + piece.per_day, &mut day));
        if found.is_some() {
            return found;
        }
    }
    spend(baseline.to, baseline.per_day, &mut day)
}

/// An exponential time with this mean.
pub(crate) fn exponential(mean: f64, rng: &mut ChaCha8Rng) -> f64 {
    -(1.0 - rng.random::<f64>()).ln() * mean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_arrival_is_where_the_hazard_is_used_up() {
        let pieces = [
            Piece { from: 0.0, to: 100.0, per_day: 0.01 },
            Piece { from: 10.0, to: 20.0, per_day: 0.09 },
            Piece { from: 20.0, to: 30.0, per_day: 0.19 },
        ];
        let check = |threshold, day: Option<f64>| match (arrival(&pieces, threshold), day) {
            (Some(found), Some(day)) => assert!((found - day).abs() < 1e-9, "{threshold}: {found}"),
            (found, day) => assert_eq!(found, day, "{threshold}"),
        };
        check(0.05, Some(5.0));
        check(0.1 + 0.5, Some(15.0));
        check(0.1 + 1.0 + 0.5, Some(22.5));
        check(0.1 + 1.0 + 2.0 + 0.35, Some(65.0));
        check(0.1 + 1.0 + 2.0 + 0.71, None);
    }
}
