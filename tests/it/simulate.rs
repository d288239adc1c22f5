//! The simulated log is one that the shipped catalogue takes whole.

use std::time::Duration;

use bytes::Bytes;
use intentd::domain::catalog::Catalog;
use intentd::domain::codec::check_ingest;
use intentd::domain::time::Timestamp;
use intentd::simulate::{self, Options};

#[test]
fn every_simulated_event_passes_the_door() {
    let text = std::fs::read_to_string("config/catalog.toml").unwrap();
    let catalog = Catalog::load(&text, "config/catalog.toml").unwrap();
    let until: Timestamp = "2026-07-01T00:00:00Z".parse().unwrap();
    let options = Options { seed: 3, users: 300, days: 365, until, events_per_user: 40.0, events_max: None };
    let mut log = Vec::new();
    let summary = simulate::write(&options, &mut log).unwrap();
    assert!(summary.events > 5_000 && summary.conversions > 10, "{summary:?}");
    for line in Bytes::from(log).split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        if let Err(faults) = check_ingest(&catalog, &Bytes::copy_from_slice(line), until, Duration::ZERO) {
            panic!("{}: {faults:?}", String::from_utf8_lossy(line));
        }
    }
}
