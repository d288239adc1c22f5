//! `GET /stream/alerts`: server-sent events of alert changes.
//!
//! Law: a client that reconnects with the last id it saw gets every later change once, in order: what stands in the
//! projection is read first, what is told live and stands in it already is left out. A client too slow for the live part
//! has its stream ended, and reads on from the projection when it comes back.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, stream};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, broadcast};
use warp::Reply as _;
use warp::reply::Response;
use warp::sse::Event;

use super::App;
use super::dto::Alert;
use super::problem::Problem;
use super::routes::Call;
use crate::domain::event::Position;
use crate::projection::AlertChange;
use crate::store::StoreId;

/// Changes read from the projection at once: a page takes about a millisecond, and no stream holds more in memory.
const PAGE: usize = 256;
/// What a client is told to wait before it reconnects.
const RETRY: Duration = Duration::from_secs(1);

/// Alert changes as they happen
///
/// Each server-sent event has the kind of change as `event` (`AlertScored`, `AlertEscalated`, `AlertStatusChanged`,
/// `AlertOutcomeRecorded`), the alert after it as `data`, and an `id` to resume after. The first event has an id alone.
/// A client that falls behind, and every client when the daemon stops, has its stream ended: reconnect with
/// `Last-Event-ID` (browsers do) and nothing is missed.
#[utoipa::path(get, path = "/api/v1/stream/alerts", tag = "alerts", operation_id = "streamAlerts",
    params(("Last-Event-ID" = Option<String>, Header, description = "The last id seen: the stream goes on after it.")),
    responses(
        (status = 200, description = "The stream.", body = Alert, content_type = "text/event-stream"),
        (status = 400, description = "The id is none that this stream gave.", body = Problem, content_type = "application/problem+json"),
        (status = 410, description = "The id is of another store: connect without it.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Too many streams, or not now.", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn alerts(call: Call) -> Result<Response, Problem> {
    call.no_query()?;
    let app = Arc::clone(&call.app);
    let slot = Arc::clone(&app.streams).try_acquire_owned();
    let slot = slot.map_err(|_| Problem::unavailable("as many event streams as are allowed are open"))?;
    let resume = match call.headers.get("last-event-id").map(|id| id.to_str().unwrap_or("?")) {
        None | Some("") => None,
        Some(id) => Some(after(id, app.ports.store)?),
    };
    // The receiver stands before the projection is asked: what it misses, the projection has.
    let live = (app.ports.changes)();
    let start = match resume {
        Some(position) => position,
        None => {
            let views = Arc::clone(&app.ports.views);
            app.queries.run(move || views.position()).await??.unwrap_or_default()
        }
    };
    let state = Feed {
        ready: VecDeque::from([Event::default().id(id(app.ports.store, start)).retry(RETRY)]),
        is_caught_up: resume.is_none(),
        last: start,
        live,
        app: Arc::clone(&app),
        _slot: slot,
    };
    let kept = warp::sse::keep_alive().interval(app.options.keep_alive).stream(state.events());
    Ok(warp::sse::reply(kept).into_response())
}

/// An event's id: positions are good only with their store.
fn id(store: StoreId, Position(position): Position) -> String {
    format!("{store}:{position}")
}

fn after(id: &str, store: StoreId) -> Result<Position, Problem> {
    let (of, position) = id
        .rsplit_once(':')
        .and_then(|(of, position)| Some((of, position.parse().ok()?)))
        .ok_or_else(|| Problem::bad_at("Last-Event-ID", "is no id that this stream gave"))?;
    if of == store.to_string() {
        Ok(Position(position))
    } else {
        Err(Problem::gone(
            "the id is of another store; connect without Last-Event-ID and read GET /alerts anew",
        ))
    }
}

struct Feed {
    app: Arc<App>,
    live: broadcast::Receiver<Arc<AlertChange>>,
    /// Read and not yet sent.
    ready: VecDeque<Event>,
    /// The newest change that was read.
    last: Position,
    /// Whether what stood in the projection has been read.
    is_caught_up: bool,
    _slot: OwnedSemaphorePermit,
}

impl Feed {
    fn events(self) -> impl Stream<Item = Result<Event, Infallible>> + Send + Sync + 'static {
        stream::unfold(self, |mut feed| async move {
            loop {
                if let Some(event) = feed.ready.pop_front() {
                    return Some((Ok(event), feed));
                }
                if feed.is_caught_up { feed.listen().await? } else { feed.catch_up().await? }
            }
        })
    }

    /// The next page of what stands in the projection; none ends the stream.
    async fn catch_up(&mut self) -> Option<()> {
        // A fresh receiver per page: however long catching up takes, the live part begins with its last page.
        self.live = self.live.resubscribe();
        let (views, after) = (Arc::clone(&self.app.ports.views), self.last);
        let reading = self.app.queries.run(move || views.changes(after, PAGE));
        let page = tokio::select! {
            page = reading => page.ok()?,
            () = self.app.stopping() => return None,
        };
        let page = match page {
            Ok(page) => page,
            Err(error) => {
                tracing::warn!(error = %crate::error::Chain(&error), "an event stream ends");
                return None;
            }
        };
        self.is_caught_up = page.len() < PAGE;
        page.iter().try_for_each(|change| self.push(change))
    }

    /// The next live change; none ends the stream.
    async fn listen(&mut self) -> Option<()> {
        let change = tokio::select! {
            change = self.live.recv() => change,
            () = self.app.stopping() => return None,
        };
        match change {
            Ok(change) => self.push(&change),
            Err(RecvError::Lagged(missed)) => {
                tracing::debug!(missed, "an event stream fell behind and ends");
                None
            }
            Err(RecvError::Closed) => None,
        }
    }

    /// Makes an event of a change that was not sent yet; none ends the stream.
    fn push(&mut self, change: &AlertChange) -> Option<()> {
        if change.position <= self.last {
            return Some(());
        }
        self.last = change.position;
        let event = Event::default()
            .id(id(self.app.ports.store, change.position))
            .event(change.event_type.clone())
            .json_data(Alert::from(change.alert.clone()));
        match event {
            Ok(event) => {
                self.ready.push_back(event);
                Some(())
            }
            Err(error) => {
                tracing::error!(%error, "a change could not be written to an event stream");
                None
            }
        }
    }
}
