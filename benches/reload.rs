//! Reloads under load: one model changes its version over and over while scores are asked for all the time. Every score in the
//! log is worked out again from its features by the version that it names, none may be missing or failed; and memory is
//! compared with a process that took the same load without a reload.
//!
//! `cargo bench --bench reload -- [--reloads N] [--out FIGURES.json]`; runs itself twice. Prints lines for people, writes JSON
//! (target/bench/reload.json).
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    dead_code,
    reason = "a bench fails by panicking and answers on standard output"
)]

#[path = "../tests/it/scoring/graphs.rs"]
mod graphs;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use graphs::{Recipe, write};
use intentd::app::App;
use intentd::commands::models::{Change, Models as _, Who};
use intentd::commands::{Commands as _, Ingest};
use intentd::config::Config;
use intentd::domain::catalog::Catalog;
use intentd::domain::codec::decode_fact;
use intentd::domain::event::{IntentEvent, NewEvent, Position, SCORE_REQUESTED};
use intentd::domain::id::{EventId, UserId};
use intentd::scoring::runtime;
use intentd::store::{Direction, Filter};
use serde_json::{Value, json};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USERS: usize = 1_000;
const BATCH: usize = 500;
/// The bias tells the versions apart.
const BIASES: [f32; 2] = [-0.5, 1.5];

fn argument(name: &str) -> Option<String> {
    let arguments: Vec<String> = std::env::args().collect();
    arguments.iter().position(|argument| argument == name).and_then(|at| arguments.get(at + 1).cloned())
}

fn number(name: &str) -> Option<usize> {
    argument(name).map(|text| text.parse().unwrap())
}

fn catalog() -> Catalog {
    let mut text =
        "name = \"t\"\ncategories = [\"c\"]\n[event.E]\ncategory = \"c\"\ndoc = \"d\"\n".to_owned();
    for name in ["f0", "f1", "f2", "f3", "f4"] {
        text += &format!(
            "[feature.{name}]\ncategory = \"c\"\ndoc = \"d\"\nunit = \"u\"\ncount = \"E\"\nwindow = \"7d\"\n"
        );
    }
    text += "[model.STEPS]\ndoc = \"d\"\nfeatures = [\"f0\", \"f1\", \"f2\", \"f3\", \"f4\"]\nthreshold = 0.5\nexit = 0.4\n\
             cooldown = \"30d\"\nhorizon = \"90d\"\nbands = [{ priority = \"LOW\", score = 0.5 }]\n";
    Catalog::load(&text, "catalog").unwrap_or_else(|faults| panic!("{faults:?}"))
}

fn status(key: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

fn event(id: usize, event_type: &'static str) -> Ingest {
    let user: UserId = format!("u{}", id % USERS).parse().unwrap();
    let json = format!(
        r#"{{"id": "{id}", "userId": "{user}", "type": "{event_type}", "occurredAt": "2026-01-01T00:00:00Z", "data": {{}}}}"#
    );
    let event = NewEvent {
        id: EventId::of_behaviour(user.as_str(), &format!("{event_type}{id}")),
        event_type: event_type.into(),
        data: json.into(),
        metadata: Default::default(),
    };
    Ingest { stream: format!("user-{user}"), event }
}

/// Asks for scores, a batch after the other, until it is told to stop or has asked for so many.
async fn load(app: &App, batches: Option<usize>, stop: &AtomicBool) -> usize {
    // Some users have done more than others.
    let past = (0..5 * USERS).filter(|id| id / USERS < id % 5).map(|id| event(id, "E")).collect();
    app.daemon.ingest(past).await.unwrap();
    let mut done = 0;
    while batches.map_or(!stop.load(Ordering::Acquire), |batches| done < batches) {
        let events = (0..BATCH).map(|at| event(done * BATCH + at, SCORE_REQUESTED)).collect();
        let ingested = app.daemon.ingest(events).await.unwrap();
        app.daemon.settled(ingested.position).await;
        done += 1;
    }
    done
}

/// Changes the version over and over; how long the slowest change took.
async fn reloads(app: &App, count: usize) -> Duration {
    let mut slowest = Duration::ZERO;
    for at in 0..count {
        let began = Instant::now();
        let change = Change::Activate { version: (at % 2 + 1).to_string() };
        let who = Who { by: "bench".to_owned(), why: "reload".to_owned() };
        app.models.change("STEPS".to_owned(), change, who).await.unwrap();
        slowest = slowest.max(began.elapsed());
        if (at + 1) % (count / 4).max(1) == 0 {
            eprintln!("    {} reloads, {:.1} MB", at + 1, status("VmRSS"));
        }
    }
    slowest
}

/// Works out every score in the log again: by version, how many.
async fn check(app: &App) -> ([usize; 2], usize) {
    let (mut right, mut all) = ([0, 0], 0);
    let (filter, mut from) = (Filter::streams(&["intent-"]), None);
    loop {
        let page = app.store.read_all(from, Direction::Forwards, &filter, 4_096).await.unwrap();
        for event in &page.events {
            let fact = decode_fact(&event.event_type, &event.data).unwrap().unwrap();
            let IntentEvent::UserScored(fact) = fact else { continue };
            let version: usize = fact.scoring.model_version.parse().unwrap();
            let bias = BIASES[version - 1];
            let logit = bias + fact.scoring.features.iter().map(|reason| reason.contribution).sum::<f32>();
            let expected = 1.0 / (1.0 + (-logit).exp());
            assert_eq!(fact.scoring.bias.to_bits(), bias.to_bits(), "the bias of another version");
            assert!((fact.scoring.raw - expected).abs() < 1e-6, "{fact:?}");
            right[version - 1] += 1;
            all += 1;
        }
        match page.next {
            Some(next) => from = Some(Position(next)),
            None => return (right, all),
        }
    }
}

async fn child(folder: &Path, count: usize, batches: Option<usize>) -> Value {
    let mut config = Config::load(None).unwrap();
    config.data_dir = folder.join("data");
    config.models.folder = folder.join("models");
    for (version, bias) in (1..).zip(BIASES) {
        write(&config.models.folder, "STEPS", &version.to_string(), &Recipe { bias, ..Recipe::default() });
    }
    let app = Arc::new(App::start(&config, catalog()).await.unwrap());
    let stop = Arc::new(AtomicBool::new(false));
    let (loading, until) = (Arc::clone(&app), Arc::clone(&stop));
    let load = tokio::spawn(async move { load(&loading, batches, &until).await });
    let began = Instant::now();
    let slowest = reloads(&app, count).await;
    let took = began.elapsed();
    stop.store(true, Ordering::Release);
    let batches = load.await.unwrap();
    // What was freed goes back to the system after 10 s; until then it depends on where the last batch stood.
    tokio::time::sleep(Duration::from_secs(12)).await;
    let memory = status("VmRSS");
    let (right, all) = check(&app).await;
    assert_eq!(all, batches * BATCH, "a score is missing");
    let Ok(app) = Arc::try_unwrap(app) else { panic!("still in use") };
    app.stop().await;
    json!({
        "reloads": count, "seconds": took.as_secs_f64(), "slowestReloadMs": slowest.as_secs_f64() * 1e3,
        "batches": batches, "scores": all, "byVersion": right, "megabytes": memory, "peakMegabytes": status("VmHWM"),
    })
}

fn run(reloads: usize, batches: Option<usize>) -> Value {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--child", &reloads.to_string()]);
    if let Some(batches) = batches {
        command.args(["--batches", &batches.to_string()]);
    }
    let output = command.stderr(std::process::Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let text = String::from_utf8(output.stdout).unwrap();
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

fn main() {
    if let Some(reloads) = number("--child") {
        runtime::prepare_environment();
        let work = tempfile::tempdir_in(std::env::var_os("BENCH_DIR").unwrap_or("target".into())).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        println!("{}", runtime.block_on(child(work.path(), reloads, number("--batches"))));
        return;
    }
    let count = number("--reloads").unwrap_or(1_000);
    let with = run(count, None);
    println!("with {count} reloads:    {with}");
    let without = run(0, Some(with["batches"].as_u64().unwrap() as usize));
    println!("without a reload:      {without}");
    let ratio = with["megabytes"].as_f64().unwrap() / without["megabytes"].as_f64().unwrap();
    println!("memory with reloads / without: {ratio:.3}");
    let figures = json!({ "with": with, "without": without, "memoryRatio": ratio });
    let out = argument("--out").unwrap_or("target/bench/reload.json".to_owned());
    std::fs::create_dir_all(Path::new(&out).parent().unwrap()).unwrap();
    std::fs::write(&out, serde_json::to_vec_pretty(&figures).unwrap()).unwrap();
    println!("figures: {out}");
}
