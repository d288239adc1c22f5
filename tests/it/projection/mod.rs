//! The projection against a naive model: same answers, whatever the batches, the restarts and the repeats.

mod given;
mod measure;
mod naive;
mod performance;
mod unusual;

use std::collections::HashSet;
use std::path::Path;

use given::{Log, STATUSES, at, log, steps, user};
use intentd::domain::alert::{Outcome, Status};
use intentd::domain::event::{Position, Recorded};
use intentd::domain::policy::Priority;
use intentd::domain::shard::Shard;
use intentd::domain::time::Timestamp;
use intentd::projection::sqlite::{Options, Projection, Reader};
use intentd::projection::{AlertQuery, AlertView, Error, Listed, Sort, Views};
use intentd::store::StoreId;
use proptest::prelude::*;
use uuid::Uuid;

const STORE: StoreId = StoreId(Uuid::from_u128(7));
const SORTS: [Sort; 3] =
    [Sort::ScoredAtDescending, Sort::PriorityDescending, Sort::CalibratedScoreDescending];

/// A catalogue's word: views are how people sell.
fn options() -> Options {
    let conversion_events = vec![("LISTING_VIEWED".to_owned(), vec!["SELL".to_owned()])];
    Options { conversion_events, ..Options::default() }
}

fn open(folder: &Path) -> Projection {
    Projection::open(folder.join("p.sqlite"), STORE, options()).unwrap()
}

fn apply(projection: &mut Projection, events: &[Recorded]) {
    if let Some(last) = events.last() {
        projection.apply(events, last.position).unwrap();
    }
    assert_eq!(projection.take_unreadable(), []);
}

fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap()
}

/// Follows the cursors to the end.
fn pages<T>(mut page: impl FnMut(Option<String>) -> Listed<T>) -> Vec<T> {
    let mut all = Vec::new();
    let mut cursor = None;
    loop {
        let listed = page(cursor.take());
        all.extend(listed.items);
        assert!(all.len() < 10_000, "the cursors go round in circles");
        cursor = listed.next_cursor;
        if cursor.is_none() {
            return all;
        }
    }
}

fn walk(reader: &Reader, query: &AlertQuery) -> Vec<AlertView> {
    pages(|cursor| {
        let page = reader.alerts(&AlertQuery { cursor, ..query.clone() }).unwrap();
        assert!(page.items.len() <= query.limit);
        page
    })
}

fn queries() -> Vec<AlertQuery> {
    let all = AlertQuery { limit: 3, ..AlertQuery::default() };
    let mut queries = Vec::new();
    for sort in SORTS {
        let all = AlertQuery { sort, ..all.clone() };
        let pending = vec![Status::Pending, Status::Snoozed];
        let urgent = vec![Priority::High, Priority::Critical];
        queries.extend([
            all.clone(),
            AlertQuery { limit: 1, ..all.clone() },
            AlertQuery { user: Some(user(1)), ..all.clone() },
            AlertQuery { user: Some("nobody".parse().unwrap()), ..all.clone() },
            AlertQuery { user: Some(user(0)), status: pending.clone(), from: Some(at(1)), ..all.clone() },
            AlertQuery { status: pending.clone(), ..all.clone() },
            AlertQuery { priority: urgent.clone(), to: Some(at(3)), ..all.clone() },
            AlertQuery { status: pending, priority: urgent, ..all.clone() },
            AlertQuery { model_type: vec!["BUY".into(), "SELL".into()], ..all.clone() },
            AlertQuery { model_type: vec!["NONE".into()], ..all.clone() },
            AlertQuery { min_confidence: Some(3.0 / 8.1), ..all.clone() },
            AlertQuery { outcome: Some(Outcome::TruePositive), ..all.clone() },
            AlertQuery { from: Some(at(1)), to: Some(at(3)), ..all.clone() },
            AlertQuery { text: Some("USER-2_X%".into()), ..all.clone() },
            AlertQuery { text: Some("%".into()), ..all.clone() },
            AlertQuery { text: Some("user_".into()), ..all.clone() },
            AlertQuery { text: Some("er-1".into()), ..all.clone() },
            AlertQuery { text: Some("SER-2".into()), priority: vec![Priority::Low], ..all.clone() },
            AlertQuery { text: Some("-2".into()), user: Some(user(2)), from: Some(at(1)), ..all.clone() },
            AlertQuery { text: Some("no such user".into()), ..all.clone() },
            AlertQuery { text: Some("\"".into()), ..all.clone() },
            AlertQuery { text: Some("a\" OR b".into()), ..all.clone() },
            AlertQuery { text: Some("ure_7".into()), status: vec![Status::Pending], ..all.clone() },
        ]);
    }
    queries
}

const SPANS: [(Option<u8>, Option<u8>); 4] =
    [(None, None), (Some(1), None), (Some(1), Some(3)), (None, Some(2))];

/// Every answer there is, as one text.
fn answers(reader: &Reader) -> String {
    let mut text = String::new();
    for query in queries() {
        text += &json(&reader.alerts(&query).unwrap());
    }
    for alert in walk(reader, &AlertQuery { limit: 20, ..AlertQuery::default() }) {
        text += &json(&reader.alert(alert.id).unwrap());
    }
    for number in 0..4 {
        text += &json(&pages(|cursor| reader.signals(&user(number), 2, cursor.as_deref()).unwrap()));
    }
    text += &json(&pages(|cursor| reader.parked(2, cursor.as_deref()).unwrap()));
    text += &json(&reader.unscored(100, Shard::WHOLE).unwrap());
    for (from, to) in SPANS {
        text += &json(&reader.stats(from.map(at), to.map(at)).unwrap());
    }
    text += &format!("{:?}", reader.performance(&performance::question(20)).unwrap());
    text += &json(&reader.due(at(4), 100, Shard::WHOLE).unwrap());
    for change in reader.changes(Position(0), 1_000).unwrap() {
        text += &json(&(change.position, change.event_type, change.alert));
    }
    text + &json(&reader.position().unwrap())
}

fn check_against_naive(log: &Log, reader: &Reader) {
    let naive = naive::fold(log);
    for query in queries() {
        assert_eq!(json(&walk(reader, &query)), json(&naive.list(&query)), "{query:?}");
    }
    for number in 0..4 {
        let user = user(number);
        let mut signals: Vec<_> = naive.signals.iter().filter(|signal| signal.user_id == user).collect();
        signals.reverse();
        signals.sort_by_key(|signal| std::cmp::Reverse(signal.detected_at));
        let listed = pages(|cursor| reader.signals(&user, 2, cursor.as_deref()).unwrap());
        let names = |signal: &str, at: Timestamp, revision: u64| format!("{signal} {at} {revision}");
        assert_eq!(
            listed.iter().map(|s| names(&s.signal, s.detected_at, s.cause.revision)).collect::<Vec<_>>(),
            signals.iter().map(|s| names(&s.signal, s.detected_at, s.cause.revision)).collect::<Vec<_>>()
        );
        let newest = naive.failures.iter().filter(|((who, _), _)| *who == user).max_by_key(|(_, f)| f.3);
        let view = reader.unscored(100, Shard::WHOLE).unwrap().into_iter().find(|view| view.user_id == user);
        assert_eq!(view.is_some(), newest.is_some());
        if let (Some(view), Some((_, newest))) = (view, newest) {
            let own: Vec<_> = naive.failures.iter().filter(|((who, _), _)| *who == user).collect();
            assert_eq!(view.model_types, own.iter().map(|((_, model), _)| model.clone()).collect::<Vec<_>>());
            assert_eq!(view.attempts, own.iter().map(|(_, failure)| failure.0).max().unwrap());
            assert_eq!((view.as_of, view.reason), (newest.1, newest.2.clone()));
        }
    }
    let parked = pages(|cursor| reader.parked(1, cursor.as_deref()).unwrap());
    assert_eq!(
        parked.iter().map(|parked| (&parked.user_id, parked.cause)).collect::<Vec<_>>(),
        naive.parked.iter().rev().map(|parked| (&parked.user_id, parked.cause)).collect::<Vec<_>>()
    );
    for (from, to) in SPANS {
        let (from, to) = (from.map(at), to.map(at));
        assert_eq!(reader.stats(from, to).unwrap(), naive.stats(from, to));
    }
    for day in 0..8 {
        assert_eq!(reader.due(at(day), 100, Shard::WHOLE).unwrap(), naive.due(at(day)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_fold_equals_a_naive_model(steps in steps(60)) {
        let folder = tempfile::tempdir().unwrap();
        let log = log(&steps);
        let mut projection = open(folder.path());
        let through = log.events.last().unwrap().position;
        let changes = projection.apply(&log.events, through).unwrap();
        prop_assert_eq!(projection.take_unreadable(), []);
        let told: Vec<_> = changes.iter().map(|c| json(&(c.position, &c.event_type, &c.alert))).collect();
        let expected: Vec<_> = naive::fold(&log).changes.iter().map(json).collect();
        prop_assert_eq!(told, expected);
        check_against_naive(&log, &projection.reader());
        performance::check(&log, &projection.reader());
    }

    #[test]
    fn batches_restarts_and_repeats_do_not_matter(
        steps in steps(40),
        cuts in proptest::collection::vec((1usize..9, 0usize..6, proptest::bool::weighted(0.15)), 1..12),
    ) {
        let log = log(&steps);
        let whole = tempfile::tempdir().unwrap();
        let mut projection = open(whole.path());
        apply(&mut projection, &log.events);
        let expected = answers(&projection.reader());

        let folder = tempfile::tempdir().unwrap();
        let mut projection = open(folder.path());
        let mut cuts = cuts.into_iter().cycle();
        let mut done = 0;
        while done < log.events.len() {
            let (size, again, restart) = cuts.next().unwrap();
            if restart {
                drop(projection);
                projection = open(folder.path());
                prop_assert!(projection.reset().is_none());
            }
            let end = (done + size).min(log.events.len());
            apply(&mut projection, &log.events[done.saturating_sub(again)..end]);
            done = end;
        }
        prop_assert_eq!(answers(&projection.reader()), expected.clone());

        let path = folder.path().join("p.sqlite");
        drop(projection);
        std::fs::remove_file(path).unwrap();
        let mut projection = open(folder.path());
        prop_assert_eq!(projection.position(), None);
        apply(&mut projection, &log.events);
        prop_assert_eq!(answers(&projection.reader()), expected);
    }
}

#[test]
fn cursors_show_every_alert_once_when_all_tie() {
    let folder = tempfile::tempdir().unwrap();
    let step = given::Step { kind: 0, user: 1, a: 1, b: 2, day: 1 };
    let log = log(&[step; 57]);
    let mut projection = open(folder.path());
    apply(&mut projection, &log.events);
    for sort in SORTS {
        for status in [vec![], STATUSES.to_vec()] {
            for limit in [1, 7, 56, 57, 58, 500] {
                let query = AlertQuery { sort, status: status.clone(), limit, ..AlertQuery::default() };
                let walked = walk(&projection.reader(), &query);
                let ids: HashSet<_> = walked.iter().map(|alert| alert.id).collect();
                assert_eq!((walked.len(), ids.len()), (57, 57), "{query:?}");
            }
        }
    }
}

#[test]
fn a_cursor_of_another_list_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let steps = [0u8, 0, 13, 13].map(|kind| given::Step { kind, user: 1, a: 1, b: 2, day: 1 });
    let mut projection = open(folder.path());
    apply(&mut projection, &log(&steps).events);
    let reader = projection.reader();
    let query = AlertQuery { limit: 1, ..AlertQuery::default() };
    let cursor = reader.alerts(&query).unwrap().next_cursor;
    assert!(cursor.is_some());
    let other = AlertQuery { cursor: cursor.clone(), sort: Sort::PriorityDescending, ..query.clone() };
    assert!(matches!(reader.alerts(&other), Err(Error::BadCursor)));
    assert!(matches!(reader.signals(&user(1), 1, cursor.as_deref()), Err(Error::BadCursor)));
    assert!(matches!(reader.parked(1, cursor.as_deref()), Err(Error::BadCursor)));
    let torn = AlertQuery { cursor: cursor.map(|text| text[1..].to_owned()), ..query };
    assert!(matches!(reader.alerts(&torn), Err(Error::BadCursor)));
    let signals = reader.signals(&user(1), 1, None).unwrap();
    assert_eq!(reader.signals(&user(1), 1, signals.next_cursor.as_deref()).unwrap().items.len(), 1);
}

#[test]
fn an_alert_is_told_whole() {
    let folder = tempfile::tempdir().unwrap();
    let step = given::Step { kind: 0, user: 1, a: 0, b: 3, day: 1 };
    let steps = [
        step,
        given::Step { kind: 4, b: 9, day: 2, ..step },
        given::Step { kind: 9, ..step },
        given::Step { kind: 5, b: 255, ..step },
        given::Step { kind: 8, ..step },
    ];
    let mut projection = open(folder.path());
    let log = log(&steps);
    apply(&mut projection, &log.events);
    let reader = projection.reader();
    let id = reader.alerts(&AlertQuery::default()).unwrap().items[0].id;
    let detail = reader.alert(id).unwrap().unwrap();
    assert_eq!(json(&detail.features), json(&given::scoring(steps[1]).features), "those of the newest score");
    assert_eq!((detail.threshold, detail.market_revision, detail.bias), (0.5, 3, -0.25));
    let told: Vec<_> =
        detail.history.iter().map(|entry| (entry.event_type.as_str(), entry.by.as_str(), entry.at)).collect();
    assert_eq!(
        told,
        [
            ("AlertScored", "policy", at(1)),
            ("AlertEscalated", "policy", at(2)),
            ("AlertRearmed", "policy", at(1)),
            ("AlertStatusChanged", "ann", at(3)),
            ("AlertOutcomeRecorded", "api", at(2)),
        ]
    );
    let recorded: serde_json::Value = serde_json::from_slice(&log.events[3].data).unwrap();
    assert_eq!(detail.history[3].data, recorded);
    assert_eq!(detail.history[3].event_id, log.events[3].id);
    let nobody = intentd::domain::id::AlertId(Uuid::nil());
    assert!(reader.alert(nobody).unwrap().is_none());
}
