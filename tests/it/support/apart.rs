//! A corner of a store that others use too: streams under a prefix of its own, and of `$all` only what is in them. So the
//! contract suite can run on a server that is not empty, several laws at once.

use std::sync::Arc;

use intentd::store::{
    Append, AppendAnswer, BoxFuture, Direction, Error, EventStore, Filter, Message, Page, Position, Recorded,
    Revision, StoreId, Subscription,
};
use uuid::Uuid;

pub struct Apart {
    inner: Arc<dyn EventStore>,
    prefix: String,
}

impl Apart {
    pub fn new(inner: Arc<dyn EventStore>) -> Self {
        Self { inner, prefix: format!("apart-{}-", Uuid::new_v4().simple()) }
    }

    fn name(&self, stream: &str) -> String {
        format!("{}{stream}", self.prefix)
    }

    fn filter(&self, filter: &Filter) -> Filter {
        let mut filter = filter.clone();
        let prefixes = &mut filter.stream_prefixes;
        prefixes.iter_mut().for_each(|prefix| *prefix = self.name(prefix));
        if prefixes.is_empty() {
            prefixes.push(self.prefix.clone());
        }
        if let Some(sparse) = &mut filter.sparse {
            sparse.stream_prefix = self.name(&sparse.stream_prefix);
        }
        filter
    }
}

fn bare(prefix: &str, mut events: Vec<Recorded>) -> Vec<Recorded> {
    for event in &mut events {
        event.stream = event.stream.strip_prefix(prefix).unwrap().into();
    }
    events
}

impl EventStore for Apart {
    fn id(&self) -> StoreId {
        self.inner.id()
    }

    fn append(&self, mut batch: Vec<Append>) -> BoxFuture<'_, Result<Vec<AppendAnswer>, Error>> {
        batch.iter_mut().for_each(|append| append.stream = self.name(&append.stream));
        Box::pin(async move {
            let mut answers = self.inner.append(batch).await?;
            for conflict in answers.iter_mut().filter_map(|answer| answer.as_mut().err()) {
                conflict.stream = conflict.stream.strip_prefix(&self.prefix).unwrap().to_owned();
            }
            Ok(answers)
        })
    }

    fn read_stream<'a>(
        &'a self,
        stream: &'a str,
        from: Option<Revision>,
        direction: Direction,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, Error>> {
        Box::pin(async move {
            let page = self.inner.read_stream(&self.name(stream), from, direction, limit).await?;
            Ok(Page { events: bare(&self.prefix, page.events), ..page })
        })
    }

    fn read_all<'a>(
        &'a self,
        from: Option<Position>,
        direction: Direction,
        filter: &'a Filter,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, Error>> {
        Box::pin(async move {
            let page = self.inner.read_all(from, direction, &self.filter(filter), limit).await?;
            Ok(Page { events: bare(&self.prefix, page.events), ..page })
        })
    }

    fn subscribe_all(&self, after: Option<Position>, filter: Filter) -> Box<dyn Subscription> {
        let inner = self.inner.subscribe_all(after, self.filter(&filter));
        Box::new(Told { inner, prefix: self.prefix.clone(), last: after, is_live: false })
    }

    fn subscribe_stream(&self, stream: &str, after: Option<Revision>) -> Box<dyn Subscription> {
        let inner = self.inner.subscribe_stream(&self.name(stream), after);
        Box::new(Told { inner, prefix: self.prefix.clone(), last: None, is_live: false })
    }

    fn head(&self) -> BoxFuture<'_, Result<Option<Position>, Error>> {
        Box::pin(async {
            let page = self.read_all(None, Direction::Backwards, &Filter::default(), 1).await?;
            Ok(page.events.first().map(|event| event.position))
        })
    }

    fn writable(&self) -> Result<(), Error> {
        self.inner.writable()
    }
}

/// What is told of the corner: its end is that of its own events.
struct Told {
    inner: Box<dyn Subscription>,
    prefix: String,
    last: Option<Position>,
    is_live: bool,
}

impl Subscription for Told {
    fn next(&mut self) -> BoxFuture<'_, Result<Message, Error>> {
        Box::pin(async {
            loop {
                match self.inner.next().await? {
                    Message::Events(events) => {
                        let events = bare(&self.prefix, events);
                        self.last = events.last().map(|event| event.position);
                        return Ok(Message::Events(events));
                    }
                    Message::CaughtUp(_) => {
                        self.is_live = true;
                        return Ok(Message::CaughtUp(self.last));
                    }
                    Message::Checkpoint(at) if self.is_live => return Ok(Message::Checkpoint(at)),
                    Message::Checkpoint(_) => {}
                }
            }
        })
    }
}
