//! A store in memory that does what each may do and this one seldom does: reads that take their time, appends that wait for a
//! word, calls of which only the first append is written.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use intentd::store::memory::MemoryStore;
use intentd::store::{
    Append, AppendAnswer, BoxFuture, Direction, Error, EventStore, Filter, Page, Position, StoreId,
    Subscription,
};
use tokio::sync::watch;

#[derive(Default)]
pub struct Odd {
    pub inner: MemoryStore,
    /// Each read takes another time.
    pub uneven: bool,
    pub reads: AtomicUsize,
    /// The next call writes its first append, then fails.
    pub halves: AtomicBool,
    /// Appends to streams that begin so wait.
    pub shut: watch::Sender<Option<&'static str>>,
    /// Appends that have come.
    pub come: watch::Sender<usize>,
}

impl EventStore for Odd {
    fn id(&self) -> StoreId {
        self.inner.id()
    }

    fn append(&self, mut batch: Vec<Append>) -> BoxFuture<'_, Result<Vec<AppendAnswer>, Error>> {
        Box::pin(async move {
            self.come.send_modify(|come| *come += 1);
            let to = batch[0].stream.clone();
            let may = |shut: &Option<&str>| !shut.is_some_and(|shut| to.starts_with(shut));
            self.shut.subscribe().wait_for(may).await.unwrap();
            if self.halves.swap(false, Ordering::SeqCst) {
                batch.truncate(1);
                self.inner.append(batch).await?;
                return Err(Error::Unavailable { reason: "half done".to_owned(), source: None });
            }
            self.inner.append(batch).await
        })
    }

    fn read_stream<'a>(
        &'a self,
        stream: &'a str,
        from: Option<u64>,
        direction: Direction,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, Error>> {
        let turns = [7, 0, 3, 1][self.reads.fetch_add(1, Ordering::Relaxed) % 4];
        Box::pin(async move {
            for _ in 0..if self.uneven { turns } else { 0 } {
                tokio::task::yield_now().await;
            }
            self.inner.read_stream(stream, from, direction, limit).await
        })
    }

    fn read_all<'a>(
        &'a self,
        from: Option<Position>,
        direction: Direction,
        filter: &'a Filter,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, Error>> {
        self.inner.read_all(from, direction, filter, limit)
    }

    fn subscribe_all(&self, after: Option<Position>, filter: Filter) -> Box<dyn Subscription> {
        self.inner.subscribe_all(after, filter)
    }

    fn subscribe_stream(&self, stream: &str, after: Option<u64>) -> Box<dyn Subscription> {
        self.inner.subscribe_stream(stream, after)
    }

    fn head(&self) -> BoxFuture<'_, Result<Option<Position>, Error>> {
        self.inner.head()
    }

    fn writable(&self) -> Result<(), Error> {
        self.inner.writable()
    }
}
