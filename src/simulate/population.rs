//! One simulated person: traits, hidden intents, and what they do.
//!
//! Law: a person follows from the seed and their number alone. Hidden intents, behaviour and fields each have a generator of
//! their own, so that the truth can be told without the behaviour.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use smallvec::SmallVec;

use super::Options;
use super::behaviour::{self, Log};
use super::hidden::{Hidden, Intent};
use super::kind::Kind;
use super::line::Line;
use super::market::Rates;
use super::person::Person;
use super::season::Span;

/// What is the same for all people.
pub(crate) struct World {
    pub(crate) span: Span,
    pub(crate) rates: Rates,
}

/// Somebody, seen from inside.
pub(crate) struct Life {
    pub(crate) person: Person,
    /// The day they joined.
    pub(crate) joined: f64,
    pub(crate) hidden: [Hidden; 4],
}

/// What a generator is for.
#[derive(Clone, Copy)]
pub(crate) enum Purpose {
    Life,
    Behaviour,
    /// The fields of one of their lines.
    Fields(u32),
}

/// The generator of a person for one purpose.
pub(crate) fn generator(seed: u64, user: u32, purpose: Purpose) -> ChaCha8Rng {
    let place = match purpose {
        Purpose::Life => 0,
        Purpose::Behaviour => 1,
        Purpose::Fields(serial) => 2 + u64::from(serial),
    };
    // Two odd constants spread neighbours apart; the generator's own seeding mixes the rest.
    let mixed = seed
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
        .wrapping_add(u64::from(user))
        .wrapping_mul(0xBF58_476D_1CE4_E5B9)
        .wrapping_add(place.wrapping_mul(0x94D0_49BB_1331_11EB));
    ChaCha8Rng::seed_from_u64(mixed)
}

impl Life {
    /// Draws a person and what they are up to.
    pub(crate) fn draw(options: &Options, user: u32, world: &World) -> Self {
        let mut rng = generator(options.seed, user, Purpose::Life);
        let person = Person::draw(&mut rng);
        let joined =
            if rng.random_bool(0.6) { rng.random::<f64>() } else { rng.random::<f64>() * world.span.days };
        let hidden = Intent::ALL
            .map(|intent| Hidden::draw(intent, &person, joined, &world.span, &world.rates, &mut rng));
        Self { person, joined, hidden }
    }

    /// Appends everything that they do.
    pub(crate) fn live(&self, options: &Options, user: u32, world: &World, lines: &mut Vec<Line>) {
        let mut rng = generator(options.seed, user, Purpose::Behaviour);
        let mut log = Log { user, serial: 0, span: &world.span, until: world.span.days, lines };
        behaviour::joins(&self.person, self.joined, &mut log);
        let sessions =
            self.person.activity * options.events_per_user / behaviour::EVENTS_PER_SESSION / world.span.days;
        let conversions: SmallVec<[f64; 4]> =
            self.hidden.iter().filter_map(|hidden| hidden.converted).collect();
        behaviour::idles(self.joined, sessions, &conversions, &mut rng, &mut log);
        for hidden in &self.hidden {
            log.until = hidden.converted.unwrap_or(world.span.days);
            for episode in &hidden.episodes {
                behaviour::acts(&self.person, hidden.intent, episode, &mut rng, &mut log);
            }
            log.until = world.span.days;
            if let Some(day) = hidden.converted {
                // The stage says nothing here: the line only needs the intent.
                log.push(day, Kind::Conversion, Some((hidden.intent, super::hidden::Stage::Ready)));
            }
        }
    }
}
