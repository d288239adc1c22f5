//! The queries of the port over the pool.

use std::path::Path;
use std::sync::Arc;

use super::cursor::{self, List};
use super::pool::Pool;
use super::{Options, alerts, lists, performance, stats, unscored};
use crate::domain::event::Position;
use crate::domain::id::{AlertId, UserId};
use crate::domain::shard::Shard;
use crate::domain::time::Timestamp;
use crate::projection::performance::{Measure, Performance};
use crate::projection::{
    AlertChange, AlertDetail, AlertQuery, AlertView, Error, Listed, ParkedView, SignalView, Stats,
    UnscoredView, Views,
};

/// Queries the file; cheap to clone, all clones share the connections.
#[derive(Clone, Debug)]
pub struct Reader {
    pool: Arc<Pool>,
}

impl Reader {
    /// A reader of a file that a [`super::Projection`] has opened; connections are opened when first needed.
    pub(super) fn new(path: &Path, options: &Options) -> Self {
        Self { pool: Arc::new(Pool::new(path.to_path_buf(), options)) }
    }
}

impl Views for Reader {
    fn alerts(&self, query: &AlertQuery) -> Result<Listed<AlertView>, Error> {
        let after = alerts::after(query)?;
        self.pool.query(|connection| alerts::page(connection, query, after))
    }

    fn alert(&self, id: AlertId) -> Result<Option<AlertDetail>, Error> {
        self.pool.query(|connection| lists::detail(connection, id))
    }

    fn signals(
        &self,
        user: &UserId,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<Listed<SignalView>, Error> {
        let after = cursor::decode(List::Signals, cursor)?;
        self.pool.query(|connection| lists::signals(connection, user, limit, after))
    }

    fn stats(&self, from: Option<Timestamp>, to: Option<Timestamp>) -> Result<Stats, Error> {
        self.pool.query(|connection| stats::stats(connection, from, to))
    }

    fn performance(&self, asked: &Measure) -> Result<Performance, Error> {
        self.pool.query(|connection| performance::performance(connection, asked))
    }

    fn parked(&self, limit: usize, cursor: Option<&str>) -> Result<Listed<ParkedView>, Error> {
        let after = cursor::decode(List::Parked, cursor)?;
        self.pool.query(|connection| lists::parked(connection, limit, after))
    }

    fn unscored(&self, limit: usize, shard: Shard) -> Result<Vec<UnscoredView>, Error> {
        self.pool.query(|connection| unscored::list(connection, limit, shard))
    }

    fn due(&self, now: Timestamp, limit: usize, shard: Shard) -> Result<Vec<UserId>, Error> {
        self.pool.query(|connection| lists::due(connection, now, limit, shard))
    }

    fn changes(&self, after: Position, limit: usize) -> Result<Vec<AlertChange>, Error> {
        self.pool.query(|connection| lists::changes(connection, after, limit))
    }

    fn position(&self) -> Result<Option<Position>, Error> {
        self.pool.query(lists::position)
    }
}
