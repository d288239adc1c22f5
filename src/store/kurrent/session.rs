//! The batch session that appends go out on, and what its answers mean.
//!
//! Law: one session at a time, so that appends arrive in the order in which they were sent; the client ends it after any
//! failure, and then a new one is opened. Called by `flight`.

use std::pin::Pin;
use std::sync::Arc;

use kurrentdb::{BatchAppendClient, BatchAppendOptions};

use super::Shared;
use super::convert::{Fault, INVALID_ARGUMENT, fault, proposed, state, unavailable};
use super::link::Generation;
use crate::domain::event::{ExpectedRevision, NewEvent, Position};
use crate::store::Error;

/// What the client says of a session that was ended by the failure of another append.
const CLOSED: &str = "Batch-append stream has been closed";

/// An open session.
pub(super) struct Session {
    client: BatchAppendClient,
    pub(super) generation: Generation,
}

/// An append on its way: the number it was given, and its answer.
pub(super) type Flying = Pin<Box<dyn Future<Output = (u64, Heard)> + Send>>;

/// What an answer means.
pub(super) enum Heard {
    /// It stands, its last event here.
    Written(Option<Position>),
    /// The stream does not end there.
    Conflict,
    /// The server does not take it, from this client or at all.
    Refused(Error),
    /// The session was ended by somebody else's failure.
    Broken,
    /// The server could not do it; it may be done all the same.
    NotNow(String),
    /// The connection is of no use any more.
    Lost(String),
}

impl Session {
    pub(super) async fn open(shared: &Shared) -> Result<Arc<Self>, Error> {
        let (generation, client) = shared.link.client().await?;
        match client.batch_append(&signed!(shared.link, BatchAppendOptions::default())).await {
            Ok(client) => Ok(Arc::new(Self { client, generation })),
            Err(error) => {
                let trouble = error.to_string();
                shared.link.lost(generation, &trouble).await;
                Err(unavailable(trouble))
            }
        }
    }

    /// An append that goes out when it is first polled.
    pub(super) fn send(
        self: &Arc<Self>,
        number: u64,
        stream: String,
        expected: ExpectedRevision,
        events: &[NewEvent],
    ) -> Flying {
        let (session, events) = (Arc::clone(self), events.iter().map(proposed).collect());
        Box::pin(async move {
            let answer = session.client.append_to_stream(stream, state(expected), events).await;
            (number, hear(answer))
        })
    }
}

fn hear(answer: kurrentdb::Result<kurrentdb::BatchWriteResult>) -> Heard {
    use kurrentdb::Error as Said;
    let invalid = |reason| Heard::Refused(Error::Invalid { reason });
    match answer {
        Ok(done) => Heard::Written(done.current_position().map(|at| Position(at.commit))),
        Err(Said::Grpc { message, .. }) if message == "WrongExpectedVersion" => Heard::Conflict,
        Err(Said::Grpc { code, message }) if i32::from(code) == INVALID_ARGUMENT => invalid(message),
        Err(Said::Grpc { message, .. }) if message == "StreamDeleted" => {
            invalid("the stream is closed for ever".to_owned())
        }
        // Rights may be given.
        Err(Said::Grpc { message, .. }) if message == "AccessDenied" => {
            Heard::Refused(unavailable("the cluster denies the append to this user"))
        }
        Err(Said::ServerError(text)) if text.contains(CLOSED) => Heard::Broken,
        Err(error) => match fault(&error) {
            Fault::Lost(trouble) => Heard::Lost(trouble),
            Fault::NotNow(trouble) => Heard::NotNow(trouble),
            Fault::NotFound => Heard::NotNow(error.to_string()),
            Fault::Refused(reason) => invalid(reason),
        },
    }
}
