//! One group at work: reads what it follows, drives the machine, talks to consumers, writes down how far it has come.
//!
//! Law: an effect is carried out before the next one, and what is written is durable before anything relies on it; when the
//! log cannot be read or written, all consumers are let go and the group begins again from the log. Run by `registry`.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tonic::Status;

use super::command::Command;
use super::config::Config;
use super::follow::Following;
use super::journal;
use super::live::Live;
use crate::store::EventStore;
use crate::wire::status::{group_dropped, not_ready};
use crate::wire::stopped;

/// How often it is looked for what was not acknowledged in time.
const TICK: Duration = Duration::from_millis(200);
/// Wait before a group that failed begins again.
const PAUSE: Duration = Duration::from_secs(1);

/// A group and what drives it.
pub(super) struct Group {
    pub(super) store: Arc<dyn EventStore>,
    pub(super) config: Arc<Config>,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) stopping: watch::Receiver<bool>,
}

impl Group {
    /// Works until it is told to end, or the server stops.
    pub(super) async fn run(mut self) {
        while let Err(status) = self.work().await {
            let group = &self.config.key.group;
            tracing::warn!(%group, status = status.message(), "a persistent subscription begins again");
            let until = Instant::now() + PAUSE;
            // Who asks meanwhile hears that it is not ready.
            while let Ok(command) = tokio::time::timeout_at(until, self.commands.recv()).await {
                match command {
                    None => return,
                    Some(Command::End { .. }) => return,
                    Some(_) => {}
                }
            }
            if *self.stopping.borrow() {
                return;
            }
        }
    }

    async fn work(&mut self) -> Result<(), Status> {
        let key = &self.config.key;
        let checkpoint = journal::checkpoint(&*self.store, key).await?;
        let place = checkpoint.or(self.config.after);
        let parked = journal::parked(&*self.store, key).await?;
        let mut following = Following::begin(&self.store, &self.config, place).await?;
        let mut live = Live::new(Arc::clone(&self.store), Arc::clone(&self.config), place, parked);
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            live.carry_out().await?;
            if live.fetch_parked().await? {
                continue;
            }
            tokio::select! {
                biased;
                () = stopped(&mut self.stopping) => return live.end(&not_ready()).await,
                command = self.commands.recv() => match command {
                    None => return live.end(&not_ready()).await,
                    Some(Command::End { done }) => {
                        live.end(&group_dropped(key.follows.name(), &key.group)).await?;
                        drop(done);
                        return Ok(());
                    }
                    Some(command) => live.take(command).await?,
                },
                gone = live.gone() => live.left(gone),
                read = following.next(), if live.has_room() => live.read(read?),
                _ = tick.tick() => live.tick(),
            }
        }
    }
}
