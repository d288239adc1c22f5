//! `[wire]`: whether and where the protocol is spoken, and what bounds it.
//!
//! Law: off unless an address is given; each bound has a default and its reason here. Called by `config` and [`super`].

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// An address to listen on, or none: the empty text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Listen(pub Option<SocketAddr>);

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |address| address.fmt(f))
    }
}

impl From<Listen> for String {
    fn from(listen: Listen) -> Self {
        listen.to_string()
    }
}

impl TryFrom<String> for Listen {
    type Error = <SocketAddr as FromStr>::Err;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.is_empty() { Ok(Self(None)) } else { text.parse().map(|address| Self(Some(address))) }
    }
}

/// `[wire]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Where it listens; empty: the protocol is not spoken.
    pub listen: Listen,
    /// `host:port` under which clients that look for the leader reach us; empty: where it listens, unless that is every
    /// address.
    pub advertise: String,
    /// A PEM file with the certificate and its chain; empty: no TLS.
    pub certificate: String,
    /// A PEM file with the certificate's key.
    pub key: String,
    /// A file with a line `user:role:password` for each who may call (roles: read, write, admin), readable by its owner
    /// only; empty: everybody may do everything.
    pub users: String,
    /// Threads of its own: however many clients there are, they take no more of the machine than this from the daemon.
    pub threads: usize,
    /// Open connections; more wait in the kernel's queue.
    pub connections_max: usize,
    /// Calls under way on one connection; a client with more waits.
    pub streams_max: u32,
    /// Running subscriptions, over all connections; more are refused.
    pub subscriptions_max: usize,
    /// Persistent subscriptions; more are refused. One at work holds some 16 MiB of events at worst.
    pub groups_max: usize,
    /// Reads under way, over all connections; more are refused.
    pub reads_max: usize,
    /// Bytes of one message that a client may send.
    pub message_bytes_max: usize,
    /// Bytes of one append.
    pub append_bytes_max: usize,
    /// Bytes that all clients together may have sent and that are not written yet; more wait, then are refused.
    pub sent_bytes_max: usize,
    /// Appends under way on one batch stream; the client waits with more.
    pub batches_max: usize,
    /// A reader or subscriber that takes nothing for so long is cut off.
    #[serde(with = "humantime_serde")]
    pub slow_after: Duration,
    /// How long a stop waits for calls under way.
    #[serde(with = "humantime_serde")]
    pub stop_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: Listen(None),
            advertise: String::new(),
            certificate: String::new(),
            key: String::new(),
            users: String::new(),
            threads: 1,
            // One client program holds one or two.
            connections_max: 256,
            streams_max: 512,
            // An idle one costs about 20 KiB.
            subscriptions_max: 16_384,
            groups_max: 64,
            // Each holds one page of some 256 KiB, 16 MiB at worst.
            reads_max: 64,
            // The largest that the clients themselves take.
            message_bytes_max: 17 << 20,
            append_bytes_max: 16 << 20,
            // Four of the largest appends; one more may go beyond.
            sent_bytes_max: 64 << 20,
            batches_max: 256,
            slow_after: Duration::from_secs(20),
            stop_timeout: Duration::from_secs(5),
        }
    }
}

/// Bounds beyond this are typing errors.
const COUNT_MAX: usize = 1_000_000;

impl Options {
    /// What is wrong with these options: key and message.
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        for (key, count) in [
            ("wire.threads", self.threads),
            ("wire.connections_max", self.connections_max),
            ("wire.streams_max", self.streams_max as usize),
            ("wire.subscriptions_max", self.subscriptions_max),
            ("wire.groups_max", self.groups_max),
            ("wire.reads_max", self.reads_max),
            ("wire.batches_max", self.batches_max),
        ] {
            if !(1..=COUNT_MAX).contains(&count) {
                faults.push((key, format!("must be 1 to {COUNT_MAX}, is {count}")));
            }
        }
        for (key, bytes) in [
            ("wire.message_bytes_max", self.message_bytes_max),
            ("wire.append_bytes_max", self.append_bytes_max),
            ("wire.sent_bytes_max", self.sent_bytes_max),
        ] {
            if !(1024..=1 << 30).contains(&bytes) {
                faults.push((key, format!("must be 1 KiB to 1 GiB, is {bytes}")));
            }
        }
        if self.slow_after < Duration::from_millis(100) {
            faults.push(("wire.slow_after", "must be at least \"100ms\"".to_owned()));
        }
        if let Some(address) = self.listen.0
            && !address.ip().is_loopback()
            && (self.certificate.is_empty() || self.users.is_empty())
        {
            let message = "must be a loopback address such as 127.0.0.1:2113, unless wire.certificate, wire.key and \
                           wire.users are set";
            faults.push(("wire.listen", message.to_owned()));
        }
        if self.certificate.is_empty() != self.key.is_empty() {
            faults.push(("wire.key", "goes with wire.certificate: both or none".to_owned()));
        }
        if !self.users.is_empty() && self.certificate.is_empty() {
            // Passwords would go over the wire as they are, and two of the three clients do not send them without TLS.
            faults.push(("wire.users", "needs wire.certificate and wire.key".to_owned()));
        }
        if !self.advertise.is_empty() && super::gossip::end_point(&self.advertise).is_none() {
            let message = "must be host:port (an IPv6 address in brackets), or empty";
            faults.push(("wire.advertise", message.to_owned()));
        }
        if let Some(address) = self.listen.0
            && address.ip().is_unspecified()
            && self.advertise.is_empty()
        {
            let message =
                format!("must be the host:port that clients reach: they cannot connect to {address}");
            faults.push(("wire.advertise", message));
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_have_no_fault_and_nonsense_is_named() {
        assert!(Options::default().faults().is_empty());
        let listen = |text: &str| Listen::try_from(text.to_owned()).unwrap();
        let keys = |options: Options| options.faults().into_iter().map(|(key, _)| key).collect::<Vec<_>>();
        assert!(keys(Options { listen: listen("[::1]:2113"), ..Options::default() }).is_empty());
        let wrong = Options { listen: listen("0.0.0.0:2113"), reads_max: 0, ..Options::default() };
        assert_eq!(keys(wrong), ["wire.reads_max", "wire.listen", "wire.advertise"]);
        let secured = |users: &str| Options {
            listen: listen("0.0.0.0:2113"),
            advertise: "[::1]:2113".to_owned(),
            certificate: "c.pem".to_owned(),
            key: "k.pem".to_owned(),
            users: users.to_owned(),
            ..Options::default()
        };
        assert!(keys(secured("users")).is_empty());
        assert_eq!(keys(secured("")), ["wire.listen"]);
        let nowhere = Options { advertise: String::new(), ..secured("users") };
        assert_eq!(keys(nowhere), ["wire.advertise"], "nobody reaches 0.0.0.0");
        assert_eq!(
            keys(Options { key: "k".to_owned(), users: "u".to_owned(), ..Options::default() }),
            ["wire.key", "wire.users"]
        );
        assert_eq!(keys(Options { advertise: "host".to_owned(), ..Options::default() }), ["wire.advertise"]);
        assert!(Listen::try_from("nowhere".to_owned()).is_err());
        assert_eq!(String::from(listen("")), "");
    }
}
