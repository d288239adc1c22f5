//! `[http]`: where the API listens and what bounds it.
//!
//! Law: each bound has a default and its reason here; a value that makes no sense is named by [`Options::faults`].

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Most permits that a semaphore holds with room to spare; bounds beyond it are typing errors.
const COUNT_MAX: usize = 1_000_000;

/// `[http]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Where it listens, unless systemd hands a socket over. Loopback: the API knows no users and no passwords, so what
    /// stands before it must.
    pub listen: SocketAddr,
    /// Open connections; more wait in the kernel's queue. Each costs a socket and up to 64 KiB of buffers.
    pub connections_max: usize,
    /// From the first wait for a request to the end of its head; also how long a kept connection may idle.
    #[serde(with = "humantime_serde")]
    pub head_timeout: Duration,
    /// From the head to the last byte of the body.
    #[serde(with = "humantime_serde")]
    pub body_timeout: Duration,
    /// From the head to the answer's head. Longer than `body_timeout`; `process-signals` scores up to 1,000 users in it.
    #[serde(with = "humantime_serde")]
    pub request_timeout: Duration,
    /// How long a client may take no byte of an answer before it is cut off.
    #[serde(with = "humantime_serde")]
    pub write_timeout: Duration,
    /// How long a graceful stop waits for answers under way.
    #[serde(with = "humantime_serde")]
    pub stop_timeout: Duration,
    /// Bytes of a `POST /events` body: 10,000 events of 1.6 KiB.
    pub events_body_max: usize,
    /// Bytes of one event: blocks of the log are read whole, so one event may not fill one.
    pub event_max: usize,
    /// Bytes of any other body: 1,000 user ids of 200 bytes and their quotes.
    pub body_max: usize,
    /// MiB of bodies in memory at once, over all requests; more is refused with 503.
    pub bodies_mib_max: usize,
    /// Threads that read the projection at once: more only queue on the disk.
    pub queries_max: usize,
    /// Threads that parse large bodies at once: one per core leaves the others to scoring.
    pub parses_max: usize,
    /// Open event streams; each holds a connection for good.
    pub streams_max: usize,
    /// After this long without a change a stream gets a comment, so that proxies keep it.
    #[serde(with = "humantime_serde")]
    pub keep_alive: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080),
            connections_max: 1_024,
            head_timeout: Duration::from_secs(15),
            body_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(20),
            stop_timeout: Duration::from_secs(10),
            events_body_max: 16 << 20,
            event_max: 64 << 10,
            body_max: 256 << 10,
            bodies_mib_max: 128,
            queries_max: 8,
            parses_max: 2,
            streams_max: 256,
            keep_alive: Duration::from_secs(15),
        }
    }
}

impl Options {
    /// What is wrong with these options: key and message.
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        for (key, count) in [
            ("http.connections_max", self.connections_max),
            ("http.queries_max", self.queries_max),
            ("http.parses_max", self.parses_max),
            ("http.streams_max", self.streams_max),
            ("http.bodies_mib_max", self.bodies_mib_max),
        ] {
            if !(1..=COUNT_MAX).contains(&count) {
                faults.push((key, format!("must be 1 to {COUNT_MAX}, is {count}")));
            }
        }
        for (key, span) in [
            ("http.head_timeout", self.head_timeout),
            ("http.body_timeout", self.body_timeout),
            ("http.request_timeout", self.request_timeout),
            ("http.write_timeout", self.write_timeout),
            ("http.keep_alive", self.keep_alive),
        ] {
            if span.is_zero() {
                faults.push((key, "must be longer than nothing, such as \"15s\"".to_owned()));
            }
        }
        if self.request_timeout <= self.body_timeout {
            faults.push(("http.request_timeout", "must be longer than http.body_timeout".to_owned()));
        }
        if self.keep_alive >= self.write_timeout {
            faults.push((
                "http.write_timeout",
                "must be longer than http.keep_alive, or quiet streams are never seen to stall".to_owned(),
            ));
        }
        if self.streams_max >= self.connections_max {
            faults.push((
                "http.streams_max",
                "must be below http.connections_max, or streams take every connection".to_owned(),
            ));
        }
        if self.events_body_max.max(self.body_max) > self.bodies_mib_max.saturating_mul(1 << 20) {
            faults.push(("http.bodies_mib_max", "must hold at least one largest body".to_owned()));
        }
        if self.event_max == 0 || self.event_max > self.events_body_max {
            faults.push(("http.event_max", "must be 1 to http.events_body_max".to_owned()));
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
        let wrong = Options { streams_max: 0, request_timeout: Duration::from_secs(1), ..Options::default() };
        let keys: Vec<_> = wrong.faults().into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["http.streams_max", "http.request_timeout"]);
    }
}
