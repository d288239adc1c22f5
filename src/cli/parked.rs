//! `intentd parked`: events that could not be folded, with their reasons; `--replay` folds one again.

use clap::Args;
use serde_json::Value;

use super::check::load_catalog;
use super::remote::{get, post, segment};
use super::run::start_failed;
use super::{Failure, Global, code, runtime};
use crate::app::App;
use crate::commands::Commands as _;
use crate::config::Config;
use crate::domain::id::UserId;
use crate::projection::Views as _;

/// List events that were put aside because they could not be folded, newest first, each with its reason.
///
/// Asks the running daemon, or opens the data directory when none runs.
#[derive(Debug, Args)]
#[command(after_help = "Example, after the cause is mended:\n  intentd parked --replay user-17 42")]
pub(crate) struct Parked {
    /// Fold the event again that stands at this revision of the user's stream.
    #[arg(long, num_args = 2, value_names = ["USER", "REVISION"])]
    replay: Option<Vec<String>>,
    /// At most this many.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=500))]
    limit: u16,
}

impl Parked {
    pub(crate) fn run(self, global: &Global) -> Result<(), Failure> {
        let config = global.config()?;
        match self.replay.as_deref() {
            Some([user, revision]) => replay(&config, user, revision),
            Some(_) => Err(Failure::new(code::USAGE, "--replay takes a user and a revision")),
            None => self.list(&config),
        }
    }

    fn list(&self, config: &Config) -> Result<(), Failure> {
        let listed = match get(config, &format!("/parked?limit={}", self.limit))? {
            Some(listed) => listed,
            None => with_app(config, async |app: &App| {
                let listed = app.views.parked(usize::from(self.limit), None);
                let listed = listed.map_err(|error| Failure::of(code::UNAVAILABLE, "parked", &error))?;
                serde_json::to_value(listed).map_err(|error| Failure::of(code::SOFTWARE, "parked", &error))
            })?,
        };
        let items = listed.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
        if items.is_empty() {
            println!("no event is parked");
        }
        for item in items {
            let text = |pointer: &str| item.pointer(pointer).map(shown).unwrap_or_default();
            println!(
                "{} {} revision {} ({} attempts): {}",
                text("/at"),
                text("/userId"),
                text("/cause/revision"),
                text("/attempts"),
                text("/reason")
            );
        }
        Ok(())
    }
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn replay(config: &Config, user: &str, revision: &str) -> Result<(), Failure> {
    let parsed: UserId =
        user.parse().map_err(|error| Failure::of(code::USAGE, &format!("the user {user:?}"), &error))?;
    let revision: u64 = revision
        .parse()
        .map_err(|error| Failure::of(code::USAGE, &format!("the revision {revision:?}"), &error))?;
    let path = format!("/parked/{}/{revision}/replay", segment(user));
    if post(config, &path)?.is_none() {
        with_app(config, async |app: &App| {
            let asked = app.daemon.unpark(parsed, revision, "cli".to_owned()).await;
            asked.map_err(|error| Failure::of(code::UNAVAILABLE, "replay", &error))
        })?;
    }
    println!("event {revision} of {user} is folded again");
    Ok(())
}

/// Does something with a daemon of our own, for as long as it takes.
pub(super) fn with_app<T>(
    config: &Config,
    work: impl AsyncFnOnce(&App) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let catalog = load_catalog(&config.catalog)?;
    runtime()?.block_on(async {
        let app = App::start(config, catalog).await.map_err(|error| start_failed(&error))?;
        let done = work(&app).await;
        app.stop().await;
        done
    })
}
