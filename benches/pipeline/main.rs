//! How fast the whole is beside the bare work: events/s of (a) a bare loop that parses, folds and scores a log, with no log of
//! its own and no actors, (b) the whole daemon importing the same log to committed alerts, (c) a replay, and the ratios; what
//! users cost in memory and on disk; and how long an alert takes from `POST` to `GET` at 1,000 events/s.
//!
//! `cargo bench --bench pipeline -- [--file LOG] [--out FIGURES.json] [--events N] [--users N]`; without a file, a simulated
//! log of 2,000,000 events and 100,000 people. Prints lines for people, writes JSON (target/bench/pipeline.json). Each part
//! runs in a child of this program, so that none pays for the memory of another.
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

/// Runs something; how long it took, wall and CPU.
pub fn timed<T>(events: u64, run: impl FnOnce() -> T) -> (T, Value) {
    let (began, cpu) = (Instant::now(), cpu_seconds());
    let done = run();
    (done, figures(events, began.elapsed().as_secs_f64(), cpu_seconds() - cpu))
}

/// Events in so many seconds, wall and CPU.
pub fn figures(events: u64, seconds: f64, cpu: f64) -> Value {
    json!({
        "eventsPerSecond": events as f64 / seconds,
        "seconds": seconds,
        "cpuSeconds": cpu,
        "cpuMicrosPerEvent": cpu * 1e6 / events as f64,
    })
}

/// Megabytes of this process now, or (`VmHWM`) at most.
pub fn memory_mb(which: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(which)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
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
        // Cut at the number wanted; some people do little or nothing.
        events_per_user: events as f64 / users as f64 * 1.35,
        events_max: Some(events),
    };
    let path = work.join("log.jsonl");
    simulate::write(&options, std::io::BufWriter::new(std::fs::File::create(&path).unwrap())).unwrap();
    path
}

/// What every part works on.
pub struct Job {
    pub file: PathBuf,
    pub events: u64,
    pub users: u64,
    pub config: Config,
    pub catalog: Catalog,
}

impl Job {
    fn new(file: PathBuf, data_dir: PathBuf, events: u64, users: u64) -> Self {
        let mut config = Config::load(None).unwrap();
        config.data_dir = data_dir;
        config.http.listen = ([127, 0, 0, 1], 0).into();
        let text = std::fs::read_to_string(&config.catalog).unwrap();
        let catalog = Catalog::load(&text, "catalog").unwrap();
        Self { file, events, users, config, catalog }
    }

    fn run(&self, part: &str) -> Value {
        match part {
            "bare" => bare::run(self),
            "whole" => whole::import(self),
            "start" => whole::start(self),
            "replay" => whole::replay(self),
            _ => latency::run(&self.catalog, &self.config),
        }
    }

    /// Runs a part in a child.
    fn run_apart(&self, part: &str) -> Value {
        let (events, users) = (self.events.to_string(), self.users.to_string());
        let paths = [self.file.to_str().unwrap(), self.config.data_dir.to_str().unwrap()];
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--part", part, "--file", paths[0], "--data", paths[1], "--of", &events, "--by", &users])
            .stderr(std::process::Stdio::inherit())
            .output()
            .unwrap();
        let said = String::from_utf8(child.stdout).unwrap();
        assert!(child.status.success(), "{part}: {said}");
        serde_json::from_str(said.lines().last().unwrap()).unwrap()
    }
}

fn main() {
    intentd::allocator::keep_freed_memory();
    intentd::scoring::runtime::prepare_environment();
    if let Some(part) = argument("--part") {
        let text = |name: &str| argument(name).unwrap();
        let number = |name: &str| text(name).parse().unwrap();
        let job = Job::new(text("--file").into(), text("--data").into(), number("--of"), number("--by"));
        return println!("{}", job.run(&part));
    }
    let work = tempfile::tempdir_in(std::env::var_os("BENCH_DIR").unwrap_or("target".into())).unwrap();
    let file = argument("--file").map_or_else(|| simulated(work.path()), PathBuf::from);
    let (events, users) = bare::count(&file);
    let job = Job::new(file, work.path().join("data"), events, users);
    println!("{} with {events} events of {users} users", job.file.display());
    let part = |name: &str, title: &str| {
        let figures = job.run_apart(name);
        let (rate, cpu) = (&figures["eventsPerSecond"], &figures["cpuMicrosPerEvent"]);
        if let (Some(rate), Some(cpu)) = (rate.as_f64(), cpu.as_f64()) {
            println!("{title:<42} {rate:>10.0} events/s  {cpu:>6.2} µs CPU an event");
        }
        figures
    };
    let bare = part("bare", "(a) bare: parse, fold, score");
    println!("    {} rows scored, {} alerts", bare["scored"], bare["alerts"]);
    let whole = part("whole", "(b) whole daemon to committed alerts");
    println!("    {} new, {} alerts; {}", whole["accepted"], whole["alerts"], whole["memory"]);
    println!("    {}", whole["afterwards"]);
    let start = part("start", "");
    println!("    starts again: {start}");
    let replay = part("replay", "(c) replay: read the log and fold");
    let rate = |figures: &Value| figures["eventsPerSecond"].as_f64().unwrap();
    let ratio = rate(&whole) / rate(&bare);
    println!("(b) / (a) = {ratio:.2}");
    let latency = part("latency", "");
    println!("POST answered to visible in GET at 1,000 events/s: {latency}");
    let figures = json!({
        "file": job.file.display().to_string(),
        "events": events,
        "users": users,
        "bare": bare,
        "whole": whole,
        "start": start,
        "replay": replay,
        "wholeToBare": ratio,
        "postToGet": latency,
    });
    let out = argument("--out").map_or_else(|| PathBuf::from("target/bench/pipeline.json"), PathBuf::from);
    std::fs::create_dir_all(out.parent().unwrap()).unwrap();
    std::fs::write(&out, serde_json::to_vec_pretty(&figures).unwrap()).unwrap();
    println!("figures: {}", out.display());
}
