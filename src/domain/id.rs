//! Identities: parsed once at the edge, trusted after; and the names of streams.
//!
//! Law: the id of everything we write is made from what caused it (UUIDv5), so a retry is the same event.

use std::fmt;
use std::str::FromStr;

use bytestring::ByteString;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use sha1::{Digest as _, Sha1};
use uuid::{Builder, Uuid};

/// Namespace of the ids of behaviour events: UUIDv5 of `userId NUL client id`.
const BEHAVIOUR: Uuid = Uuid::from_u128(0x6f1d_2a3e_5b0c_4c8e_9a55_1d1f_0a11_0001);
/// Namespace of the ids of events that we decide.
const DECISION: Uuid = Uuid::from_u128(0x6f1d_2a3e_5b0c_4c8e_9a55_1d1f_0a11_0002);

/// Longest user id and longest client event id, in bytes (CONTRACT, An event).
pub const ID_BYTES_MAX: usize = 200;

/// A user's id: 1 to 200 bytes, no control characters, not `*` (which names the market).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct UserId(#[schemars(with = "String", length(min = 1, max = 200))] ByteString);

/// Why a text is no id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadId {
    /// It has no characters.
    #[error("an id needs at least one character")]
    Empty,
    /// It is longer than [`ID_BYTES_MAX`].
    #[error("an id has at most {ID_BYTES_MAX} bytes, this one has {bytes}")]
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// It holds a control character.
    #[error("an id holds no control characters")]
    Control,
    /// It is `*`, which stands for the market.
    #[error("\"*\" names the market, not a user")]
    Market,
}

/// Checks the form that user ids and client event ids share.
///
/// # Errors
/// Names what is wrong with the text.
pub fn check_id(text: &str) -> Result<(), BadId> {
    if text.is_empty() {
        return Err(BadId::Empty);
    }
    if text.len() > ID_BYTES_MAX {
        return Err(BadId::TooLong { bytes: text.len() });
    }
    if text.chars().any(char::is_control) {
        return Err(BadId::Control);
    }
    Ok(())
}

impl UserId {
    /// A user id from a text that shares its buffer.
    ///
    /// # Errors
    /// Names what is wrong with the text.
    pub fn new(text: ByteString) -> Result<Self, BadId> {
        check_id(&text)?;
        if &*text == "*" {
            return Err(BadId::Market);
        }
        Ok(Self(text))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same text in a buffer of its own: for ids that outlive the large block they were read from.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self(ByteString::from(self.as_str()))
    }
}

impl FromStr for UserId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        Self::new(ByteString::from(text))
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for UserId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The id of an event in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct EventId(pub Uuid);

impl EventId {
    /// The id of a behaviour or market event: from the subject (user id or `*`) and the id its sender gave it.
    pub fn of_behaviour(subject: &str, client_id: &str) -> Self {
        Self(v5(BEHAVIOUR, &[subject, client_id]))
    }

    /// The id of a fact about a model at a revision of its stream.
    pub fn of_model(model: &str, event_type: &str, version: &str, revision: u64) -> Self {
        Self(v5(DECISION, &["model", model, event_type, version, &revision.to_string()]))
    }

    /// The id of an event that we write: from the user, what is decided (event type and model or signal), and the cause.
    pub fn of_decision(user: &UserId, event_type: &str, subject: &str, cause: EventId) -> Self {
        let mut cause_text = Uuid::encode_buffer();
        Self(v5(
            DECISION,
            &[user.as_str(), event_type, subject, cause.0.hyphenated().encode_lower(&mut cause_text)],
        ))
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The id of an alert: the id of the `AlertScored` event that opened it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct AlertId(pub Uuid);

impl fmt::Display for AlertId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for AlertId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        text.parse().map(Self)
    }
}

/// UUIDv5 of the parts, each ended by a NUL. Every event has such an id: the hash comes from `sha1`, which asks the processor
/// for it and takes a quarter of the time that `uuid`'s own does.
fn v5(namespace: Uuid, parts: &[&str]) -> Uuid {
    let mut hash = Sha1::new_with_prefix(namespace.as_bytes());
    for part in parts {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(hash.finalize()).for_each(|(to, from)| *to = from);
    Builder::from_sha1_bytes(bytes).into_uuid()
}

/// Stream names and their prefixes.
pub mod stream {
    use super::UserId;

    /// Prefix of the streams of behaviour events.
    pub const USER: &str = "user-";
    /// Prefix of the streams of decisions.
    pub const INTENT: &str = "intent-";
    /// Prefix of the streams of market events.
    pub const MARKET: &str = "market-";
    /// Prefix of the streams of the model registry.
    pub const MODEL: &str = "model-";
    /// The stream that names the log of a cluster.
    pub const STORE: &str = "intentd-store";

    /// The stream of a user's behaviour.
    pub fn user(user: &UserId) -> String {
        format!("{USER}{user}")
    }

    /// The stream of the decisions about a user.
    pub fn intent(user: &UserId) -> String {
        format!("{INTENT}{user}")
    }

    /// The stream of a model.
    pub fn model(name: &str) -> String {
        format!("{MODEL}{name}")
    }

    /// The stream of a market.
    pub fn market(name: &str) -> String {
        format!("{MARKET}{name}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_uuid_version_5() {
        for parts in [&["user-1", "e1"][..], &["ü", "", "x", "0".repeat(200).as_str()]] {
            let name: Vec<u8> = parts.iter().flat_map(|part| [part.as_bytes(), &[0]].concat()).collect();
            assert_eq!(v5(DECISION, parts), Uuid::new_v5(&DECISION, &name));
        }
    }
}
