//! The whole daemon on the embedded store: import to committed alerts; and the fold of its log alone.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use intentd::app::{App, Layout, open_store};
use intentd::cli::feeding::{Reading, feed};
use intentd::domain::catalog::Catalog;
use intentd::domain::codec::decode;
use intentd::domain::event::{Recorded, UserEvent};
use intentd::domain::features::FeatureState;
use intentd::domain::plan::Plan;
use intentd::import::lines::Chunks;
use intentd::import::names::Names;
use intentd::projection::Views as _;
use intentd::store::{EventStore, Filter, Message};
use serde_json::{Value, json};
use tokio::sync::mpsc::{Receiver, Sender};

use super::{Job, cpu_seconds, figures, memory_mb, timed};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap()
}

/// Bytes on the disk of all files in a folder.
fn bytes_in(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    let size = |entry: std::fs::DirEntry| {
        let found = entry.metadata().unwrap();
        if found.is_dir() { bytes_in(&entry.path()) } else { found.blocks() * 512 }
    };
    entries.map(size).sum()
}

/// Imports a log, measured until every alert is committed and visible; then what the users cost, and how long it takes to
/// stop.
pub fn import(job: &Job) -> Value {
    runtime().block_on(async {
        let app = App::start(&job.config, job.catalog.clone()).await.unwrap();
        let at_start = memory_mb("VmRSS");
        let (began, cpu) = (Instant::now(), cpu_seconds());
        let chunks = Chunks::open(&job.file, |raw| raw).unwrap();
        let reading = Reading {
            names: Names::default(),
            skip_lines: 0,
            skip_bad: false,
            future_max: job.config.ingest.future_max,
        };
        let (fed, done) = feed(chunks, &app.daemon, &Arc::clone(&app.catalog), reading, |_| ()).await;
        done.unwrap();
        app.daemon.settled(fed.position.unwrap()).await;
        let mut figures = figures(job.events, began.elapsed().as_secs_f64(), cpu_seconds() - cpu);
        figures["accepted"] = fed.accepted.into();
        figures["alerts"] = app.views.stats(None, None).unwrap().total.into();
        let peak = memory_mb("VmHWM");
        // What was freed goes back to the system after 10 s; what stays is what the users take.
        tokio::time::sleep(Duration::from_secs(12)).await;
        let now = memory_mb("VmRSS");
        let resident = job.users.min(job.config.pipeline.resident_max as u64);
        figures["memory"] = json!({
            "residentUsers": resident,
            "megabytes": now,
            "megabytesAtStart": at_start,
            "peakMegabytes": peak,
            "bytesPerResident": ((now - at_start) << 20) / resident,
        });
        let (began, cpu) = (Instant::now(), cpu_seconds());
        app.stop().await;
        let stop = (began.elapsed().as_secs_f64(), cpu_seconds() - cpu);
        figures["afterwards"] = afterwards(job, stop);
        figures
    })
}

fn afterwards(job: &Job, (stop_seconds, stop_cpu): (f64, f64)) -> Value {
    let layout = Layout::of(&job.config.data_dir);
    let on_disk = bytes_in(&layout.snapshots);
    json!({
        "stopSeconds": stop_seconds,
        "stopCpuSeconds": stop_cpu,
        "snapshotBytesPerUser": on_disk / job.users,
        "logBytesPerEvent": bytes_in(&layout.store) / job.events,
    })
}

/// How long the daemon takes to start on what [`import`] left.
pub fn start(job: &Job) -> Value {
    runtime().block_on(async {
        let began = Instant::now();
        let app = App::start(&job.config, job.catalog.clone()).await.unwrap();
        let seconds = began.elapsed().as_secs_f64();
        app.stop().await;
        json!({ "seconds": seconds, "usersKnown": job.users })
    })
}

/// Reads the log that [`import`] left, decodes and folds every event: the next ones are read while some are folded.
pub fn replay(job: &Job) -> Value {
    let store = open_store(&job.config).unwrap();
    let (users, mut figures) = timed(job.events, || {
        runtime().block_on(async {
            let (sender, mut pages) = tokio::sync::mpsc::channel(8);
            let reading = tokio::task::JoinSet::from_iter([read(store, sender)]);
            let users = fold(&mut pages, &job.catalog).await;
            drop(reading);
            users
        })
    });
    figures["users"] = users.into();
    figures
}

async fn read(store: Arc<dyn EventStore>, pages: Sender<Vec<Recorded>>) {
    let mut log = store.subscribe_all(None, Filter::streams(&["user-"]));
    loop {
        match log.next().await.unwrap() {
            Message::Events(events) => pages.send(events).await.unwrap(),
            Message::Checkpoint(_) => {}
            Message::CaughtUp(_) => return,
        }
    }
}

async fn fold(pages: &mut Receiver<Vec<Recorded>>, catalog: &Catalog) -> usize {
    let plan = Plan::compile(catalog);
    let mut users: HashMap<String, FeatureState> = HashMap::new();
    while let Some(events) = pages.recv().await {
        for recorded in &events {
            let Ok(UserEvent::Behaviour(event)) = decode(catalog, recorded) else { continue };
            users.entry_ref(&*recorded.stream).or_insert_with(FeatureState::new).apply(&plan, &event);
        }
    }
    users.len()
}
