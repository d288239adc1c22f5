//! The commands, one file each, and what their exit codes mean (sysexits).
//!
//! Law: what a person reads goes to standard error or is the command's product on standard output; a failure is one line
//! that names the place and the way out, and an exit code that a script can tell apart.

mod backtest;
mod check;
mod dataset;
mod demo;
mod events;
pub mod feeding;
mod import;
mod models;
mod parked;
mod rebuild;
mod remote;
mod run;
mod shards;
mod simulate;
mod starting;
mod store;
mod user;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, Faults};
use crate::error::Chain;

/// Turns people's behaviour into alerts that somebody can act on, and can explain each of them.
#[derive(Debug, Parser)]
#[command(
    name = "intentd",
    version,
    about,
    after_help = "First steps:\n  intentd demo                    simulated people, alerts as they appear, the API on loopback\n  \
                  intentd check                   is everything in order?\n  intentd run                     the daemon\n\n\
                  Exit codes: 0 done, 1 failed, 64 wrong usage, 65 bad input, 66 no such input, 69 not available,\n\
                  70 a bug, 74 input/output error, 75 try again later, 78 bad configuration."
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command understands.
#[derive(Clone, Debug, Args)]
pub(crate) struct Global {
    /// The configuration file; without it every key has its default. Keys also come from the environment:
    /// `[http] listen` is INTENTD_HTTP__LISTEN.
    #[arg(long, global = true, env = "INTENTD_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Global {
    /// The configuration that the command runs with.
    pub(crate) fn config(&self) -> Result<Config, Failure> {
        Ok(Config::load(self.config.as_deref())?)
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon.
    Run(run::Run),
    /// Simulated people, alerts as they appear, the API on loopback.
    Demo(demo::Demo),
    /// Import event logs (JSON Lines, plain, gzip, zstd).
    Import(import::Import),
    /// Write training examples from the log, point in time.
    Dataset(dataset::Dataset),
    /// Replay the log with other models, against what was decided and what happened.
    Backtest(backtest::Backtest),
    /// Show one user, now or as it stood.
    User(user::User),
    /// Which version of each model serves: list, verify, activate, roll back, challenge.
    Models(models::Models),
    /// List events that could not be folded.
    Parked(parked::Parked),
    /// Delete what is derived, so that it is made again from the log.
    Rebuild(rebuild::Rebuild),
    /// Whose users are whose, where several instances share one log.
    Shards(shards::Shards),
    /// What is written into the log, for whoever reads it there.
    Events(events::Events),
    /// Is everything in order? Names every fault at once.
    Check(check::Check),
    /// Write a seeded event log of simulated people.
    Simulate(simulate::Simulate),
    /// Work on a store without a daemon.
    Store(store::Store),
}

/// Why a command did not do its work: the exit code and what to tell the person.
#[derive(Debug)]
pub(crate) struct Failure {
    /// From sysexits.
    pub(crate) code: u8,
    /// One or more lines.
    pub(crate) message: String,
}

/// Exit codes (`sysexits.h`).
pub(crate) mod code {
    /// It failed in a way that has no code of its own.
    pub(crate) const FAILED: u8 = 1;
    /// The command line is wrong.
    pub(crate) const USAGE: u8 = 64;
    /// The input is wrong.
    pub(crate) const DATA: u8 = 65;
    /// The input is not there.
    pub(crate) const NO_INPUT: u8 = 66;
    /// Something that is needed is not available.
    pub(crate) const UNAVAILABLE: u8 = 69;
    /// A fault of the program or its surroundings.
    pub(crate) const SOFTWARE: u8 = 70;
    /// Reading or writing failed.
    pub(crate) const IO: u8 = 74;
    /// The configuration is wrong.
    pub(crate) const CONFIG: u8 = 78;
}

impl Failure {
    /// A failure from an error with its causes.
    pub(crate) fn of(code: u8, what: &str, error: &(dyn std::error::Error + 'static)) -> Self {
        Self { code, message: format!("{what}: {}", Chain(error)) }
    }

    /// A failure in words.
    pub(crate) fn new(code: u8, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl From<Faults> for Failure {
    fn from(faults: Faults) -> Self {
        let lines: Vec<_> = faults.faults.iter().map(ToString::to_string).collect();
        Self { code: code::CONFIG, message: format!("{faults}:\n  {}", lines.join("\n  ")) }
    }
}

/// The async threads of a command: as many as cores.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::of(code::SOFTWARE, "the async runtime", &error))
}

/// Parses the arguments and runs the command they name.
pub fn main() -> ExitCode {
    crate::scoring::runtime::prepare_environment();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let is_help = !error.use_stderr();
            // Nothing to be done about a closed standard output.
            drop(error.print());
            return if is_help { ExitCode::SUCCESS } else { ExitCode::from(code::USAGE) };
        }
    };
    let done = match cli.command {
        Command::Run(command) => command.run(&cli.global),
        Command::Demo(command) => command.run(&cli.global),
        Command::Import(command) => command.run(&cli.global),
        Command::Dataset(command) => command.run(&cli.global),
        Command::Backtest(command) => command.run(&cli.global),
        Command::User(command) => command.run(&cli.global),
        Command::Models(command) => command.run(&cli.global),
        Command::Parked(command) => command.run(&cli.global),
        Command::Rebuild(command) => command.run(&cli.global),
        Command::Shards(command) => command.run(&cli.global),
        Command::Events(command) => command.run(),
        Command::Check(command) => command.run(&cli.global),
        Command::Simulate(command) => command.run(),
        Command::Store(command) => command.run(&cli.global),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("intentd: {}", failure.message);
            ExitCode::from(failure.code)
        }
    }
}
