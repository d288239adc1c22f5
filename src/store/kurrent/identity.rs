//! Which store a cluster is.
//!
//! Law: the first event of the stream `intentd-store` names it, for all who use the cluster; a data directory works with the
//! one that it was made for only. A cluster gets its name from a directory that has none yet, never from one that knows another
//! log. Called when a store is opened, and by `link` for each new connection.

use std::fs;
use std::io;
use std::path::Path;

use kurrentdb::{AppendToStreamOptions, Client, Credentials, EventData, ReadStreamOptions, StreamState};

use crate::domain::event::{STORE_NAMED, StoreNamed};
use crate::domain::id::stream::STORE;
use crate::store::{Error, StoreId, files};

/// So many nodes may say that another one leads, while an election is going on.
const LEADERS_ASKED: u32 = 5;

/// The cluster's name; `ours` becomes it when it has none yet.
pub(super) async fn name(
    client: &Client,
    credentials: Option<&Credentials>,
    ours: StoreId,
) -> kurrentdb::Result<StoreId> {
    let mut options = AppendToStreamOptions::default().stream_state(StreamState::NoStream);
    if let Some(credentials) = credentials {
        options = options.authenticated(credentials.clone());
    }
    // Twice: somebody else may name it between the look and the append.
    for _ in 0..2 {
        if let Some(theirs) = look(client, credentials).await? {
            return Ok(theirs);
        }
        let event = EventData::json(STORE_NAMED, &StoreNamed { id: ours.0 })
            .map_err(|error| kurrentdb::Error::InternalParsingError(error.to_string()))?;
        match client.append_to_stream(STORE, &options, event.id(ours.0)).await {
            Ok(_) => return Ok(ours),
            Err(kurrentdb::Error::WrongExpectedVersion { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Err(kurrentdb::Error::IllegalStateError(format!("{STORE} is there and cannot be read")))
}

/// The cluster's name, if it has one. A node that does not lead is asked again: the client goes to the one that does.
pub(super) async fn look(
    client: &Client,
    credentials: Option<&Credentials>,
) -> kurrentdb::Result<Option<StoreId>> {
    let mut options = ReadStreamOptions::default().max_count(1);
    if let Some(credentials) = credentials {
        options = options.authenticated(credentials.clone());
    }
    let mut asked = 0;
    loop {
        asked += 1;
        match read(client, &options).await {
            Err(kurrentdb::Error::ResourceNotFound) => return Ok(None),
            Err(kurrentdb::Error::NotLeaderException(_)) if asked < LEADERS_ASKED => {}
            read => return read,
        }
    }
}

async fn read(client: &Client, options: &ReadStreamOptions) -> kurrentdb::Result<Option<StoreId>> {
    let first = client.read_stream(STORE, options).await?.next().await?;
    let named = first.and_then(|event| event.get_original_event().as_json::<StoreNamed>().ok());
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
