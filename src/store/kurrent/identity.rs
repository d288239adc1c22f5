//! Which store a cluster is.
//!
//! Law: the first event of the stream `intentd-store` names it, for all who use the cluster; a data directory works with the
//! one that it was made for only. Called when a store is opened, and by `link` for each new connection.

use std::fs;
use std::io;
use std::path::Path;

use kurrentdb::{AppendToStreamOptions, Client, Credentials, EventData, ReadStreamOptions, StreamState};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::store::{Error, StoreId, files};

/// The stream that names the store.
const STREAM: &str = "intentd-store";
/// Type of its one event.
const TYPE: &str = "StoreNamed";

#[derive(Serialize, Deserialize)]
struct Named {
    id: Uuid,
}

/// The cluster's name; `ours` becomes it when it has none yet.
pub(super) async fn name(
    client: &Client,
    credentials: Option<&Credentials>,
    ours: StoreId,
) -> kurrentdb::Result<StoreId> {
    let mut options = ReadStreamOptions::default().max_count(1);
    let mut append = AppendToStreamOptions::default().stream_state(StreamState::NoStream);
    if let Some(credentials) = credentials {
        options = options.authenticated(credentials.clone());
        append = append.authenticated(credentials.clone());
    }
    // Twice: somebody else may name it between the look and the append.
    for _ in 0..2 {
        match read(client, &options).await {
            Ok(Some(id)) => return Ok(id),
            Ok(None) | Err(kurrentdb::Error::ResourceNotFound) => {}
            Err(error) => return Err(error),
        }
        let event = EventData::json(TYPE, &Named { id: ours.0 })
            .map_err(|error| kurrentdb::Error::InternalParsingError(error.to_string()))?;
        match client.append_to_stream(STREAM, &append, event.id(ours.0)).await {
            Ok(_) => return Ok(ours),
            Err(kurrentdb::Error::WrongExpectedVersion { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Err(kurrentdb::Error::IllegalStateError(format!("{STREAM} is there and cannot be read")))
}

async fn read(client: &Client, options: &ReadStreamOptions) -> kurrentdb::Result<Option<StoreId>> {
    let first = client.read_stream(STREAM, options).await?.next().await?;
    let named = first.and_then(|event| event.get_original_event().as_json::<Named>().ok());
    Ok(named.map(|named| StoreId(named.id)))
}

/// What a data directory was made for.
pub(super) fn kept(file: &Path) -> Result<Option<StoreId>, Error> {
    match fs::read_to_string(file) {
        Ok(text) => match text.trim().parse() {
            Ok(id) => Ok(Some(StoreId(id))),
            Err(_) => Err(Error::Invalid {
                reason: format!(
                    "{} holds no id; `intentd rebuild` makes it and what is derived anew",
                    file.display()
                ),
            }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(refused("read", file, error)),
    }
}

/// Keeps it.
pub(super) fn keep(file: &Path, id: StoreId) -> Result<(), Error> {
    files::replace(file, format!("{id}\n").as_bytes()).map_err(|error| refused("write", file, error))
}

fn refused(action: &str, file: &Path, error: io::Error) -> Error {
    Error::Unavailable { reason: format!("cannot {action} {}", file.display()), source: Some(error) }
}
