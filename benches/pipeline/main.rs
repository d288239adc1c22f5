//! How fast the whole is beside the bare work: events/s of (a) a bare loop that parses, folds and scores a log, with no log of
//! its own and no actors, (b) the whole daemon importing the same log to committed alerts, (c) a replay, and the ratios; and
//! how long an alert takes from `POST` to `GET` at 1,000 events/s.
//!
//! `cargo bench --bench pipeline -- [--file LOG] [--out FIGURES.json] [--events N] [--users N]`; without a file, a simulated
//! log of 2,000,000 events and 100,000 users. Prints lines for people, writes JSON (target/bench/pipeline.json).
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "a bench fails by panicking and answers on standard output"
)]

mod bare;
mod latency;
mod whole;

use std::path::{Path, PathBuf};
use std::time::Instant;

use intentd::config::Config;
use intentd::domain::catalog::Catalog;
use intentd::simulate;
use serde_json::{Value, json};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// CPU seconds (user and system) of this process so far.
pub fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    // Linux counts in hundredths on every architecture that we build for.
    ticks / 100.0
}

/// Runs something and says how long it took, wall and CPU.
pub fn timed<T>(events: u64, name: &str, run: impl FnOnce() -> T) -> (T, Value) {
    let (began, cpu) = (Instant::now(), cpu_seconds());
    let done = run();
    let (seconds, cpu) = (began.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    let rate = events as f64 / seconds;
    println!("{name:<34} {rate:>10.0} events/s  {:>6.2} µs CPU an event", cpu * 1e6 / events as f64);
    (done, json!({ "eventsPerSecond": rate, "seconds": seconds, "cpuSeconds": cpu }))
}

fn argument(name: &str) -> Option<String> {
    let arguments: Vec<String> = std::env::args().collect();
    arguments.iter().position(|argument| argument == name).and_then(|at| arguments.get(at + 1).cloned())
}

fn simulated(work: &Path) -> PathBuf {
    let number = |name: &str, default: usize| argument(name).map_or(default, |text| text.parse().unwrap());
    let (events, users) = (number("--events", 2_000_000), number("--users", 100_000));
    let options = simulate::Options {
        seed: 5,
        users: u32::try_from(users).unwrap(),
        days: 120,
        until: "2026-07-01T00:00:00Z".parse().unwrap(),
        events_per_user: events as f64 / users as f64 * 1.2,
        events_max: Some(events),
    };
    let path = work.join("log.jsonl");
    simulate::write(&options, std::io::BufWriter::new(std::fs::File::create(&path).unwrap())).unwrap();
    path
}

fn main() {
    let work = tempfile::tempdir_in(std::env::var_os("BENCH_DIR").unwrap_or("target".into())).unwrap();
    let file = argument("--file").map_or_else(|| simulated(work.path()), PathBuf::from);
    let mut config = Config::load(None).unwrap();
    config.data_dir = work.path().join("data");
    config.http.listen = ([127, 0, 0, 1], 0).into();
    let text = std::fs::read_to_string(&config.catalog).unwrap();
    let catalog = Catalog::load(&text, "catalog").unwrap();

    let events = bare::count(&file);
    println!("{} with {events} events", file.display());
    let (counted, bare) =
        timed(events, "(a) bare: parse, fold, score", || bare::run(&file, catalog.clone(), &config));
    println!("    {} rows scored, {} alerts", counted.scored, counted.alerts);
    let (imported, whole) =
        timed(events, "(b) whole daemon to committed alerts", || whole::import(&file, &catalog, &config));
    println!(
        "    {} new, {} alerts, resident memory {} MB at most",
        imported.accepted,
        imported.alerts,
        peak_mb()
    );
    let (_, replay) = timed(events, "(c) replay: read the log and fold", || whole::replay(&catalog, &config));
    let rate = |figures: &Value| figures["eventsPerSecond"].as_f64().unwrap();
    println!("(b) / (a) = {:.2}", rate(&whole) / rate(&bare));
    let latency = latency::run(&catalog, &config);
    let figures = json!({
        "file": file.display().to_string(),
        "events": events,
        "bare": bare,
        "whole": whole,
        "replay": replay,
        "wholeToBare": rate(&whole) / rate(&bare),
        "alertsBare": counted.alerts,
        "alertsWhole": imported.alerts,
        "peakMegabytes": peak_mb(),
        "postToGet": latency,
    });
    let out = argument("--out").map_or_else(|| PathBuf::from("target/bench/pipeline.json"), PathBuf::from);
    std::fs::create_dir_all(out.parent().unwrap()).unwrap();
    std::fs::write(&out, serde_json::to_vec_pretty(&figures).unwrap()).unwrap();
    println!("figures: {}", out.display());
}

fn peak_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}
