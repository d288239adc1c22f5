//! How long reads take beside 200,000 alerts: run by hand, `cargo test --test it measure -- --ignored --nocapture`.

use std::time::Instant;

use bytes::Bytes;
use intentd::domain::alert::Status;
use intentd::domain::event::*;
use intentd::domain::id::{AlertId, EventId, UserId};
use intentd::domain::policy::Priority;
use intentd::domain::shard::Shard;
use intentd::domain::time::Timestamp;
use intentd::projection::{AlertQuery, Sort, Views};
use uuid::Uuid;

use super::given::{self, MODELS, PRIORITIES, Step};
use super::open;

const ALERTS: u64 = 200_000;
const USERS: u64 = 40_000;

fn user_of(number: u64) -> UserId {
    format!("user-{}", number.wrapping_mul(2_654_435_761) % USERS).parse().unwrap()
}

fn recorded(position: u64, user: &UserId, fact_type: &'static str, id: Uuid, data: Vec<u8>) -> Recorded {
    Recorded {
        id: EventId(id),
        stream: format!("intent-{user}").into(),
        revision: 0,
        position: Position(position),
        event_type: fact_type.into(),
        data: Bytes::from(data),
        metadata: Bytes::new(),
        recorded_at: Timestamp::from_millis(1_767_225_600_000),
    }
}

/// An alert with forty features; every second one is acknowledged, every hundredth snoozed.
fn facts(number: u64) -> Vec<Recorded> {
    let user = user_of(number);
    let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, &number.to_le_bytes());
    let seed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes();
    let mut scoring = given::scoring(Step { kind: 0, user: 0, a: seed[0], b: seed[1], day: 0 });
    scoring.features = (0..40u8)
        .map(|at| Reason {
            name: format!("feature_with_a_usual_name_{at}"),
            value: f32::from(seed[usize::from(at % 8)]) / 3.0,
            contribution: f32::from(seed[usize::from(at % 7)].rotate_left(u32::from(at))) / 255.0,
        })
        .collect();
    scoring.probability = 0.5 + f32::from(u16::from_be_bytes([seed[2], seed[3]])) / 131_072.0;
    let scored_at = Timestamp::from_millis(1_767_225_600_000 + i64::try_from(number).unwrap() * 60_000);
    let cause = Cause { event_id: EventId(id), revision: number };
    let alert = AlertScored {
        alert_id: AlertId(id),
        user_id: user.clone(),
        model_type: MODELS[usize::from(seed[4] % 3)].to_owned(),
        priority: PRIORITIES[usize::from(seed[5] % 4)],
        threshold: 0.5,
        scored_at,
        expires_at: scored_at,
        scoring,
        signals: Vec::new(),
        cause,
    };
    let mut facts = vec![recorded(number * 2, &user, "AlertScored", id, serde_json::to_vec(&alert).unwrap())];
    if number.is_multiple_of(2) || number % 100 == 1 {
        let moved = AlertStatusChanged {
            alert_id: AlertId(id),
            user_id: user.clone(),
            model_type: alert.model_type,
            from: Status::Pending,
            status: if number.is_multiple_of(2) { Status::Acknowledged } else { Status::Snoozed },
            at: scored_at,
            as_of: scored_at,
            by: "api".to_owned(),
            note: None,
            snooze_until: None,
        };
        let data = serde_json::to_vec(&moved).unwrap();
        facts.push(recorded(number * 2 + 1, &user, "AlertStatusChanged", Uuid::nil(), data));
    }
    facts
}

fn signal(number: u64) -> Recorded {
    let user = user_of(number);
    let id = Uuid::new_v5(&Uuid::NAMESPACE_URL, &number.to_le_bytes());
    let detected_at = Timestamp::from_millis(1_767_225_600_000 + i64::try_from(number).unwrap() * 1_000);
    let fact = SignalDetected {
        user_id: user.clone(),
        signal: "valuation_burst".to_owned(),
        category: "valuation".to_owned(),
        strength: 0.7,
        detected_at,
        expires_at: detected_at,
        models: vec!["SELL".to_owned(), "BUY".to_owned()],
        cause: Cause { event_id: EventId(id), revision: number },
        features: vec![NamedValue { name: "valuations_7d".to_owned(), value: 3.0 }],
        catalog_version: "0123456789abcdef".to_owned(),
    };
    recorded(ALERTS * 2 + number, &user, "SignalDetected", id, serde_json::to_vec(&fact).unwrap())
}

/// Milliseconds at the 50th and 99th percentile.
fn time(name: &str, rounds: u64, mut query: impl FnMut(u64)) -> (f64, f64) {
    let mut took: Vec<f64> = (0..rounds)
        .map(|round| {
            let start = Instant::now();
            query(round);
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    took.sort_by(f64::total_cmp);
    let (p50, p99) = (took[took.len() / 2], took[took.len() * 99 / 100]);
    println!("{name:<44} p50 {p50:8.3} ms   p99 {p99:8.3} ms");
    (p50, p99)
}

#[test]
#[ignore = "a measurement of half a minute; its bounds are ten times what a quiet machine needs"]
fn reads_stay_fast_beside_200_000_alerts() {
    let folder = tempfile::tempdir().unwrap();
    let mut projection = open(folder.path());
    let mut spent = 0.0;
    let mut written = 0;
    for first in (0..ALERTS).step_by(500) {
        let batch: Vec<_> = (first..first + 500).flat_map(facts).collect();
        let start = Instant::now();
        projection.apply(&batch, batch[batch.len() - 1].position).unwrap();
        spent += start.elapsed().as_secs_f64();
        written += batch.len();
    }
    let bytes = std::fs::metadata(folder.path().join("p.sqlite")).unwrap().len();
    println!("{written} facts at {:.0}/s; file of {} MB", written as f64 / spent, bytes >> 20);
    let signals: Vec<_> = (0..100_000).map(signal).collect();
    let start = Instant::now();
    for batch in signals.chunks(500) {
        projection.apply(batch, batch[batch.len() - 1].position).unwrap();
    }
    println!("{} signals at {:.0}/s", signals.len(), signals.len() as f64 / start.elapsed().as_secs_f64());
    let reader = projection.reader();
    let all = AlertQuery { limit: 50, ..AlertQuery::default() };
    let ask = |query: &AlertQuery| reader.alerts(query).unwrap().items.len();
    let (_, newest) = time("a user's newest 50", 2_000, |round| {
        ask(&AlertQuery { user: Some(user_of(round * 7)), ..all.clone() });
    });
    time("newest 50 of all", 500, |_| assert_eq!(ask(&all), 50));
    let snoozed = AlertQuery { status: vec![Status::Snoozed], ..all.clone() };
    let (_, state) = time("status SNOOZED (1 %)", 500, |_| assert_eq!(ask(&snoozed), 50));
    let rare = AlertQuery { status: vec![Status::Dismissed], ..all.clone() };
    time("status DISMISSED (none)", 500, |_| assert_eq!(ask(&rare), 0));
    for (name, sort) in
        [("-priority", Sort::PriorityDescending), ("-calibratedScore", Sort::CalibratedScoreDescending)]
    {
        let query = AlertQuery { sort, status: vec![Status::Pending], ..all.clone() };
        time(&format!("status PENDING sort {name}"), 500, |_| assert_eq!(ask(&query), 50));
        time(&format!("sort {name}"), 500, |_| assert_eq!(ask(&AlertQuery { sort, ..all.clone() }), 50));
    }
    let narrow = AlertQuery { priority: vec![Priority::High], model_type: vec!["BUY".into()], ..all.clone() };
    time("priority HIGH, model BUY", 500, |_| assert_eq!(ask(&narrow), 50));
    let model = AlertQuery { model_type: vec!["SELL".into()], ..all.clone() };
    time("model SELL", 500, |_| assert_eq!(ask(&model), 50));
    time("text, common", 20, |_| {
        assert_eq!(ask(&AlertQuery { text: Some("user-1".into()), ..all.clone() }), 50)
    });
    time("text, one user", 20, |_| {
        ask(&AlertQuery { text: Some(user_of(9).as_str().to_owned()), ..all.clone() });
    });
    time("text, none", 20, |_| assert_eq!(ask(&AlertQuery { text: Some("zebra".into()), ..all.clone() }), 0));
    time("stats, all", 10, |_| assert_eq!(reader.stats(None, None).unwrap().total, ALERTS));
    let week = Timestamp::from_millis(1_767_225_600_000 + 132 * 86_400_000);
    time("stats, the last week", 50, |_| assert!(reader.stats(Some(week), None).unwrap().total > 5_000));
    time("due, 1000", 50, |_| {
        assert_eq!(reader.due(Timestamp::MAX, 1_000, Shard::WHOLE).unwrap().len(), 1_000)
    });
    time("one alert whole", 500, |round| {
        let id = AlertId(Uuid::new_v5(&Uuid::NAMESPACE_OID, &(round * 311).to_le_bytes()));
        assert!(reader.alert(id).unwrap().is_some());
    });
    time("50 changes", 500, |round| {
        assert_eq!(reader.changes(Position(round * 500), 50).unwrap().len(), 50);
    });
    assert!(newest < 10.0 && state < 20.0, "{newest} {state}");
}
