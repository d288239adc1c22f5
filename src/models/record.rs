//! `model-<MODEL>` in the log: read and folded, appended to at an exact revision.
//!
//! Law: a fact is folded when it is durable, never before. Another daemon's facts are folded before ours are decided; when it
//! writes at the same moment, ours is refused and the one who asked may ask again.

use super::unavailable;
use crate::commands::models::{Error, ModelFact};
use crate::domain::codec::{decode_model_event, encode_model_event};
use crate::domain::event::{ExpectedRevision, Recorded};
use crate::domain::id::stream;
use crate::domain::model::{ModelEvent, ModelRecord};
use crate::store::{Append, Direction, EventStore};

/// Facts of one page.
const PAGE: usize = 500;

fn decoded(recorded: &Recorded) -> Option<ModelEvent> {
    match decode_model_event(&recorded.event_type, &recorded.data) {
        Ok(event) => event,
        Err(error) => {
            tracing::error!(stream = &*recorded.stream, revision = recorded.revision, %error,
                "a fact about a model cannot be read and is passed over");
            None
        }
    }
}

/// Folds what the log holds behind the record.
pub(super) async fn refresh(
    store: &dyn EventStore,
    model: &str,
    record: &mut ModelRecord,
) -> Result<(), Error> {
    let name = stream::model(model);
    loop {
        let from = Some(record.next_revision());
        let page = store.read_stream(&name, from, Direction::Forwards, PAGE).await;
        let page = page.map_err(|error| unavailable(&error))?;
        for recorded in &page.events {
            if recorded.revision >= record.next_revision() {
                record.apply(decoded(recorded).as_ref());
            }
        }
        if page.next.is_none() {
            return Ok(());
        }
    }
}

/// Appends a fact where the record ends, and folds it.
pub(super) async fn write(
    store: &dyn EventStore,
    model: &str,
    record: &mut ModelRecord,
    event: &ModelEvent,
) -> Result<(), Error> {
    let next = record.next_revision();
    let expected = next.checked_sub(1).map_or(ExpectedRevision::NoStream, ExpectedRevision::Exact);
    let append =
        Append { stream: stream::model(model), expected, events: vec![encode_model_event(event, next)] };
    let answers = store.append(vec![append]).await.map_err(|error| unavailable(&error))?;
    for answer in answers {
        answer.map_err(|conflict| Error::Unavailable {
            reason: format!("{conflict}: another daemon changed the model just now; ask again"),
        })?;
    }
    record.apply(Some(event));
    Ok(())
}

/// The newest facts, newest first.
pub(super) async fn history(
    store: &dyn EventStore,
    model: &str,
    limit: usize,
) -> Result<Vec<ModelFact>, Error> {
    let page = store.read_stream(&stream::model(model), None, Direction::Backwards, limit).await;
    let page = page.map_err(|error| unavailable(&error))?;
    let fact = |recorded: &Recorded| {
        Some(ModelFact { id: recorded.id, revision: recorded.revision, event: decoded(recorded)? })
    };
    Ok(page.events.iter().filter_map(fact).collect())
}
