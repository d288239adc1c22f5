//! Training sets from a small hand-made log and from simulated people: which moments become rows, what their labels are, who
//! stands in which split, for how many rows one stands; and that all of it is the same each time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use intentd::dataset::{Dataset, Example, Moments, Negatives, Options, Split, build, parquet};
use intentd::domain::alert::Outcome;
use intentd::domain::catalog::Catalog;
use intentd::domain::codec::{check_ingest, encode_fact};
use intentd::domain::event::{
    AlertOutcomeRecorded, AlertScored, Cause, ExpectedRevision, Fact, IntentEvent, Metadata, NewEvent,
    Scoring,
};
use intentd::domain::id::{AlertId, EventId};
use intentd::domain::policy::Priority;
use intentd::domain::time::{DAY_MS, HOUR_MS, Timestamp};
use intentd::simulate;
use intentd::store::Append;
use intentd::store::memory::MemoryStore;
use serde_json::json;

const CATALOG: &str = r#"
name = "shop"
categories = ["engagement"]

[event.VIEWED]
category = "engagement"
doc = "A view."

[event.BOUGHT]
category = "engagement"
doc = "Bought."

[feature.views_7d]
category = "engagement"
doc = "Views."
unit = "events"
count = "VIEWED"
window = "7d"

[signal.warm]
category = "engagement"
doc = "A view."
when = 'views_7d >= 1'
strength = 0.6
cooldown = "1h"
expires = "3d"
models = ["BUY"]

[model.BUY]
doc = "Buys."
features = ["views_7d"]
threshold = 0.5
exit = 0.4
cooldown = "1d"
horizon = "10d"
rescore_after = "1h"
bands = [{ priority = "LOW", score = 0.5 }]
conversion_events = ["BOUGHT"]
"#;

pub fn at(day: i64, hour: i64) -> Timestamp {
    Timestamp::from_millis(20_000 * DAY_MS + day * DAY_MS + hour * HOUR_MS)
}

/// A log of a small shop.
pub struct Shop(pub MemoryStore);

impl Shop {
    pub fn new() -> Self {
        Self(MemoryStore::default())
    }

    pub fn happens(&self, user: &str, kind: &str, time: Timestamp, more: serde_json::Value) {
        let id = format!("{kind}-{time}-{}", more["converted"]);
        let mut event = json!({ "id": id, "userId": user, "type": kind, "occurredAt": time });
        event.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        let raw = Bytes::from(event.to_string());
        let ingest = check_ingest(&catalog(), &raw, Timestamp::MAX, Duration::ZERO).unwrap();
        let append =
            Append { stream: ingest.stream, expected: ExpectedRevision::Any, events: vec![ingest.event] };
        self.0.append_now(vec![append]).unwrap()[0].as_ref().unwrap();
    }

    pub fn views(&self, user: &str, times: &[(i64, i64)]) {
        for &(day, hour) in times {
            self.happens(user, "VIEWED", at(day, hour), json!({}));
        }
    }

    fn says(&self, user: &str, day: i64, converted: bool) {
        let more = json!({ "modelType": "BUY", "converted": converted });
        self.happens(user, "ConversionRecorded", at(day, 0), more);
    }

    fn fact(&self, user: &str, number: u128, event: IntentEvent) {
        let fact = Fact { id: EventId(uuid::Uuid::from_u128(number)), event, metadata: Metadata::default() };
        let append = Append {
            stream: format!("intent-{user}"),
            expected: ExpectedRevision::Any,
            events: vec![encode_fact(&fact)],
        };
        self.0.append_now(vec![append]).unwrap()[0].as_ref().unwrap();
    }

    /// An alert that the event at this revision opened.
    fn alert(&self, user: &str, revision: u64) {
        let scoring = Scoring {
            model_version: "v7".into(),
            catalog_version: catalog().version,
            market_revision: 0,
            as_of: at(0, 0),
            raw: 0.6,
            probability: 0.6,
            bias: 0.0,
            features: Vec::new(),
        };
        let alert = AlertScored {
            alert_id: AlertId(uuid::Uuid::from_u128(1)),
            user_id: user.parse().unwrap(),
            model_type: "BUY".into(),
            priority: Priority::Low,
            threshold: 0.5,
            scored_at: at(0, 0),
            expires_at: at(10, 0),
            scoring,
            signals: Vec::new(),
            cause: Cause { event_id: EventId(uuid::Uuid::nil()), revision },
        };
        self.fact(user, 1, IntentEvent::AlertScored(Box::new(alert)));
    }

    fn outcome(&self, user: &str, number: u128, outcome: Outcome) {
        let fact = AlertOutcomeRecorded {
            alert_id: AlertId(uuid::Uuid::from_u128(1)),
            user_id: user.parse().unwrap(),
            model_type: "BUY".into(),
            outcome,
            converted: None,
            conversion_value: None,
            occurred_at: at(5, 0),
            at: at(5, 0),
            by: "test".into(),
            note: None,
        };
        self.fact(user, number, IntentEvent::AlertOutcomeRecorded(fact));
    }

    async fn rows(&self, options: &Options) -> Vec<Example> {
        self.made(options).await.rows.into_iter().map(|(_, row)| row).collect()
    }

    async fn made(&self, options: &Options) -> Dataset {
        build::build(&self.0, catalog(), options).await.unwrap()
    }
}

pub fn catalog() -> Catalog {
    Catalog::load(CATALOG, "shop").unwrap_or_else(|faults| panic!("{faults:?}"))
}

fn options() -> Options {
    Options::of("BUY")
}

fn labels(rows: &[Example], user: &str) -> Vec<bool> {
    rows.iter().filter(|row| row.user.as_str() == user).map(|row| row.is_positive).collect()
}

/// Ends the log's young time: rows of the days before are mature.
fn grow_old(shop: &Shop) {
    shop.views("late", &[(60, 0)]);
}

#[tokio::test]
async fn a_label_follows_from_the_newest_that_is_known() {
    let shop = Shop::new();
    for user in ["bought", "late_buyer", "missed", "corrected", "right", "wrong", "unsure", "nothing"] {
        shop.views(user, &[(0, 0), (2, 0)]);
    }
    shop.happens("bought", "BOUGHT", at(1, 0), json!({}));
    shop.happens("late_buyer", "BOUGHT", at(11, 0), json!({}));
    shop.says("missed", 5, true);
    shop.says("corrected", 5, true);
    shop.says("corrected", 5, false);
    for (user, outcomes) in [
        ("right", &[Outcome::FalsePositive, Outcome::TruePositive][..]),
        ("wrong", &[Outcome::TruePositive, Outcome::FalsePositive]),
        ("unsure", &[Outcome::TruePositive, Outcome::Unknown]),
    ] {
        shop.alert(user, 0);
        for (number, outcome) in (2..).zip(outcomes) {
            shop.outcome(user, number, *outcome);
        }
    }
    grow_old(&shop);
    let rows = shop.rows(&options()).await;
    let check = |user: &str, then: [bool; 2]| assert_eq!(labels(&rows, user), then, "{user}");
    check("bought", [true, false]);
    check("late_buyer", [false, true]);
    check("missed", [true, true]);
    check("corrected", [false, false]);
    check("right", [true, false]);
    check("wrong", [false, false]);
    check("unsure", [false, false]);
    check("nothing", [false, false]);
    let version = |row: &Example| row.model_version.as_deref().map(str::to_owned);
    let of_right: Vec<_> = rows.iter().filter(|row| row.user.as_str() == "right").map(version).collect();
    assert_eq!(of_right, [Some("v7".to_owned()), None], "the version where a score was recorded");
}

#[tokio::test]
async fn young_rows_are_left_out_or_marked() {
    let shop = Shop::new();
    shop.views("old", &[(0, 0)]);
    shop.views("young", &[(55, 0)]);
    shop.happens("young", "BOUGHT", at(56, 0), json!({}));
    grow_old(&shop);
    let made = shop.made(&options()).await;
    assert_eq!((made.rows.len(), made.manifest.immature), (1, 2));
    let rows = shop.rows(&Options { with_immature: true, ..options() }).await;
    let marks: Vec<_> =
        rows.iter().map(|row| (row.user.as_str(), row.is_immature, row.is_positive)).collect();
    assert_eq!(marks, [("old", false, false), ("young", true, true), ("late", true, false)]);
}

#[tokio::test]
async fn moments_are_all_or_the_first_of_a_day_or_one_in_a_while_or_those_asked_for() {
    let shop = Shop::new();
    shop.views("u", &[(0, 1), (0, 5), (0, 23), (1, 1), (3, 1), (3, 2)]);
    shop.happens("u", "ScoreRequested", at(3, 3), json!({}));
    grow_old(&shop);
    let made = async |moments| {
        let rows = shop.rows(&Options { moments, ..options() }).await;
        rows.iter().map(|row| row.as_of).collect::<Vec<_>>()
    };
    let every = made(Moments::Scores).await;
    assert_eq!(every, [at(0, 1), at(0, 5), at(0, 23), at(1, 1), at(3, 1), at(3, 2), at(3, 3)]);
    assert_eq!(made(Moments::Daily).await, [at(0, 1), at(1, 1), at(3, 1)]);
    let gap = Moments::Every(Duration::from_secs(86_400));
    assert_eq!(made(gap).await, [at(0, 1), at(1, 1), at(3, 1)]);
    let gap = Moments::Every(Duration::from_secs(2 * 86_400));
    assert_eq!(made(gap).await, [at(0, 1), at(3, 1)]);
    assert_eq!(made(Moments::Requests).await, [at(3, 3)]);
}

/// Simulated people on the shipped catalogue.
fn people() -> (MemoryStore, Catalog) {
    let text = std::fs::read_to_string("config/catalog.toml").unwrap();
    let catalog = Catalog::load(&text, "config/catalog.toml").unwrap();
    let until: Timestamp = "2026-07-01T00:00:00Z".parse().unwrap();
    let options =
        simulate::Options { seed: 4, users: 500, days: 360, until, events_per_user: 30.0, events_max: None };
    let mut log = Vec::new();
    simulate::write(&options, &mut log).unwrap();
    let store = MemoryStore::default();
    let mut batch = Vec::new();
    for line in log.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let ingest = check_ingest(&catalog, &Bytes::copy_from_slice(line), until, Duration::ZERO).unwrap();
        batch.push(Append {
            stream: ingest.stream,
            expected: ExpectedRevision::Any,
            events: vec![ingest.event],
        });
    }
    store.append_now(batch).unwrap();
    (store, catalog)
}

#[tokio::test]
async fn the_same_log_and_options_give_the_same_hash_whatever_the_threads() {
    let (store, catalog) = people();
    let sets = [
        Options::of("SELL"),
        Options { users_apart: true, ..Options::of("SELL") },
        Options { negatives: Negatives::Rate(0.3), ..Options::of("SELL") },
        Options { moments: Moments::Daily, with_immature: true, ..Options::of("SELL") },
        Options { known_until: Some("2026-03-01T00:00:00Z".parse().unwrap()), ..Options::of("SELL") },
    ];
    let mut hashes = BTreeSet::new();
    for options in &sets {
        let mut manifests = Vec::new();
        for threads in [1, 2, 3] {
            let options = Options { threads, ..options.clone() };
            manifests.push(build::build(&store, catalog.clone(), &options).await.unwrap().manifest);
        }
        assert!(manifests.windows(2).all(|two| two[0] == two[1]), "{options:?}");
        hashes.insert(manifests[0].rows_hash.clone());
    }
    assert_eq!(hashes.len(), sets.len(), "different rows have different hashes");
}

#[tokio::test]
async fn users_apart_stand_in_one_split_and_times_stay_apart_too() {
    let (store, catalog) = people();
    let together = build::build(&store, catalog.clone(), &Options::of("SELL")).await.unwrap();
    let options = Options { users_apart: true, ..Options::of("SELL") };
    let made = build::build(&store, catalog, &options).await.unwrap();
    let mut splits: BTreeMap<&str, BTreeSet<Split>> = BTreeMap::new();
    for (split, row) in &made.rows {
        splits.entry(row.user.as_str()).or_default().insert(*split);
    }
    assert!(splits.values().all(|splits| splits.len() == 1), "{splits:?}");
    let last = |wanted: Split| {
        made.rows.iter().filter(|(split, _)| *split == wanted).map(|(_, row)| row.as_of).max().unwrap()
    };
    assert!(last(Split::Train) < made.manifest.valid_from && last(Split::Valid) < made.manifest.test_from);
    let left = (together.rows.len() - made.rows.len()) as u64;
    assert_eq!(made.manifest.sampling.left_apart, left);
    assert!(left > 0 && made.manifest.counts.iter().all(|count| count.rows > 5), "{:?}", made.manifest);
}

#[tokio::test]
async fn negatives_left_out_are_weighed_in() {
    let (store, catalog) = people();
    let whole = build::build(&store, catalog.clone(), &Options::of("SELL")).await.unwrap();
    let positives = |set: &Dataset| set.rows.iter().filter(|(_, row)| row.is_positive).count();
    for negatives in [Negatives::Rate(0.25), Negatives::Ratio(1.0)] {
        let options = Options { negatives, ..Options::of("SELL") };
        let made = build::build(&store, catalog.clone(), &options).await.unwrap();
        assert_eq!(positives(&made), positives(&whole));
        let kept: BTreeSet<_> = made.rows.iter().map(|(_, row)| (row.event_id, row.as_of)).collect();
        let all: BTreeSet<_> = whole.rows.iter().map(|(_, row)| (row.event_id, row.as_of)).collect();
        assert!(kept.is_subset(&all) && kept.len() < all.len());
        assert_eq!(made.manifest.sampling.left_negative, (whole.rows.len() - made.rows.len()) as u64);
        let weight: f64 = made.rows.iter().map(|(_, row)| f64::from(row.weight)).sum();
        let wanted = whole.rows.len() as f64;
        assert!((weight / wanted - 1.0).abs() < 0.25, "{weight} stands for {wanted}");
        let rates = (made.manifest.base_rate, whole.manifest.base_rate);
        assert!((rates.0 / rates.1 - 1.0).abs() < 0.3, "{rates:?}");
    }
}

#[tokio::test]
async fn what_was_not_known_yet_changes_nothing() {
    let (store, catalog) = people();
    let until: Timestamp = "2026-02-01T00:00:00Z".parse().unwrap();
    let options = Options { known_until: Some(until), ..Options::of("BUY") };
    let known = build::build(&store, catalog.clone(), &options).await.unwrap();
    let cut = MemoryStore::default();
    for event in store.everything() {
        let body: serde_json::Value = serde_json::from_slice(&event.data).unwrap();
        if body["occurredAt"].as_str().unwrap().parse::<Timestamp>().unwrap() < until {
            let (id, event_type, data, metadata) = (event.id, event.event_type, event.data, event.metadata);
            let events = vec![NewEvent { id, event_type, data, metadata }];
            let expected = ExpectedRevision::Any;
            cut.append_now(vec![Append { stream: event.stream.to_string(), expected, events }]).unwrap();
        }
    }
    let then = build::build(&cut, catalog, &Options::of("BUY")).await.unwrap();
    assert_eq!(known.manifest.rows_hash, then.manifest.rows_hash);
    assert!(known.rows.len() > 50, "{}", known.rows.len());
}

#[tokio::test]
async fn the_folder_holds_the_table_and_says_what_it_is() {
    let (store, catalog) = people();
    let made = build::build(&store, catalog, &Options::of("SELL")).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    parquet::write(&made, folder.path()).unwrap();
    let table = std::fs::File::open(folder.path().join("rows.parquet")).unwrap();
    let reader = ::parquet::file::reader::SerializedFileReader::new(table).unwrap();
    let meta = ::parquet::file::reader::FileReader::metadata(&reader);
    let schema = meta.file_metadata().schema_descr();
    let columns: Vec<_> = (0..schema.num_columns()).map(|at| schema.column(at).name().to_owned()).collect();
    let mut wanted: Vec<String> = [
        "user",
        "model",
        "as_of",
        "revision",
        "label",
        "weight",
        "split",
        "event_id",
        "immature",
        "model_version",
        "catalog_version",
    ]
    .map(str::to_owned)
    .into();
    wanted.extend(made.manifest.features.iter().cloned());
    assert_eq!(columns, wanted);
    assert_eq!(meta.file_metadata().num_rows(), made.rows.len() as i64);
    let text = std::fs::read_to_string(folder.path().join("manifest.json")).unwrap();
    let said: serde_json::Value = serde_json::from_str(&text).unwrap();
    let log = store.everything();
    assert_eq!([&said["logFrom"], &said["logUntil"]], [log[0].position.0, log[log.len() - 1].position.0]);
    assert_eq!(said["timeRange"]["from"], json!(made.rows[0].1.as_of));
    assert_eq!(said["catalogVersion"], json!(made.manifest.catalog_version));
    assert!(said["baseRate"].as_f64().unwrap() > 0.0 && said["counts"][2]["users"].as_u64().unwrap() > 0);
    // The same rows give the same file.
    let again = tempfile::tempdir().unwrap();
    parquet::write(&made, again.path()).unwrap();
    let bytes =
        |folder: &tempfile::TempDir| Arc::new(std::fs::read(folder.path().join("rows.parquet")).unwrap());
    assert_eq!(bytes(&folder), bytes(&again));
}
