//! Sessions: how often people come, how long they stay, and what they are about, when idle and when they mean it.
//!
//! Law: behaviour follows from traits and hidden episodes, never from the conversion, which only ends it and keeps people
//! away for a while.

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use super::hidden::{Episode, Intent, Phase, Stage, exponential};
use super::kind::Kind;
use super::line::{Focus, Line};
use super::mixes::{self, Mix};
use super::person::Person;
use super::season::Span;

/// Events in an idle session on average, the session's start included.
pub(crate) const EVENTS_PER_SESSION: f64 = 4.0;
const MINUTE: f64 = 1.0 / 1_440.0;
/// For so many days after a conversion most people have no reason to come back: the business is done.
const AWAY_DAYS: f64 = 45.0;
/// The share of their idle sessions that they leave out then.
const AWAY_SHARE: f64 = 0.85;

/// Where a person's lines go.
pub(crate) struct Log<'a> {
    pub(crate) user: u32,
    pub(crate) serial: u32,
    pub(crate) span: &'a Span,
    /// Nothing of this day or later is written.
    pub(crate) until: f64,
    pub(crate) lines: &'a mut Vec<Line>,
}

impl Log<'_> {
    /// Appends one line, unless it is too late.
    pub(crate) fn push(&mut self, day: f64, kind: Kind, focus: Focus) {
        if day < self.until {
            self.serial += 1;
            let time = self.span.at(day);
            self.lines.push(Line { time, user: Some(self.user), serial: self.serial, kind, focus });
        }
    }
}

/// The first things that somebody does.
pub(crate) fn joins(person: &Person, day: f64, log: &mut Log<'_>) {
    log.push(day, Kind::SessionStarted, None);
    if person.owner && person.tells_home {
        log.push(day + 3.0 * MINUTE, Kind::HomeClaimed, None);
    }
    if person.mortgage && person.tells_mortgage {
        log.push(day + 6.0 * MINUTE, Kind::MortgageReported, None);
    }
}

/// Idle browsing from a day on, so many sessions a day, more at weekends, few for a while after each conversion.
pub(crate) fn idles(
    joined: f64,
    sessions_per_day: f64,
    conversions: &[f64],
    rng: &mut ChaCha8Rng,
    log: &mut Log<'_>,
) {
    let mut day = joined;
    loop {
        day += exponential(1.0 / sessions_per_day.max(1e-6), rng);
        if day >= log.until {
            return;
        }
        let is_done = conversions.iter().any(|converted| (0.0..AWAY_DAYS).contains(&(day - converted)));
        if is_done && rng.random_bool(AWAY_SHARE) {
            continue;
        }
        if log.span.is_weekend(day) || rng.random_bool(0.8) {
            let start = log.span.awake(day, rng);
            // A campaign of the last months brings people in by e-mail.
            if rng.random_bool(0.15 * log.span.drift(day)) {
                log.push(start - MINUTE, Kind::EmailClicked, None);
            }
            session(start, None, EVENTS_PER_SESSION - 1.0, rng, log);
        }
    }
}

/// The sessions of an episode: ever more of them, and ever more to the point, the further it has come.
pub(crate) fn acts(
    person: &Person,
    intent: Intent,
    episode: &Episode,
    rng: &mut ChaCha8Rng,
    log: &mut Log<'_>,
) {
    for phase in episode {
        let pace = pace(phase.stage) * person.drive.sqrt() * person.activity.powf(0.15);
        let mut day = phase.from + if phase.stage == Stage::Ready { 0.3 } else { 0.0 };
        while day < phase.to.min(log.until) {
            let to_the_point = rng.random_bool(match phase.stage {
                Stage::Curious => 0.5,
                Stage::Serious => 0.7,
                Stage::Ready => 0.9,
            });
            let start = log.span.awake(day, rng).max(phase.from);
            session(start, to_the_point.then_some((intent, phase.stage)), length(phase), rng, log);
            day += exponential(1.0 / pace, rng);
        }
    }
}

/// Sessions a day.
fn pace(stage: Stage) -> f64 {
    match stage {
        Stage::Curious => 0.12,
        Stage::Serious => 0.22,
        Stage::Ready => 0.4,
    }
}

/// Events of a session besides its start.
fn length(phase: &Phase) -> f64 {
    match phase.stage {
        Stage::Curious => 3.0,
        Stage::Serious => 3.5,
        Stage::Ready => 5.0,
    }
}

fn session(start: f64, focus: Focus, events: f64, rng: &mut ChaCha8Rng, log: &mut Log<'_>) {
    log.push(start, Kind::SessionStarted, focus);
    let mut minutes = 0.0;
    let mut left = events * 2.0 * rng.random::<f64>();
    while left > 0.5 {
        minutes += 0.2 + 4.0 * rng.random::<f64>();
        log.push(start + minutes * MINUTE, pick(mixes::of(focus), rng), focus);
        left -= 1.0;
    }
}

fn pick(mix: Mix, rng: &mut ChaCha8Rng) -> Kind {
    let mut left = rng.random::<f64>() * mix.iter().map(|(_, weight)| weight).sum::<f64>();
    for (kind, weight) in mix {
        left -= weight;
        if left <= 0.0 {
            return *kind;
        }
    }
    Kind::SessionStarted
}
