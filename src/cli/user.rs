//! `intentd user`: one user's features, signals and scores, now or as they stood.

use clap::Args;
use serde_json::Value;

use super::parked::with_app;
use super::remote::{get, segment};
use super::{Failure, Global, code};
use crate::app::App;
use crate::commands::Commands as _;
use crate::domain::id::UserId;
use crate::domain::time::Timestamp;

/// Show one user: live features, active signals, last scores, open alerts; now, or as they stood at a time.
///
/// Asks the running daemon, or opens the data directory when none runs.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  intentd user user-17 --as-of 2026-05-01T00:00:00Z")]
pub(crate) struct User {
    /// The user's id.
    id: String,
    /// As of when (event time, RFC 3339).
    #[arg(long)]
    as_of: Option<Timestamp>,
}

impl User {
    pub(crate) fn run(self, global: &Global) -> Result<(), Failure> {
        let config = global.config()?;
        let user: UserId = self
            .id
            .parse()
            .map_err(|error| Failure::of(code::USAGE, &format!("the user {:?}", self.id), &error))?;
        let query = self.as_of.map_or_else(String::new, |as_of| format!("?asOf={as_of}"));
        let found = match get(&config, &format!("/users/{}{query}", segment(&self.id)))? {
            Some(found) => found,
            None => with_app(&config, async |app: &App| described(app, user, self.as_of).await)?,
        };
        let text = serde_json::to_string_pretty(&found);
        println!("{}", text.map_err(|error| Failure::of(code::SOFTWARE, "user", &error))?);
        Ok(())
    }
}

async fn described(app: &App, user: UserId, as_of: Option<Timestamp>) -> Result<Value, Failure> {
    let none = || Failure::new(code::NO_INPUT, format!("the log holds nothing of {user}"));
    let found = app.daemon.describe(user.clone(), as_of).await;
    let found = found.map_err(|error| Failure::of(code::UNAVAILABLE, "user", &error))?.ok_or_else(none)?;
    crate::http::user_json(found, &app.catalog).map_err(|error| Failure::of(code::SOFTWARE, "user", &error))
}
