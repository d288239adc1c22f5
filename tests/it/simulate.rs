//! The simulated log is one that the shipped catalogue takes whole, and its conversions happen as often as its truth says.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use intentd::domain::catalog::Catalog;
use intentd::domain::codec::check_ingest;
use intentd::domain::time::{DAY_MS, Timestamp};
use intentd::simulate::truth::{self, Piece};
use intentd::simulate::{self, Options};

fn until() -> Timestamp {
    "2026-07-01T00:00:00Z".parse().unwrap()
}

fn options(users: u32, events_per_user: f64) -> Options {
    Options { seed: 3, users, days: 365, until: until(), events_per_user, events_max: None }
}

#[test]
fn every_simulated_event_passes_the_door() {
    let text = std::fs::read_to_string("config/catalog.toml").unwrap();
    let catalog = Catalog::load(&text, "config/catalog.toml").unwrap();
    let mut log = Vec::new();
    let summary = simulate::write(&options(300, 40.0), &mut log).unwrap();
    assert!(summary.events > 5_000 && summary.conversions > 10, "{summary:?}");
    for line in Bytes::from(log).split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        if let Err(faults) = check_ingest(&catalog, &Bytes::copy_from_slice(line), until(), Duration::ZERO) {
            panic!("{}: {faults:?}", String::from_utf8_lossy(line));
        }
    }
}

/// Who, for which model.
type Who = (String, String);

/// When each user converted for each model, as the log says.
fn conversions(options: &Options) -> HashMap<Who, Timestamp> {
    let mut log = Vec::new();
    simulate::write(options, &mut log).unwrap();
    let mut found = HashMap::new();
    for line in log.split(|byte| *byte == b'\n') {
        if memchr::memmem::find(line, b"ConversionRecorded").is_none() {
            continue;
        }
        let event: serde_json::Value = serde_json::from_slice(line).unwrap();
        let text = |key: &str| event[key].as_str().unwrap().to_owned();
        let before = found.insert((text("userId"), text("modelType")), text("occurredAt").parse().unwrap());
        assert!(before.is_none(), "{} converted twice", text("userId"));
    }
    found
}

/// Hazard of a piece within the days after a moment; none once the user has converted.
fn hazard(piece: &Piece, moment: Timestamp, horizon_days: i64) -> f64 {
    if piece.converted_at.is_some_and(|at| at <= moment) {
        return 0.0;
    }
    let end = moment.millis() + horizon_days * DAY_MS;
    let within = piece.to.millis().min(end) - piece.from.millis().max(moment.millis());
    piece.hazard_per_day * within.max(0) as f64 / DAY_MS as f64
}

/// By tenths of the true probability: how many were expected, with which variance, and how many converted.
type Tenths = [(f64, f64, f64); 10];

/// Holds what happened against the truth with its hazards times `factor`.
fn compare(truth: &HashMap<Who, Vec<Piece>>, happened: &HashMap<Who, Timestamp>, factor: f64) -> Tenths {
    const HORIZON: i64 = 90;
    let mut tenths = Tenths::default();
    // Windows lie apart, so that given the truth their counts are independent.
    for days_before in [270, 180, 91] {
        let moment = Timestamp::from_millis(until().millis() - days_before * DAY_MS);
        for (who, pieces) in truth {
            let sum: f64 = pieces.iter().map(|piece| hazard(piece, moment, HORIZON)).sum();
            let chance = 1.0 - (-sum * factor).exp();
            let converted = happened
                .get(who)
                .is_some_and(|&at| at > moment && at.millis() <= moment.millis() + HORIZON * DAY_MS);
            let tenth = &mut tenths[((chance * 10.0) as usize).min(9)];
            *tenth = (
                tenth.0 + chance,
                tenth.1 + chance * (1.0 - chance),
                tenth.2 + f64::from(u8::from(converted)),
            );
        }
    }
    tenths
}

/// Squared deviations in standard errors, summed: about 10 when the truth is true.
fn chi_square(tenths: &Tenths) -> f64 {
    tenths
        .iter()
        .filter(|tenth| tenth.1 > 0.0)
        .map(|(expected, variance, count)| (count - expected).powi(2) / variance)
        .sum()
}

#[test]
fn conversions_happen_as_often_as_the_truth_says() {
    // The 99.9 % quantile of chi-square with ten degrees of freedom.
    const BOUND: f64 = 29.6;
    let options = options(6_000, 1.0);
    let mut truth: HashMap<Who, Vec<Piece>> = HashMap::new();
    for piece in truth::pieces(&options) {
        truth.entry((piece.user_id.clone(), piece.model.to_owned())).or_default().push(piece);
    }
    let happened = conversions(&options);
    for (who, at) in &happened {
        assert!(truth[who].iter().all(|piece| piece.converted_at == Some(*at)), "{who:?} at {at}");
    }
    let tenths = compare(&truth, &happened, 1.0);
    assert!(tenths.iter().all(|tenth| tenth.0 > 5.0), "too few to say anything: {tenths:?}");
    assert!(chi_square(&tenths) < BOUND, "{}: {tenths:?}", chi_square(&tenths));
    // The measure itself sees a truth that is wrong, above all behaviour drawn with twice the hazard (0.5 here).
    for factor in [0.5, 0.7, 1.5, 2.0] {
        let tenths = compare(&truth, &happened, factor);
        assert!(chi_square(&tenths) > BOUND, "{factor}: {} {tenths:?}", chi_square(&tenths));
    }
}

#[test]
fn the_truth_is_the_same_with_and_without_its_behaviour() {
    let few = Options { events_max: Some(10), ..options(200, 5.0) };
    let written = |options: &Options| {
        let mut out = Vec::new();
        truth::write(options, &mut out).unwrap();
        out
    };
    assert_eq!(written(&few), written(&options(200, 80.0)));
    assert_ne!(written(&few), written(&Options { seed: 4, ..few.clone() }));
}
