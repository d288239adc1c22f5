//! The running daemon as the outside may ask it: the port of [`crate::commands`] over [`Daemon`].
//!
//! Law: each call is bounded in time, and refused once the daemon stops. Called by `http`.

use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::daemon::{Daemon, from_store};
use super::history;
use super::requests::Request;
use crate::commands::{
    Commands, Error, Ingest, Ingested, NotReady, OutcomeGiven, Processed, UserScores, Watching,
};
use crate::domain::alert::Status;
use crate::domain::entity::{Command, Description};
use crate::domain::id::{AlertId, UserId};
use crate::domain::time::Timestamp;
use crate::error::Chain;
use crate::store::BoxFuture;

impl Commands for Daemon {
    fn ingest(&self, events: Vec<Ingest>) -> BoxFuture<'_, Result<Ingested, Error>> {
        Box::pin(self.0.within("the append", self.0.ingest(events)))
    }

    fn score(
        &self,
        users: Vec<UserId>,
        model_types: Vec<String>,
    ) -> BoxFuture<'_, Result<Vec<UserScores>, Error>> {
        Box::pin(self.0.within("the scores", async move {
            self.0.known(&users).await?;
            let now = self.0.now();
            let requests =
                users.into_iter().map(|user| Request::asked(user, model_types.clone(), now)).collect();
            let scored = self.0.score(requests).await?;
            Ok(scored.into_iter().map(|(user, _, scores)| UserScores { user, scores }).collect())
        }))
    }

    fn process_signals(&self, limit: usize) -> BoxFuture<'_, Result<Processed, Error>> {
        Box::pin(self.0.within("the scores", self.0.process_signals(limit)))
    }

    fn set_status(
        &self,
        user: UserId,
        alert: AlertId,
        status: Status,
        note: Option<String>,
        snooze_until: Option<Timestamp>,
        by: String,
    ) -> BoxFuture<'_, Result<(), Error>> {
        let command = Command::SetStatus { alert, status, note, snooze_until, by };
        Box::pin(self.0.within("the move", async move { self.0.command(&user, command).await.map(drop) }))
    }

    fn record_outcome(
        &self,
        user: UserId,
        alert: AlertId,
        given: OutcomeGiven,
    ) -> BoxFuture<'_, Result<(), Error>> {
        let OutcomeGiven { outcome, converted, conversion_value, occurred_at, note, by } = given;
        let occurred_at = occurred_at.unwrap_or_else(|| (self.0.parts.wall)());
        let command =
            Command::RecordOutcome { alert, outcome, converted, conversion_value, occurred_at, note, by };
        Box::pin(self.0.within("the outcome", async move { self.0.command(&user, command).await.map(drop) }))
    }

    fn describe(
        &self,
        user: UserId,
        as_of: Option<Timestamp>,
    ) -> BoxFuture<'_, Result<Option<Description>, Error>> {
        Box::pin(self.0.within("the user", async move {
            match as_of {
                None => self.0.describe(&user).await,
                Some(as_of) => {
                    history::describe(&self.0.parts, &user, as_of, as_of).await.map_err(|e| from_store(&e))
                }
            }
        }))
    }

    fn unpark(&self, user: UserId, revision: u64, by: String) -> BoxFuture<'_, Result<(), Error>> {
        let command = Command::Unpark { revision, by };
        Box::pin(self.0.within("the event", async move { self.0.command(&user, command).await.map(drop) }))
    }

    fn events(&self, user: UserId, revisions: Vec<u64>) -> BoxFuture<'_, Result<Vec<Bytes>, Error>> {
        Box::pin(self.0.within("the events", async move { self.0.events(&user, revisions).await }))
    }

    fn watching(&self) -> Watching {
        self.0.parts.watch.read(self.0.now())
    }

    fn not_ready(&self) -> Vec<NotReady> {
        let mut reasons = (self.0.parts.models)();
        let mut add = |component: &str, reason: String| {
            reasons.push(NotReady { component: component.to_owned(), reason });
        };
        if self.0.stopping.load(Ordering::Acquire) {
            add("stopping", "the daemon is stopping".to_owned());
        }
        if let Some(reason) = self.0.root.reason() {
            add("daemon", format!("it cannot go on and ends: {reason}"));
        }
        if let Err(error) = self.0.parts.store.writable() {
            add("store", Chain(&error).to_string());
        }
        if let Some((appends, since)) = self.0.flow.overlap.recent() {
            let (shard, since) = (self.0.parts.shard, since.as_secs());
            add(
                "shard",
                format!(
                    "another instance decides about users of shard {shard}: {appends} appends met its facts, the last {since}s ago; \
                 each user is decided once all the same; stop one of the two"
                ),
            );
        }
        let (feed, view) = self.0.lags();
        let lag_max = self.0.parts.options.lag_max;
        if !self.0.flow.has_caught_up() {
            add("feed", "the log is still being read; wait".to_owned());
        } else if feed > lag_max {
            add("feed", format!("users have not seen what was appended {}s ago", feed.as_secs()));
        }
        if !*self.0.told.caught_up.borrow() {
            add("projection", "the view is still being built; wait".to_owned());
        } else if view > lag_max {
            add("projection", format!("the view does not show what was appended {}s ago", view.as_secs()));
        }
        reasons
    }
}
