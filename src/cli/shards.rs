//! `intentd shards`: whose users are whose, where several instances share one log; and how to change how many they are.
//!
//! Law: nothing here can lose a decision: a checkpoint is written only when it is good for every user it is said to be of.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::{Failure, Global, code};
use crate::app::Layout;
use crate::domain::id::UserId;
use crate::domain::shard::{Shard, owner};
use crate::store::checkpoint::{Checkpoint, Checkpoints as _, FileCheckpoints, earliest};

/// Whose users are whose, where several instances share one log (docs/operations.md).
#[derive(Debug, Args)]
pub(crate) struct Shards {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// This instance's shard, and whether its checkpoint is good for it.
    Show,
    /// Which shard a user is in, by the configured count or another one.
    Owner {
        /// The users.
        #[arg(required = true, value_name = "USER")]
        users: Vec<UserId>,
        /// How many shards.
        #[arg(long)]
        count: Option<u32>,
    },
    /// After a change of count, with all instances stopped: begin where those that had this instance's users had come to.
    ///
    /// Writes this instance's checkpoint: the earliest of theirs. Without it the instance reads the log from its start, which
    /// decides the same and takes longer.
    TakeOver {
        /// The data directories of all instances before the change, this one's own too when it was one of them.
        #[arg(required = true, value_name = "DATA_DIR")]
        from: Vec<PathBuf>,
    },
}

impl Shards {
    pub(crate) fn run(self, global: &Global) -> Result<(), Failure> {
        let config = global.config()?;
        match self.what {
            What::Show => show(config.shard, &config.data_dir),
            What::Owner { users, count } => {
                owners(&users, Shard { index: 0, count: count.unwrap_or(config.shard.count) })
            }
            What::TakeOver { from } => take_over(config.shard, &config.data_dir, &from),
        }
    }
}

fn newest(data_dir: &Path) -> Result<Option<Checkpoint>, Failure> {
    let kept = FileCheckpoints::new(Layout::of(data_dir).checkpoint).newest();
    kept.map_err(|error| Failure::of(code::IO, "the checkpoint", &error))
}

fn show(shard: Shard, data_dir: &Path) -> Result<(), Failure> {
    println!("shard {shard}, data in {}", data_dir.display());
    match newest(data_dir)? {
        None => println!("no checkpoint: the next start reads the log from its start"),
        Some(kept) if shard.is_covered_by(&[kept.shard]) => {
            println!(
                "checkpoint at {} of shard {}: the next start reads on there",
                kept.position.0, kept.shard
            );
        }
        Some(kept) => println!(
            "checkpoint at {} of shard {}, whose users are others: the next start reads the log from its start; \
             `intentd shards take-over` makes it begin later",
            kept.position.0, kept.shard
        ),
    }
    Ok(())
}

fn owners(users: &[UserId], shards: Shard) -> Result<(), Failure> {
    if let Some((_, message)) = shards.fault() {
        return Err(Failure::new(code::USAGE, format!("count {message}")));
    }
    for user in users {
        println!("{}\t{user}", owner(user.as_str(), shards.count));
    }
    Ok(())
}

fn take_over(shard: Shard, data_dir: &Path, from: &[PathBuf]) -> Result<(), Failure> {
    let mut kept = Vec::new();
    for folder in from {
        let Some(checkpoint) = newest(folder)? else {
            let message = format!("{} has no checkpoint.json: is it a data directory?", folder.display());
            return Err(Failure::new(code::NO_INPUT, message));
        };
        println!("{}: shard {} at {}", folder.display(), checkpoint.shard, checkpoint.position.0);
        kept.push(checkpoint);
    }
    let checkpoint =
        earliest(&kept, shard).map_err(|error| Failure::of(code::DATA, "nothing is taken over", &error))?;
    fs::create_dir_all(data_dir)
        .map_err(|error| Failure::of(code::IO, &data_dir.display().to_string(), &error))?;
    let saved = FileCheckpoints::new(Layout::of(data_dir).checkpoint).save(checkpoint);
    saved.map_err(|error| Failure::of(code::IO, "the checkpoint", &error))?;
    println!("shard {shard} begins at {}", checkpoint.position.0);
    Ok(())
}
