//! The real program as a child process: started on a data directory and a free port, asked over HTTP, stopped or killed.
//!
//! Law: nothing here waits by sleeping for a fixed time; it polls until what it waits for is there or a deadline has passed,
//! and then shows the child's own log. Used by the `daemon_*` modules.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use intentd::domain::event::Position;
use intentd::domain::time::Timestamp;
use intentd::scoring::library;
use intentd::simulate;
use intentd::store::embedded::{Embedded, Options};
use intentd::store::{Direction, EventStore as _, Filter, Recorded};

mod answers;

pub use answers::{Answer, Client, items};

/// Longest wait for anything; a slow machine under load needs seconds.
const DEADLINE: Duration = Duration::from_secs(120);
/// How often a wait looks again.
const LOOK: Duration = Duration::from_millis(5);

/// Whether ONNX Runtime is there; says so when a test is left out for that.
pub fn models_are_there(test: &str) -> bool {
    match library::find(Path::new("")) {
        Ok(_) => true,
        Err(library::Error::Missing { .. }) => {
            println!("skipped {test}: no ONNX Runtime; run `make ort`");
            false
        }
        Err(error) => panic!("{}", intentd::error::Chain(&error)),
    }
}

/// Waits until `found` finds something.
pub fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(began.elapsed() < DEADLINE, "waited {DEADLINE:?} for {what}");
        std::thread::sleep(LOOK);
    }
}

/// Writes a simulated log of the shipped catalogue; answers its lines.
pub fn simulated(into: &Path, seed: u64, users: u32, days: u32) -> u64 {
    let until: Timestamp = "2026-07-01T00:00:00Z".parse().unwrap();
    let options = simulate::Options { seed, users, days, until, events_per_user: 40.0, events_max: None };
    simulate::write(&options, File::create(into).unwrap()).unwrap().events
}

/// Every event of the streams with a prefix in a data directory that nobody has open.
pub fn events_in(data_dir: &Path, prefix: &str) -> Vec<Recorded> {
    let store = Embedded::open(&data_dir.join("store"), &Options::default()).unwrap();
    let filter = Filter::streams(&[prefix]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (mut found, mut from) = (Vec::new(), None);
        loop {
            let page = store.read_all(from, Direction::Forwards, &filter, 4_096).await.unwrap();
            found.extend(page.events);
            match page.next {
                Some(next) => from = Some(Position(next)),
                None => return found,
            }
        }
    })
}

/// A data directory of its own and the settings that its commands run with.
pub struct Place {
    root: tempfile::TempDir,
    settings: BTreeMap<String, String>,
}

impl Place {
    /// A new place: the shipped configuration, catalogue and models.
    pub fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let mut place = Self { root, settings: BTreeMap::new() };
        let data_dir = place.data_dir().display().to_string();
        place.set("INTENTD_DATA_DIR", &data_dir);
        place.set("INTENTD_LOG__FORMAT", "text");
        place
    }

    /// Sets a variable of the environment.
    pub fn set(&mut self, name: &str, value: &str) {
        self.settings.insert(name.to_owned(), value.to_owned());
    }

    /// A path beside the data directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub fn data_dir(&self) -> PathBuf {
        self.path("data")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let program = std::env::var("INTENTD_PROGRAM");
        self.program(program.as_deref().unwrap_or(env!("CARGO_BIN_EXE_intentd")), arguments)
    }

    /// Another program that becomes ours, with our settings.
    fn program(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null());
        // Nothing of the machine's own settings.
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("INTENTD_")) {
            command.env_remove(name);
        }
        command.envs(&self.settings);
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command that has to succeed; answers what it said.
    pub fn done(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "intentd {arguments:?} ended with {}:\n{said}", output.status);
        said
    }

    /// Starts a command, its words in `child.log`.
    pub fn spawn(&self, arguments: &[&str]) -> Running {
        let log = self.path("child.log");
        let file = File::options().create(true).append(true).open(&log).unwrap();
        let copy = file.try_clone().unwrap();
        Running { child: self.command(arguments).stdout(file).stderr(copy).spawn().unwrap(), log }
    }

    /// Starts the daemon and waits until it says of itself what `is_up` wants to see of `/readyz`.
    pub fn daemon_when(&self, is_up: impl Fn(&Answer) -> bool) -> Daemon {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let log = self.path("child.log");
        let file = File::options().create(true).append(true).open(&log).unwrap();
        let copy = file.try_clone().unwrap();
        let mut command = self.command(&["run"]);
        command.env("INTENTD_HTTP__LISTEN", address.to_string());
        let mut running = Running { child: command.stdout(file).stderr(copy).spawn().unwrap(), log };
        let client = Client::new(&format!("http://{address}"));
        until("the daemon", || {
            running.still_runs();
            client.try_get("/readyz").filter(&is_up)
        });
        Daemon { running, client, address: address.to_string() }
    }

    /// Starts the daemon through a script that execs it, as a service manager would; `url` is where it has to answer.
    pub fn daemon_through(&self, script: &str, arguments: &[&str], url: &str) -> Daemon {
        let log = self.path("child.log");
        let file = File::options().create(true).append(true).open(&log).unwrap();
        let copy = file.try_clone().unwrap();
        let arguments = [&["-c", script, env!("CARGO_BIN_EXE_intentd"), "run"], arguments].concat();
        let child = self.program("python3", &arguments).stdout(file).stderr(copy).spawn().unwrap();
        let mut running = Running { child, log };
        let client = Client::new(url);
        until("the daemon", || {
            running.still_runs();
            client
                .try_get("/readyz")
                .filter(|answer| answer.lacking().is_none_or(|lacking| lacking == ["models"]))
        });
        Daemon { running, client, address: url.trim_start_matches("http://").to_owned() }
    }

    /// Runs the daemon through a script that execs it; it has to end by itself. Answers its code and what it said.
    pub fn ended_through(&self, script: &str, arguments: &[&str]) -> (Option<i32>, String) {
        let arguments = [&["-c", script, env!("CARGO_BIN_EXE_intentd"), "run"], arguments].concat();
        let output = self.program("python3", &arguments).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Starts the daemon and waits until it is ready.
    pub fn daemon(&self) -> Daemon {
        self.daemon_when(|answer| answer.status == 200)
    }

    /// Starts the daemon and waits until it lacks nothing but models.
    pub fn daemon_without_models(&self) -> Daemon {
        self.daemon_when(|answer| {
            answer.lacking().is_some_and(|lacking| lacking.iter().all(|part| part == "models"))
        })
    }

    /// Every event of the streams with a prefix, from the store itself; no command may run meanwhile.
    pub fn events(&self, prefix: &str) -> Vec<Recorded> {
        events_in(&self.data_dir(), prefix)
    }

    /// Bytes of the log's segments now.
    pub fn log_bytes(&self) -> u64 {
        let Ok(found) = std::fs::read_dir(self.data_dir().join("store/log")) else { return 0 };
        found.filter_map(|entry| entry.ok()?.metadata().ok()).map(|meta| meta.len()).sum()
    }
}

/// A child process; killed when dropped.
pub struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    fn said(&self) -> String {
        let said = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = said.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    fn still_runs(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            panic!("the child ended with {status}:\n{}", self.said());
        }
    }

    /// Whether it has ended; it must not have failed.
    pub fn has_ended(&mut self) -> bool {
        let ended = self.child.try_wait().unwrap();
        assert!(ended.is_none_or(|status| status.success()), "{ended:?}:\n{}", self.said());
        ended.is_some()
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("the child's log ends:\n{}", self.said());
        }
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A daemon that serves.
pub struct Daemon {
    running: Running,
    pub client: Client,
    address: String,
}

impl Daemon {
    /// Where it serves.
    pub fn address(&self) -> String {
        self.address.clone()
    }

    fn proc(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.running.child.id())).unwrap()
    }

    /// KiB that it holds in memory.
    pub fn resident(&self) -> u64 {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Seconds of CPU that it used.
    pub fn cpu(&self) -> f64 {
        let stat = self.proc("stat");
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        // utime and stime, in hundredths.
        fields[11..13].iter().map(|ticks| ticks.parse::<f64>().unwrap() / 100.0).sum()
    }

    /// SIGHUP.
    pub fn hang_up(&self) {
        let pid = rustix::process::Pid::from_child(&self.running.child);
        rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    }

    /// SIGKILL.
    pub fn kill(self) {
        self.running.kill();
    }

    /// SIGTERM; it has to end by itself, in order and without failure.
    pub fn stop(mut self) {
        let pid = rustix::process::Pid::from_child(&self.running.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        until("the end after SIGTERM", || self.running.has_ended().then_some(()));
    }
}

/// What `intentd import` makes of a log.
pub fn imported(log: &Path) -> Vec<serde_json::Value> {
    let place = Place::new();
    place.done(&["import", log.to_str().unwrap()]);
    let daemon = place.daemon();
    let alerts = daemon.client.all("alerts?limit=500");
    daemon.stop();
    assert!(alerts.len() > 40, "{} alerts", alerts.len());
    alerts
}
