//! Subscriptions.
//!
//! Law: it begins after a place, never "at the end", and goes on after the last place told, so that nothing is left out
//! however often the connection breaks; each break is told to the caller once. A task per subscription reads ahead within a
//! bound. Called through the port.

use std::sync::Arc;
use std::time::Duration;

use kurrentdb::{
    StreamPosition, SubscribeToAllOptions, SubscribeToStreamOptions, Subscription as Client,
    SubscriptionEvent,
};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::instrument::WithSubscriber as _;

use super::Shared;
use super::convert::{Fault, fault, position, recorded, unavailable};
use super::ended::listening;
use super::link::Generation;
use super::read::filter;
use crate::domain::event::{Position, Recorded, Revision};
use crate::store::{BoxFuture, Direction, Error, Filter, Message, Subscription};

/// Most events of one message.
const TOLD_MAX: usize = 1_024;
/// A server tells a live subscription how far it is only after many events that do not pass. Who hears nothing for so long
/// asks for the end of the log: half a second behind it is no lag that anybody sees, and two small reads cost little.
const QUIET: Duration = Duration::from_millis(500);

/// What is followed, and after where.
#[derive(Clone, Debug)]
pub(super) enum Place {
    All { after: Option<Position>, filter: Filter },
    Stream { name: String, after: Option<Revision> },
}

/// What the task hears.
enum Heard {
    Event(Recorded),
    Checkpoint(Position),
    CaughtUp(Option<Position>),
}

/// A subscription.
pub(super) struct Follow {
    shared: Arc<Shared>,
    place: Place,
    /// The last position told.
    told: Option<Position>,
    running: Option<Running>,
    /// What was taken from the task and comes after what was told.
    next: Option<Result<Heard, String>>,
    /// Whether it has caught up since it was last begun.
    is_live: bool,
}

struct Running {
    heard: mpsc::Receiver<Result<Heard, String>>,
    /// Ends the task with the subscription.
    _task: JoinSet<()>,
}

impl Follow {
    pub(super) fn new(shared: &Arc<Shared>, place: Place) -> Self {
        let told = match &place {
            Place::All { after, .. } => *after,
            Place::Stream { .. } => None,
        };
        Self { shared: Arc::clone(shared), place, told, running: None, next: None, is_live: false }
    }

    async fn start(&self) -> Result<Running, Error> {
        let (generation, client) = self.shared.link.client().await?;
        let subscription = match &self.place {
            Place::All { after, filter: wanted } => {
                let from = after.map_or(StreamPosition::Start, |at| StreamPosition::Position(position(at)));
                let mut options = SubscribeToAllOptions::default().position(from);
                if let Some(wanted) = filter(wanted) {
                    options = options.filter(wanted);
                }
                client.subscribe_to_all(&signed!(self.shared.link, options)).await
            }
            Place::Stream { name, after } => {
                let from = after.map_or(StreamPosition::Start, StreamPosition::Position);
                let options = SubscribeToStreamOptions::default().start_from(from);
                client.subscribe_to_stream(name.as_str(), &signed!(self.shared.link, options)).await
            }
        };
        let (tell, heard) = mpsc::channel(self.shared.options.waiting_max);
        let (shared, mut task) = (Arc::clone(&self.shared), JoinSet::new());
        task.spawn(
            async move {
                if let Err(trouble) = listen(&shared, subscription, generation, &tell).await {
                    // Who does not wait any more need not know.
                    drop(tell.send(Err(trouble)).await);
                }
            }
            .with_subscriber(listening()),
        );
        Ok(Running { heard, _task: task })
    }

    async fn step(&mut self) -> Result<Message, Error> {
        loop {
            let heard = match self.next.take() {
                Some(heard) => heard,
                None => match self.hear().await? {
                    Some(heard) => heard,
                    None => match self.mark().await? {
                        Some(at) => Ok(Heard::Checkpoint(at)),
                        None => continue,
                    },
                },
            };
            match heard {
                Ok(Heard::CaughtUp(at)) => {
                    self.is_live = true;
                    let at = at.max(self.told);
                    at.into_iter().for_each(|at| self.pass(at));
                    return Ok(Message::CaughtUp(at));
                }
                Ok(heard) => {
                    if let Some(message) = self.gather(heard) {
                        return Ok(message);
                    }
                }
                Err(trouble) => {
                    (self.running, self.is_live) = (None, false);
                    return Err(unavailable(trouble));
                }
            }
        }
    }

    /// The next word; none when it has been quiet for a while.
    async fn hear(&mut self) -> Result<Option<Result<Heard, String>>, Error> {
        let may_be_behind = self.is_live && matches!(self.place, Place::All { .. });
        let running = match &mut self.running {
            Some(running) => running,
            None => {
                let running = self.start().await?;
                self.running.insert(running)
            }
        };
        let patience = if may_be_behind { QUIET } else { Duration::MAX };
        let Ok(heard) = timeout(patience, running.heard.recv()).await else { return Ok(None) };
        Ok(Some(heard.unwrap_or_else(|| Err("the server has ended the subscription".to_owned()))))
    }

    /// The end of the log, when nothing that passes stands between it and what was told.
    async fn mark(&self) -> Result<Option<Position>, Error> {
        let Place::All { after, filter } = &self.place else { return Ok(None) };
        let Some(head) = self.shared.head().await?.filter(|head| Some(*head) > self.told) else {
            return Ok(None);
        };
        // Some servers read from places of events only: the one told last may be read again.
        let page = self.shared.read_all(*after, Direction::Forwards, filter, 2).await?;
        let is_next = |event: &&Recorded| Some(event.position) > self.told;
        let next = page.events.iter().find(is_next).map(|event| event.position);
        Ok(next.is_none_or(|next| next > head).then_some(head))
    }

    /// What has been heard up to now, as one message; none when that says nothing new.
    fn gather(&mut self, first: Heard) -> Option<Message> {
        let (mut events, mut through) = (Vec::new(), None);
        let mut heard = Some(Ok(first));
        while let Some(one) = heard.take() {
            match one {
                Ok(Heard::Event(event)) => {
                    through = Some(event.position);
                    if self.admits(&event) {
                        events.push(event);
                    }
                }
                Ok(Heard::Checkpoint(at)) if events.is_empty() => through = through.max(Some(at)),
                other => {
                    self.next = Some(other);
                    break;
                }
            }
            if events.len() < TOLD_MAX {
                heard = self.running.as_mut().and_then(|running| running.heard.try_recv().ok());
            }
        }
        let through = through.filter(|through| Some(*through) > self.told)?;
        self.pass(through);
        Some(if events.is_empty() { Message::Checkpoint(through) } else { Message::Events(events) })
    }

    /// Whether an event is wanted, where the server could not tell, and was not told; goes on after it.
    fn admits(&mut self, event: &Recorded) -> bool {
        match &mut self.place {
            Place::All { filter, .. } => Some(event.position) > self.told && filter.admits_event(event),
            Place::Stream { after, .. } => {
                *after = Some(event.revision);
                true
            }
        }
    }

    fn pass(&mut self, at: Position) {
        self.told = Some(at);
        if let Place::All { after, .. } = &mut self.place {
            *after = Some(at);
        }
    }
}

/// Tells all that a subscription says; answers why it ended, or nothing when nobody hears any more.
async fn listen(
    shared: &Shared,
    mut subscription: Client,
    generation: Generation,
    tell: &mpsc::Sender<Result<Heard, String>>,
) -> Result<(), String> {
    // The first word comes at once from a server that is well.
    let within = shared.options.call_timeout;
    let mut said = match timeout(within, subscription.next_subscription_event()).await {
        Ok(said) => said,
        Err(_) => {
            let trouble = format!("no subscription within {within:?}");
            shared.link.lost(generation, &trouble).await;
            return Err(trouble);
        }
    };
    loop {
        match said {
            Ok(said) => {
                if let Some(heard) = hear(said)
                    && tell.send(Ok(heard)).await.is_err()
                {
                    return Ok(());
                }
            }
            Err(error) => {
                if let Fault::Lost(trouble) = fault(&error) {
                    shared.link.lost(generation, &trouble).await;
                }
                return Err(error.to_string());
            }
        }
        said = subscription.next_subscription_event().await;
    }
}

fn hear(said: SubscriptionEvent) -> Option<Heard> {
    match said {
        SubscriptionEvent::EventAppeared(event) => event.event.map(recorded).map(Heard::Event),
        SubscriptionEvent::Checkpoint(at) => Some(Heard::Checkpoint(Position(at.commit))),
        SubscriptionEvent::CaughtUp(caught_up) => {
            let at = caught_up.and_then(|caught_up| caught_up.position);
            Some(Heard::CaughtUp(at.map(|at| Position(at.commit))))
        }
        SubscriptionEvent::Confirmed(_)
        | SubscriptionEvent::FirstStreamPosition(_)
        | SubscriptionEvent::LastStreamPosition(_)
        | SubscriptionEvent::LastAllPosition(_)
        | SubscriptionEvent::FellBehind(_) => None,
    }
}

impl Subscription for Follow {
    fn next(&mut self) -> BoxFuture<'_, Result<Message, Error>> {
        Box::pin(self.step())
    }
}
