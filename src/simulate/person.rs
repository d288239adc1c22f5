//! Who somebody is: traits that stay, some of them seen in events, most of them not.
//!
//! Law: traits move hazards and behaviour alike; nothing else ties a person's intents together. Drawn once per person by
//! [`super::population`].

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

/// Which program writes a person's events; each leaves other fields out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    /// Writes whatever the catalogue has.
    Full,
    /// An old app: no dwell times, no results of calculators.
    OldApp,
    /// A partner's feed: no topics, places or agents.
    Partner,
}

/// What does not change about a person.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Person {
    /// How active, 1 on average, with a long tail.
    pub(crate) activity: f64,
    /// How fast they go from meaning to doing, around 1.
    pub(crate) drive: f64,
    /// Whether they own their home.
    pub(crate) owner: bool,
    /// For how many years.
    pub(crate) years_owned: f64,
    /// Whether a mortgage stands on it.
    pub(crate) mortgage: bool,
    /// Its rate, in percent.
    pub(crate) mortgage_rate: f64,
    /// What they owe, as a share of the home's value.
    pub(crate) debt_share: f64,
    /// Whether they could buy for rent.
    pub(crate) wealthy: bool,
    /// What they can pay, or what their home is worth.
    pub(crate) budget: f64,
    /// Where they look.
    pub(crate) zip: u32,
    /// Who writes their events.
    pub(crate) sender: Sender,
    /// Whether they say which home is theirs.
    pub(crate) tells_home: bool,
    /// Whether they say what mortgage they have.
    pub(crate) tells_mortgage: bool,
}

impl Person {
    /// Draws a person.
    pub(crate) fn draw(rng: &mut ChaCha8Rng) -> Self {
        let owner = rng.random_bool(0.62);
        Self {
            // Lognormal with sigma 1; the division keeps the mean at 1 (exp(sigma^2 / 2)).
            activity: normal(rng).exp() / 0.5f64.exp(),
            drive: (0.3 * normal(rng)).exp(),
            owner,
            years_owned: 1.0 + 19.0 * rng.random::<f64>(),
            mortgage: owner && rng.random_bool(0.65),
            mortgage_rate: 3.0 + 5.5 * rng.random::<f64>(),
            debt_share: 0.25 + 0.6 * rng.random::<f64>(),
            wealthy: rng.random_bool(0.2),
            budget: 150_000.0 * (1.0 + 5.0 * rng.random::<f64>() * rng.random::<f64>()),
            zip: rng.random_range(10_000..10_400),
            sender: match rng.random_range(0..10) {
                0..=5 => Sender::Full,
                6..=7 => Sender::OldApp,
                _ => Sender::Partner,
            },
            tells_home: rng.random_bool(0.5),
            tells_mortgage: rng.random_bool(0.45),
        }
    }
}

/// Close to a standard normal: the sum of twelve uniform numbers.
fn normal(rng: &mut ChaCha8Rng) -> f64 {
    (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0
}
