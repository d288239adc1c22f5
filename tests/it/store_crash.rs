//! `kill -9` while appending, over and over: nothing acknowledged is missing, nothing is half there.
//!
//! The child is this test binary again: it appends from several tasks and writes each acknowledged append to its output.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use intentd::domain::id::EventId;
use intentd::store::embedded::{Embedded, Options};
use intentd::store::{Append, Direction, EventStore, ExpectedRevision, Filter, NewEvent, Recorded};
use uuid::Uuid;

use super::store_contract::{event, small};

const KILLS: u64 = 24;
const TASKS: u128 = 4;
/// Names the directory for the child.
const DIR: &str = "STORE_CRASH_DIR";
/// Tells the child which life this is, so that its ids are new.
const LIFE: &str = "STORE_CRASH_LIFE";

fn options() -> Options {
    Options { segment_bytes: 48 << 10, block_bytes: 16 << 10, memtable_events: 256, ..small() }
}

/// The id of event `nth` of an append; the number of events of the append is in it too.
fn id(life: u128, task: u128, append: u128, count: u128, nth: u128) -> u128 {
    life << 96 | task << 64 | append << 32 | count << 16 | nth
}

fn sized(id: u128) -> NewEvent {
    let padding = "x".repeat((id >> 32) as usize * 37 % 600);
    NewEvent { data: format!("{{\"padding\":\"{padding}\"}}").into(), ..event(id) }
}

/// One task of the child: exact appends to a stream of its own, and appends to one that all share.
async fn work(store: Arc<Embedded>, life: u128, task: u128) {
    let own = format!("own-{task}");
    let page = store.read_stream(&own, None, Direction::Backwards, 1).await.unwrap();
    let mut end = page.events.first().map(|event| event.revision);
    for number in 0.. {
        let count = number % 5 + 1;
        let ids: Vec<u128> = (0..count).map(|nth| id(life, task, number, count, nth)).collect();
        let events: Vec<NewEvent> = ids.iter().map(|id| sized(*id)).collect();
        let expected = end.map_or(ExpectedRevision::NoStream, ExpectedRevision::Exact);
        let batch = vec![
            Append { stream: own.clone(), expected, events: events.clone() },
            Append { stream: "shared".to_owned(), expected: ExpectedRevision::Any, events },
        ];
        let answers = store.append(batch).await.unwrap();
        end = Some(answers[0].as_ref().unwrap().revision);
        let mut lines = String::new();
        for (stream, answer) in [(own.as_str(), &answers[0]), ("shared", &answers[1])] {
            let done = answer.as_ref().unwrap();
            let first = done.revision + 1 - count as u64;
            for (revision, id) in (first..).zip(&ids) {
                lines.push_str(&format!("ack {stream} {revision} {id:x}\n"));
            }
        }
        std::io::stdout().lock().write_all(lines.as_bytes()).unwrap();
    }
}

#[test]
fn child() {
    let (Ok(dir), Ok(life)) = (std::env::var(DIR), std::env::var(LIFE)) else { return };
    let store = Arc::new(Embedded::open(Path::new(&dir), &options()).unwrap());
    let life: u128 = life.parse().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for task in 0..TASKS {
            tasks.spawn(work(Arc::clone(&store), life, task));
        }
        while tasks.join_next().await.is_some() {}
    });
}

/// Runs the child until it has acknowledged so many events, kills it, and gives what it acknowledged.
fn live_and_die(dir: &Path, life: u64, until: usize) -> Vec<(String, u64, u128)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["store_crash::child", "--exact", "--nocapture", "--test-threads=1"])
        .env(DIR, dir)
        .env(LIFE, life.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acked = Vec::new();
    let mut killed = false;
    while let Some(Ok(line)) = lines.next() {
        let words: Vec<&str> = line.split(' ').collect();
        if let ["ack", stream, revision, id] = words[..]
            && let Ok(id) = u128::from_str_radix(id, 16)
        {
            acked.push((stream.to_owned(), revision.parse().unwrap(), id));
        }
        if acked.len() >= until && !killed {
            child.kill().unwrap();
            killed = true;
        }
    }
    child.wait().unwrap();
    assert!(killed, "the child ended by itself after {} acknowledged events", acked.len());
    acked
}

async fn read_streams(store: &Embedded) -> HashMap<String, Vec<Recorded>> {
    let mut streams: HashMap<String, Vec<Recorded>> = HashMap::new();
    let (mut at, mut last) = (None, None);
    loop {
        let page = store.read_all(at, Direction::Forwards, &Filter::default(), 5_000).await.unwrap();
        for event in page.events {
            assert!(last.replace(event.position).is_none_or(|last| last < event.position));
            streams.entry(event.stream.to_string()).or_default().push(event);
        }
        match page.next {
            Some(next) => at = Some(intentd::store::Position(next)),
            None => return streams,
        }
    }
}

/// Looks at a store after a kill.
async fn inspect(store: &Embedded, acked: &[(String, u64, u128)]) {
    let streams = read_streams(store).await;
    for (stream, revision, id) in acked {
        let found = streams.get(stream).and_then(|events| events.get(*revision as usize));
        assert_eq!(found.map(|event| event.id), Some(EventId(Uuid::from_u128(*id))), "{stream} {revision}");
    }
    for (stream, events) in &streams {
        let dense = events.iter().zip(0..).all(|(event, revision)| event.revision == revision);
        assert!(dense, "{stream}: revisions have a gap");
        let mut rest = events.as_slice();
        while let Some(first) = rest.first() {
            let id = first.id.0.as_u128();
            let count = (id >> 16 & 0xffff) as usize;
            let whole: Vec<u128> = (0..count as u128).map(|nth| id + nth).collect();
            let found: Vec<u128> = rest.iter().take(count).map(|event| event.id.0.as_u128()).collect();
            assert_eq!(found, whole, "{stream}: an append is only in part there");
            assert!(rest[..count].iter().all(|event| event.data == sized(event.id.0.as_u128()).data));
            rest = &rest[count..];
        }
        let indexed = store.read_stream(stream, None, Direction::Forwards, 16_384).await.unwrap().events;
        assert_eq!(&indexed, &events[..indexed.len()], "{stream}: the index differs from the log");
        assert!(indexed.len() == events.len() || indexed.len() == 16_384);
    }
    let total: usize = streams.values().map(Vec::len).sum();
    assert_eq!(store.verify().unwrap().events, total as u64);
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_and_nothing_is_half_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut acked = Vec::new();
    for life in 1..=KILLS {
        // Some die early, some in the middle of a burst, some with several segments behind them.
        let until = [1, 400, 37, 900][life as usize % 4] + life as usize * 3;
        acked.extend(live_and_die(dir.path(), life, until));
        if life % 3 == 0 {
            // Only every third time, so that a child also opens what a killed child left.
            let store = Embedded::open(dir.path(), &options()).unwrap();
            inspect(&store, &acked).await;
            // Asked again, everything is there already.
            let (stream, _, id) = acked[acked.len() / 2].clone();
            let again = Append { stream, expected: ExpectedRevision::Any, events: vec![sized(id)] };
            let answer = store.append(vec![again]).await.unwrap().remove(0).unwrap();
            assert_eq!((answer.appended, answer.duplicates), (0, 1));
        }
    }
}
