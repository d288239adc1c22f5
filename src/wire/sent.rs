//! What clients have sent and we have not written: bytes of all calls together, from the first frame of a message on.
//!
//! Law: no more than the bound, and one call beyond it, so that calls that all hold a part of what they need do not wait for
//! one another for ever; a client waits then, for so long; and none holds bytes longer than it takes to send a message. Who
//! ends a call in its middle has not sent it. Put around requests by `calls`, used by `batch`, looked at by `server`.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tonic::{Code, Status};

use super::status::{sent_too_slowly, too_busy};
use crate::store::BoxFuture;

/// How long a client waits for others' bytes to be written.
const ROOM_WITHIN: Duration = Duration::from_secs(5);
/// How long it may take to send one message, or everything that is one append.
const SENT_WITHIN: Duration = Duration::from_secs(60);

/// The bytes that all clients together may have sent.
pub(super) struct Room {
    bytes: Arc<Semaphore>,
    most: usize,
    /// The seat of the one that goes beyond.
    beyond: Arc<Semaphore>,
}

impl Room {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { bytes: Arc::new(Semaphore::new(most)), most, beyond: Arc::new(Semaphore::new(1)) })
    }

    /// How many of how many are used.
    pub(super) fn used(&self) -> (usize, usize) {
        (self.most - self.bytes.available_permits().min(self.most), self.most)
    }

    /// Waits for room; who holds bytes already may go beyond the bound, one at a time.
    async fn wait(self: Arc<Self>, bytes: u32, holds: bool) -> Result<Share, Status> {
        let room = Arc::clone(&self.bytes).acquire_many_owned(bytes);
        let waited = timeout(ROOM_WITHIN, async {
            tokio::select! {
                biased;
                bytes = room => Share { bytes: bytes.ok(), beyond: None },
                beyond = Arc::clone(&self.beyond).acquire_owned(), if holds => {
                    Share { bytes: None, beyond: beyond.ok() }
                }
            }
        });
        waited.await.map_err(|_| too_busy())
    }
}

/// A wait for room.
type Granted = BoxFuture<'static, Result<Share, Status>>;

/// Some of the bytes; dropped, others may send as many.
#[derive(Default)]
pub(super) struct Share {
    bytes: Option<OwnedSemaphorePermit>,
    beyond: Option<OwnedSemaphorePermit>,
}

impl Share {
    pub(super) fn add(&mut self, more: Self) {
        match (&mut self.bytes, more.bytes) {
            (Some(bytes), Some(more)) => bytes.merge(more),
            (bytes, more) => *bytes = bytes.take().or(more),
        }
        self.beyond = self.beyond.take().or(more.beyond);
    }

    fn bytes(&self) -> usize {
        self.bytes.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
    }

    fn holds(&self) -> bool {
        self.bytes() > 0 || self.beyond.is_some()
    }

    /// So many of them, and the seat.
    fn split(&mut self, bytes: usize) -> Self {
        let bytes = bytes.min(self.bytes());
        let taken = self.bytes.as_mut().and_then(|held| held.split(bytes));
        Self { bytes: taken, beyond: self.beyond.take() }
    }
}

#[derive(Default)]
struct Held {
    share: Share,
    /// Until when the message that they are part of has to be here.
    until: Option<Instant>,
    /// Bytes of the last frame: no more than these can be of the next message when one was taken.
    frame: usize,
}

/// What one call has sent.
#[derive(Clone)]
pub(super) struct Sent {
    room: Arc<Room>,
    held: Arc<Mutex<Held>>,
}

impl Sent {
    pub(super) fn new(room: &Arc<Room>) -> Self {
        Self { room: Arc::clone(room), held: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        // Every change under the lock is whole before anything can panic.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands over the bytes of a message that was taken.
    pub(super) fn take(&self, bytes: usize) -> Share {
        let mut held = self.lock();
        let taken = held.share.split(bytes);
        // What is left beyond the last frame were bytes that mean nothing to us.
        let nothing = held.share.bytes().saturating_sub(held.frame);
        drop(held.share.split(nothing));
        held.until = held.share.holds().then(|| Instant::now() + SENT_WITHIN);
        taken
    }

    fn add(&self, share: Share, frame: usize) {
        let mut held = self.lock();
        held.share.add(share);
        held.frame = frame;
        held.until.get_or_insert_with(|| Instant::now() + SENT_WITHIN);
    }

    /// Room at once, or a wait for it.
    fn ask(&self, bytes: usize) -> Result<Share, Granted> {
        let held = self.lock();
        if held.share.beyond.is_some() {
            return Ok(Share::default());
        }
        let bytes = u32::try_from(bytes.min(self.room.most)).unwrap_or(u32::MAX);
        match Arc::clone(&self.room.bytes).try_acquire_many_owned(bytes) {
            Ok(bytes) => Ok(Share { bytes: Some(bytes), beyond: None }),
            Err(_) => Err(Box::pin(Arc::clone(&self.room).wait(bytes, held.share.holds()))),
        }
    }
}

/// A request's body, counted.
pub(super) struct Counted<B> {
    body: B,
    sent: Sent,
    /// A frame for which there is no room yet.
    waiting: Option<(Frame<Bytes>, Granted)>,
    late: Option<Pin<Box<Sleep>>>,
}

impl<B> Counted<B> {
    pub(super) fn new(body: B, room: &Arc<Room>) -> (Self, Sent) {
        let sent = Sent::new(room);
        (Self { body, sent: sent.clone(), waiting: None, late: None }, sent)
    }

    /// The frame that waits, once there is room for it.
    fn poll_waiting(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some((_, room)) = &mut self.waiting else { return Poll::Ready(None) };
        let share = ready!(room.as_mut().poll(context));
        let Some((frame, _)) = self.waiting.take() else { return Poll::Ready(None) };
        Poll::Ready(Some(share.map(|share| {
            self.sent.add(share, length(&frame));
            frame
        })))
    }

    /// Ready when the client has held bytes for too long.
    fn poll_late(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(until) = self.sent.lock().until else { return Poll::Pending };
        let late = self.late.get_or_insert_with(|| Box::pin(sleep_until(until)));
        if late.deadline() != until {
            late.as_mut().reset(until);
        }
        late.as_mut().poll(context)
    }
}

fn length(frame: &Frame<Bytes>) -> usize {
    frame.data_ref().map_or(0, Bytes::len)
}

/// Why a body ended before its end; that the client has given up is no end of what it sent.
fn broken(error: impl std::error::Error + Send + Sync + 'static) -> Status {
    let status = Status::from_error(Box::new(error));
    if status.code() == Code::Cancelled { Status::aborted("the client has ended the call") } else { status }
}

impl<B> Body for Counted<B>
where
    B: Body<Data = Bytes, Error: std::error::Error + Send + Sync + 'static> + Unpin,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        loop {
            if let Some(frame) = ready!(self.poll_waiting(context)) {
                return Poll::Ready(Some(frame));
            }
            let Poll::Ready(next) = Pin::new(&mut self.body).poll_frame(context) else {
                return self.poll_late(context).map(|()| Some(Err(sent_too_slowly())));
            };
            let frame = match next {
                Some(Ok(frame)) if length(&frame) > 0 => frame,
                Some(Ok(other)) => return Poll::Ready(Some(Ok(other))),
                Some(Err(error)) => return Poll::Ready(Some(Err(broken(error)))),
                None => return Poll::Ready(None),
            };
            match self.sent.ask(length(&frame)) {
                Ok(share) => {
                    self.sent.add(share, length(&frame));
                    return Poll::Ready(Some(Ok(frame)));
                }
                Err(room) => self.waiting = Some((frame, room)),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.waiting.is_none() && self.body.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use http_body_util::{BodyExt as _, StreamBody};
    use tokio::sync::mpsc::{Sender, channel};
    use tokio_stream::wrappers::ReceiverStream;

    use super::*;

    type Given = Result<Frame<Bytes>, Status>;
    type Call = Counted<StreamBody<ReceiverStream<Given>>>;

    fn call(room: &Arc<Room>) -> (Sender<Given>, Call, Sent) {
        let (send, frames) = channel(8);
        let (body, sent) = Counted::new(StreamBody::new(ReceiverStream::new(frames)), room);
        (send, body, sent)
    }

    async fn send(to: &Sender<Given>, bytes: usize) {
        to.send(Ok(Frame::data(Bytes::from(vec![0; bytes])))).await.unwrap();
    }

    /// The length of the next frame, or why there is none.
    async fn next(call: &mut Call) -> Result<usize, Status> {
        call.frame().await.unwrap().map(|frame| length(&frame))
    }

    async fn waits(call: &mut Call) -> bool {
        poll_fn(|context| Poll::Ready(Pin::new(&mut *call).poll_frame(context).is_pending())).await
    }

    #[tokio::test(start_paused = true)]
    async fn who_finds_no_room_waits_and_is_told_at_last() {
        let room = Room::new(10);
        let (to_a, mut a, _) = call(&room);
        let (to_b, mut b, _) = call(&room);
        send(&to_a, 8).await;
        assert_eq!((next(&mut a).await.unwrap(), room.used()), (8, (8, 10)));
        send(&to_b, 5).await;
        let began = Instant::now();
        let busy = next(&mut b).await.unwrap_err();
        assert_eq!((busy.code(), busy.message()), (Code::Unavailable, "Server Is Too Busy"));
        assert_eq!(began.elapsed().as_secs(), ROOM_WITHIN.as_secs());
        let (to_c, mut c, _) = call(&room);
        send(&to_c, 5).await;
        assert!(waits(&mut c).await);
        drop(a);
        assert_eq!((next(&mut c).await.unwrap(), room.used()), (5, (5, 10)));
        drop(c);
        assert_eq!(room.used(), (0, 10));
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_all_hold_a_part_do_not_wait_for_one_another() {
        let room = Room::new(10);
        let (to_a, mut a, a_sent) = call(&room);
        let (to_b, mut b, _) = call(&room);
        send(&to_a, 6).await;
        send(&to_b, 4).await;
        assert_eq!((next(&mut a).await.unwrap(), next(&mut b).await.unwrap()), (6, 4));
        for _ in 0..3 {
            send(&to_a, 6).await;
            assert_eq!(next(&mut a).await.unwrap(), 6, "one goes beyond");
        }
        send(&to_b, 1).await;
        assert!(waits(&mut b).await);
        // Its append is written.
        drop(a_sent.take(24));
        assert_eq!(next(&mut b).await.unwrap(), 1);
        send(&to_a, 5).await;
        assert_eq!((next(&mut a).await.unwrap(), room.used()), (5, (10, 10)), "bounded again");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_taken_is_counted_until_it_is_written() {
        let room = Room::new(100);
        let (to, mut call, sent) = call(&room);
        send(&to, 8).await;
        next(&mut call).await.unwrap();
        let taken = sent.take(8);
        assert_eq!(room.used().0, 8);
        // Who holds nothing may be silent.
        assert!(tokio::time::timeout(10 * SENT_WITHIN, next(&mut call)).await.is_err());
        drop(taken);
        assert_eq!(room.used().0, 0);
        // Bytes that mean nothing do not pile up.
        for _ in 0..5 {
            send(&to, 8).await;
            next(&mut call).await.unwrap();
            drop(sent.take(3));
            assert!(room.used().0 <= 8);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_begun_has_to_come_to_its_end() {
        let room = Room::new(100);
        let (to, mut call, _) = call(&room);
        let began = Instant::now();
        let mut trickle = tokio::task::JoinSet::new();
        trickle.spawn(async move {
            while to.send(Ok(Frame::data(Bytes::from_static(b"7")))).await.is_ok() {
                tokio::time::sleep(Duration::from_secs(7)).await;
            }
        });
        let late = loop {
            if let Err(late) = next(&mut call).await {
                break late;
            }
        };
        assert_eq!((late.code(), began.elapsed().as_secs()), (Code::Aborted, SENT_WITHIN.as_secs()));
        drop(call);
        trickle.join_next().await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_call_that_is_given_up_has_no_end() {
        let room = Room::new(100);
        let (to, mut call, _) = call(&room);
        to.send(Err(Status::cancelled("reset"))).await.unwrap();
        // tonic takes `Cancelled` for the end of what was sent.
        assert_eq!(next(&mut call).await.unwrap_err().code(), Code::Aborted);
    }
}
