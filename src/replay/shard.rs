//! A part of the users and the thread that tells them the log.
//!
//! Law: a user is told in the log's order; rows wait until the page is through and are scored together, while the user is
//! told on: the entity keeps its own order. Called by the replay, once for each page.

use std::sync::Arc;

use hashbrown::HashMap;

use super::given::SOMEBODY;
use super::seat::Seat;
use super::{Answer, Error, Heard, Listener, Question, Settings};
use crate::domain::catalog::ModelIx;
use crate::domain::codec;
use crate::domain::entity::{Effect, Input, Rules, Ticket};
use crate::domain::event::{ExpectedRevision, Recorded, Revision, SCORE_REQUESTED, UserEvent};
use crate::domain::id::{EventId, UserId, stream};
use crate::domain::market::Market;
use crate::domain::score::Unscored;
use crate::domain::time::Timestamp;
use crate::scoring::Scorer;

/// A part of the users.
pub(super) struct Shard<L: Listener> {
    rules: Arc<Rules>,
    settings: Settings,
    listener: L,
    scorer: Option<Box<dyn Scorer>>,
    places: HashMap<Box<str>, usize>,
    seats: Vec<Seat<L::Known>>,
    waiting: Vec<Waiting>,
    effects: Vec<Effect>,
    market: Arc<Market>,
    /// The largest event time of events that were not told any more.
    clock: Timestamp,
    unreadable: u64,
    refused: u64,
}

/// A question that waits for its answers.
struct Waiting {
    seat: usize,
    ticket: Ticket,
    question: Question,
}

/// The event that is being told.
#[derive(Clone, Copy)]
struct Cause {
    revision: Revision,
    event_id: EventId,
    is_request: bool,
    market_revision: u64,
}

impl<L: Listener> Shard<L> {
    pub(super) fn new(
        rules: Arc<Rules>,
        settings: Settings,
        listener: L,
        scorer: Option<Box<dyn Scorer>>,
    ) -> Self {
        Self {
            rules,
            settings,
            listener,
            scorer,
            places: HashMap::new(),
            seats: Vec::new(),
            waiting: Vec::new(),
            effects: Vec::new(),
            market: Arc::default(),
            clock: Timestamp::MIN,
            unreadable: 0,
            refused: 0,
        }
    }

    fn place(&mut self, name: &str) -> Option<usize> {
        if let Some(place) = self.places.get(name) {
            return Some(*place);
        }
        // What stands in a stream of another form is no user's.
        let user = name.parse::<UserId>().ok()?;
        self.seats.push(Seat::new(user));
        self.places.insert(name.into(), self.seats.len() - 1);
        Some(self.seats.len() - 1)
    }

    /// Takes in facts.
    pub(super) fn facts(&mut self, facts: &[Recorded]) {
        for recorded in facts {
            let Some(name) = recorded.stream.strip_prefix(stream::INTENT) else { continue };
            let Some(place) = self.place(name) else { continue };
            let Some(seat) = self.seats.get_mut(place) else { continue };
            // By far the most facts, and none of them came from outside.
            if &*recorded.event_type == "SignalDetected" {
                self.listener.fact(&mut seat.known, recorded, None);
                continue;
            }
            let read = codec::decode_fact(&recorded.event_type, &recorded.data)
                .and_then(|fact| Ok((fact, codec::decode_metadata(&recorded.metadata)?)));
            match read {
                Ok((Some(fact), metadata)) => {
                    seat.outside().take(&fact, &metadata);
                    self.listener.fact(&mut seat.known, recorded, Some(&fact));
                }
                Ok((None, _)) | Err(_) => self.unreadable += 1,
            }
        }
    }

    /// Tells a page of events.
    pub(super) fn events(&mut self, events: Vec<Recorded>, market: &Arc<Market>) -> Result<(), Error> {
        self.market = Arc::clone(market);
        for event in events {
            self.event(event)?;
        }
        self.score()
    }

    fn event(&mut self, mut event: Recorded) -> Result<(), Error> {
        if self.is_beyond(&event) {
            return Ok(());
        }
        let Some(name) = event.stream.strip_prefix(stream::USER) else { return Ok(()) };
        let Some(place) = self.place(name) else { return Ok(()) };
        let to = self.settings.to;
        let revision = event.revision;
        self.given(place, Some(revision))?;
        let Some(seat) = self.seats.get_mut(place) else { return Ok(()) };
        self.listener.event(&mut seat.known, &event);
        if seat.closed {
            self.clock = self.clock.max(occurred_at(&self.rules, &event).unwrap_or(Timestamp::MIN));
            return Ok(());
        }
        let park = seat.park(&self.rules.catalog, &event);
        // Events left out leave gaps: the entity counts its own revisions.
        event.revision = seat.entity.next_revision();
        seat.keep_event(&event);
        let cause = Cause {
            revision,
            event_id: event.id,
            is_request: &*event.event_type == SCORE_REQUESTED,
            market_revision: self.market.revision_at(event.position),
        };
        if let Some(park) = park {
            self.tell(place, park, None)?;
        }
        let input = Input::Deliver { events: vec![event], market: Arc::clone(&self.market) };
        self.tell(place, input, Some(cause))?;
        let Some(seat) = self.seats.get_mut(place) else { return Ok(()) };
        seat.closed = to.is_some_and(|to| seat.entity.clock() >= to);
        Ok(())
    }

    fn is_beyond(&self, event: &Recorded) -> bool {
        let Some(until) = self.settings.known_until else { return false };
        occurred_at(&self.rules, event).is_some_and(|at| at >= until)
    }

    /// Tells what came from outside before the event at `before`.
    fn given(&mut self, place: usize, before: Option<Revision>) -> Result<(), Error> {
        loop {
            let Some(seat) = self.seats.get_mut(place) else { return Ok(()) };
            let Some(given) = seat.next_given(before) else { return Ok(()) };
            let beyond = given.what.as_of().zip(self.settings.to).is_some_and(|(at, to)| at >= to);
            if seat.closed || beyond {
                continue;
            }
            if !given.what.begins_again() {
                self.tell(place, given.what.input(), None)?;
                continue;
            }
            // A new life knows only what is decided: nothing may be on its way.
            self.score()?;
            self.tell(place, given.what.input(), None)?;
            let Some(seat) = self.seats.get_mut(place).filter(|seat| seat.is_over) else { continue };
            for input in seat.begin_again(&self.rules.catalog, &self.market) {
                self.tell(place, input, None)?;
            }
        }
    }

    /// Tells a user something and does what it wants done; without a scorer its questions are answered at once, with nothing.
    fn tell(&mut self, place: usize, input: Input, cause: Option<Cause>) -> Result<(), Error> {
        let Self { rules, listener, seats, waiting, effects, scorer, refused, .. } = self;
        let Some(seat) = seats.get_mut(place) else { return Ok(()) };
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            seat.entity.step(rules, input, effects);
            for effect in effects.drain(..) {
                match effect {
                    Effect::Score { ticket, rows } => {
                        let Some(cause) = cause else { continue };
                        let question = question(cause, seat.entity.clock(), rows);
                        listener.asked(seat.entity.user(), &mut seat.known, &question);
                        if scorer.is_some() {
                            waiting.push(Waiting { seat: place, ticket, question });
                        } else {
                            let answers = question.rows.iter().map(|_| Err(nobody())).collect();
                            inputs.push(Input::Scored { ticket, answers });
                        }
                    }
                    Effect::Append { ticket, expected, facts } => {
                        let from = match expected {
                            ExpectedRevision::Exact(last) => last + 1,
                            ExpectedRevision::Any | ExpectedRevision::NoStream | ExpectedRevision::Exists => {
                                0
                            }
                        };
                        listener.decided(&mut seat.known, &facts);
                        seat.keep_facts(from, &facts);
                        let answer = Ok((from + facts.len() as u64).saturating_sub(1));
                        inputs.push(Input::Appended { ticket, answer });
                    }
                    Effect::Answer { token, answer } => {
                        *refused += u64::from(token == SOMEBODY && answer.is_err());
                    }
                    Effect::Restart { reason, .. } => seat.ended = Some(reason),
                    Effect::Rebuild { .. } => seat.is_over = true,
                    Effect::Settled { .. } => {}
                }
            }
        }
        let Some(reason) = seat.ended.take() else { return Ok(()) };
        Err(Error::Stuck { revision: seat.entity.next_revision().saturating_sub(1), reason })
    }

    /// Answers every question that waits, each model's rows together.
    fn score(&mut self) -> Result<(), Error> {
        let waiting = std::mem::take(&mut self.waiting);
        let mut answers: Vec<Vec<Answer>> =
            waiting.iter().map(|waiting| vec![Err(nobody()); waiting.question.rows.len()]).collect();
        let models = u16::try_from(self.rules.catalog.models.len()).unwrap_or(u16::MAX);
        for model in (0..models).map(ModelIx) {
            self.score_model(model, &waiting, &mut answers);
        }
        for (waiting, answers) in waiting.into_iter().zip(answers) {
            let Waiting { seat: place, ticket, question } = waiting;
            let Some(seat) = self.seats.get_mut(place) else { continue };
            self.listener.answered(seat.entity.user(), &mut seat.known, &question, &answers);
            self.tell(place, Input::Scored { ticket, answers }, None)?;
        }
        Ok(())
    }

    fn score_model(&mut self, model: ModelIx, waiting: &[Waiting], answers: &mut [Vec<Answer>]) {
        let Some(scorer) = &mut self.scorer else { return };
        let Some(spec) = self.rules.catalog.models.get(usize::from(model.0)) else { return };
        let as_live = self.settings.fail_as_live.get(usize::from(model.0)).copied().unwrap_or(false);
        let (mut rows, mut places): (Vec<&[f32]>, Vec<(usize, usize)>) = (Vec::new(), Vec::new());
        for (at, Waiting { seat, question, .. }) in waiting.iter().enumerate() {
            for (row_at, row) in question.rows.iter().enumerate().filter(|(_, row)| row.model == model) {
                let failed = as_live
                    && self.seats.get(*seat).is_some_and(|seat| seat.failed(question.revision, &spec.name));
                if failed {
                    continue;
                }
                rows.push(&row.features);
                places.push((at, row_at));
            }
        }
        if rows.is_empty() {
            return;
        }
        for ((at, row_at), answer) in places.into_iter().zip(scorer.score(model, &rows)) {
            if let Some(place) = answers.get_mut(at).and_then(|answers| answers.get_mut(row_at)) {
                *place = answer;
            }
        }
    }

    /// Tells what came from outside after the last event, and ends.
    pub(super) fn finish(mut self) -> Result<Heard<L>, Error> {
        for place in 0..self.seats.len() {
            self.given(place, None)?;
        }
        self.score()?;
        let clock = self.seats.iter().map(|seat| seat.entity.clock()).fold(self.clock, Timestamp::max);
        let users = self.seats.into_iter().map(|seat| (seat.entity.user().clone(), seat.known)).collect();
        Ok(Heard {
            listener: self.listener,
            users,
            clock,
            unreadable: self.unreadable,
            refused: self.refused,
        })
    }
}

fn occurred_at(rules: &Rules, event: &Recorded) -> Option<Timestamp> {
    match codec::decode(&rules.catalog, event) {
        Ok(UserEvent::Behaviour(behaviour)) => Some(behaviour.occurred_at),
        Ok(UserEvent::ScoreRequested(request)) => Some(request.occurred_at),
        Ok(UserEvent::ConversionRecorded(conversion)) => Some(conversion.occurred_at),
        Ok(UserEvent::Unknown) | Err(_) => None,
    }
}

fn question(cause: Cause, as_of: Timestamp, rows: Vec<crate::domain::score::Row>) -> Question {
    let Cause { revision, event_id, is_request, market_revision } = cause;
    Question { revision, event_id, is_request, as_of, market_revision, rows }
}

fn nobody() -> Unscored {
    Unscored::NoModel { model_type: String::new() }
}
