//! The call `BatchAppend`: many appends under way on one stream of messages.
//!
//! Law: appends begin in the order in which they came, each is answered once, and no more are under way than the bound; the
//! client waits then. What has begun goes on to its end, whether or not the client takes answers or is still there: it may
//! hold what others wait for. Called by `streams`.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::Stream;
use futures_util::stream::unfold;
use hashbrown::HashMap;
use prost::Message as _;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tonic::{Status, Streaming};
use uuid::Uuid;

use super::App;
use super::answers::{Outbox, Told, answer};
use super::append::{Done, Gathered};
use super::convert::{id, name};
use super::expected::of_batch;
use super::proto::event_store::client::StreamIdentifier;
use super::proto::event_store::client::streams::batch_append_req::{Options, options::DeadlineOption};
use super::proto::event_store::client::streams::{BatchAppendReq, BatchAppendResp};
use super::sent::{Sent, Share};
use super::status::{Refused, bad, failed};
use crate::clock;
use crate::domain::event::ExpectedRevision;
use crate::domain::time::Timestamp;

/// Appends whose parts are still coming, on one stream.
const OPEN_MAX: usize = 64;
/// Before each message.
const FRAME_HEAD: usize = 5;
/// No append waits longer, whatever deadline its client names.
const DEADLINE_MAX: Duration = Duration::from_secs(60);

/// An append whose parts are coming.
struct Open {
    /// As the client wrote it.
    identifier: StreamIdentifier,
    stream: String,
    expected: ExpectedRevision,
    /// Its deadline, from its first part on.
    until: Instant,
    gathered: Gathered,
    share: Share,
    /// Why it will be refused, however it goes on.
    refused: Option<Refused>,
}

/// The answers of one call.
pub(super) type Answers = Pin<Box<dyn Stream<Item = Told> + Send>>;

/// Begins a session; it ends when its answers are dropped.
pub(super) fn begin(app: &Arc<App>, requests: Streaming<BatchAppendReq>, sent: Sent) -> Answers {
    let (outbox, told) = Outbox::new(app.options.batches_max, app.options.slow_after);
    let session = Session::new(Arc::clone(app), requests, sent);
    // A task of its own, since answers are asked for only while the client takes them.
    let mut owner = JoinSet::new();
    owner.spawn(session.run(outbox));
    let answers = unfold((told, owner), |(mut told, mut owner)| async move {
        let answer = if let Some(answer) = told.recv().await {
            answer
        } else {
            // Nobody takes a session that broke for one that has ended.
            owner.join_next().await?.err()?;
            Err(failed())
        };
        Some((answer, (told, owner)))
    });
    Box::pin(answers)
}

type Answer = Pin<Box<dyn Future<Output = BatchAppendResp> + Send>>;

/// One stream of batch appends.
struct Session {
    app: Arc<App>,
    /// None when the client has no more.
    requests: Option<Streaming<BatchAppendReq>>,
    sent: Sent,
    open: HashMap<Uuid, Open>,
    under_way: JoinSet<BatchAppendResp>,
    ready: VecDeque<BatchAppendResp>,
    /// With which the session ends, once everything is answered.
    ended: Result<(), Status>,
}

impl Drop for Session {
    fn drop(&mut self) {
        // Events that are in the store's queue are written anyway; a close must not come between.
        self.under_way.detach_all();
    }
}

impl Session {
    fn new(app: Arc<App>, requests: Streaming<BatchAppendReq>, sent: Sent) -> Self {
        let (open, under_way, ready) = (HashMap::new(), JoinSet::new(), VecDeque::new());
        Self { app, requests: Some(requests), sent, open, under_way, ready, ended: Ok(()) }
    }

    async fn run(mut self, outbox: Outbox) {
        let told = self.serve(&outbox).await;
        outbox.end(told);
    }

    /// Takes requests and tells answers until the client has ended and everything is answered.
    async fn serve(&mut self, outbox: &Outbox) -> Result<(), Status> {
        loop {
            while let Some(answer) = self.ready.pop_front() {
                outbox.tell(answer).await?;
            }
            let has_room = self.under_way.len() < self.app.options.batches_max;
            let until = self.open.values().filter(|open| open.refused.is_none()).map(|open| open.until).min();
            tokio::select! {
                // More requests first: what is under way together shares a durable write.
                biased;
                request = next(&mut self.requests), if has_room && self.requests.is_some() => {
                    self.heard(request).await;
                }
                Some(answer) = self.under_way.join_next() => {
                    self.ready.push_back(answer.map_err(|_| failed())?);
                }
                () = tokio::time::sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {
                    self.lapse();
                }
                else => return std::mem::replace(&mut self.ended, Ok(())),
            }
        }
    }

    async fn heard(&mut self, request: Result<Option<BatchAppendReq>, Status>) {
        let ended = match request {
            Ok(Some(request)) => match self.take(request).await {
                Ok(()) => return,
                Err(status) => Err(status),
            },
            Ok(None) => Ok(()),
            Err(status) => Err(status),
        };
        (self.requests, self.ended) = (None, ended);
        self.open.clear();
    }

    /// Lets go of what has come for appends whose deadline has passed.
    fn lapse(&mut self) {
        let now = Instant::now();
        for open in self.open.values_mut().filter(|open| open.refused.is_none() && open.until <= now) {
            open.refuse(Refused::TimedOut);
        }
    }

    async fn take(&mut self, request: BatchAppendReq) -> Result<(), Status> {
        let share = self.sent.take(FRAME_HEAD + request.encoded_len());
        let correlation = id(request.correlation_id.as_ref())?;
        if !self.open.contains_key(&correlation) {
            if self.open.len() >= OPEN_MAX {
                return Err(bad(format!("more than {OPEN_MAX} appends are open on this stream")));
            }
            self.open.insert(correlation, open(request.options.unwrap_or_default(), clock::wall()));
        }
        let most = self.app.options.append_bytes_max;
        // Together, those that are open are bounded as one append is.
        let mut room = most.saturating_sub(self.open.values().map(|open| open.gathered.bytes()).sum());
        let Some(open) = self.open.get_mut(&correlation) else { return Ok(()) };
        for proposed in request.proposed_messages {
            let before = open.gathered.bytes();
            if open.refused.is_none()
                && let Err(refused) = open.gathered.add(proposed.into(), room, most)
            {
                open.refuse(refused);
            }
            room = room.saturating_sub(open.gathered.bytes().saturating_sub(before));
        }
        if open.refused.is_none() {
            open.share.add(share);
        }
        if request.is_final
            && let Some(open) = self.open.remove(&correlation)
        {
            self.begin(correlation, open).await;
        }
        Ok(())
    }

    /// Begins an append at once: who comes first is in the store's queue first.
    async fn begin(&mut self, correlation: Uuid, mut open: Open) {
        let app = Arc::clone(&self.app);
        let mut answer: Answer = Box::pin(async move {
            let identifier = std::mem::take(&mut open.identifier);
            let done = run(&app, open).await;
            answer(correlation, identifier, done)
        });
        // Whatever tokio would have it yield for: who is put off here is overtaken.
        let mut first = tokio::task::unconstrained(answer.as_mut());
        match poll_fn(|context| Poll::Ready(Pin::new(&mut first).poll(context))).await {
            Poll::Ready(answer) => self.ready.push_back(answer),
            Poll::Pending => drop(self.under_way.spawn(answer)),
        }
    }
}

async fn next(requests: &mut Option<Streaming<BatchAppendReq>>) -> Result<Option<BatchAppendReq>, Status> {
    match requests {
        Some(requests) => requests.message().await,
        None => Ok(None),
    }
}

impl Open {
    fn refuse(&mut self, refused: Refused) {
        (self.gathered, self.share) = (Gathered::default(), Share::default());
        self.refused = Some(refused);
    }
}

/// What a client begins, with what is wrong about it: it is answered as any other.
fn open(options: Options, now: Timestamp) -> Open {
    let deadline = deadline(options.deadline_option.as_ref(), now);
    let identifier = options.stream_identifier.clone().unwrap_or_default();
    let to = name(options.stream_identifier)
        .and_then(|stream| of_batch(options.expected_stream_position).map(|expected| (stream, expected)));
    let passed = || deadline.is_zero().then_some(Refused::TimedOut);
    let (stream, expected, refused) = match to {
        Ok((stream, expected)) => (stream, expected, passed()),
        Err(status) => (String::new(), ExpectedRevision::Any, Some(Refused::Failed(status))),
    };
    let until = Instant::now() + deadline;
    Open {
        identifier,
        stream,
        expected,
        until,
        gathered: Gathered::default(),
        share: Share::default(),
        refused,
    }
}

/// How long an append may take, as its client says it.
fn deadline(option: Option<&DeadlineOption>, now: Timestamp) -> Duration {
    let left = match option {
        // One below zero has passed.
        Some(DeadlineOption::Deadline(span)) if span.seconds < 0 || span.nanos < 0 => Duration::ZERO,
        Some(DeadlineOption::Deadline(span)) => Duration::try_from(*span).unwrap_or(DEADLINE_MAX),
        Some(DeadlineOption::Deadline21100(at)) => {
            let at = at.seconds.saturating_mul(1_000).saturating_add(i64::from(at.nanos) / 1_000_000);
            Duration::from_millis(u64::try_from(at.saturating_sub(now.millis())).unwrap_or(0))
        }
        None => DEADLINE_MAX,
    };
    left.min(DEADLINE_MAX)
}

async fn run(app: &App, open: Open) -> Result<Done, Refused> {
    if let Some(refused) = open.refused {
        return Err(refused);
    }
    let append = app.append(open.stream, open.expected, open.gathered.events());
    let done = tokio::time::timeout_at(open.until, append).await.unwrap_or(Err(Refused::TimedOut));
    drop(open.share);
    done
}

#[cfg(test)]
mod tests {
    use prost_types::{Duration as Span, Timestamp as At};

    use super::*;

    #[test]
    fn a_deadline_is_what_the_client_says_up_to_a_bound() {
        let now = Timestamp::from_millis(5_000);
        let left = |option: DeadlineOption| deadline(Some(&option), now);
        let span = |seconds, nanos| left(DeadlineOption::Deadline(Span { seconds, nanos }));
        let at = |seconds, nanos| left(DeadlineOption::Deadline21100(At { seconds, nanos }));
        assert_eq!(deadline(None, now), DEADLINE_MAX);
        assert_eq!(
            (span(2, 500_000_000), span(1_700_000_000, 0)),
            (Duration::from_millis(2_500), DEADLINE_MAX)
        );
        assert_eq!((span(-1, 0), span(0, -1), span(0, 0)), Default::default());
        assert_eq!(at(5, 900_000_000), Duration::from_millis(900));
        assert_eq!(
            (at(4, 999_000_000), at(-1, 0), at(i64::MAX, 0)),
            (Duration::ZERO, Duration::ZERO, DEADLINE_MAX)
        );
    }
}
