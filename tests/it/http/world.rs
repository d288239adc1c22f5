//! A daemon in memory for the API to stand on: commands and views over one list of alerts.
//!
//! Law: what a command did, the next query shows, as the ports promise.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use intentd::commands::{
    Commands, Error, Ingest, Ingested, NotReady, OutcomeGiven, Processed, UserScores, Watching,
};
use intentd::domain::alert::Status;
use intentd::domain::entity::{Description, LastScore, Refusal};
use intentd::domain::event::{NamedValue, Position};
use intentd::domain::id::{AlertId, EventId, UserId};
use intentd::domain::policy::Priority;
use intentd::domain::shard::Shard;
use intentd::domain::time::Timestamp;
use intentd::projection::performance::{Measure, Performance};
use intentd::projection::{
    self, AlertChange, AlertDetail, AlertQuery, AlertView, Listed, ParkedView, SignalView, Stats,
    UnscoredView, Views,
};
use intentd::store::BoxFuture;
use tokio::sync::{Notify, broadcast};
use uuid::Uuid;

use super::samples::{alert, alert_id, cause, score, signal, time};

/// Makes an error; errors themselves cannot be kept.
type Fail<E> = Option<fn() -> E>;

/// What the fakes know and were asked.
pub struct World {
    pub alerts: Mutex<Vec<AlertDetail>>,
    pub changes: Mutex<Vec<AlertChange>>,
    pub live: broadcast::Sender<Arc<AlertChange>>,
    pub log: Mutex<Vec<Ingest>>,
    pub asked: Mutex<Vec<AlertQuery>>,
    pub calls: Mutex<Vec<String>>,
    pub not_ready: Mutex<Vec<NotReady>>,
    pub commands_fail: Mutex<Fail<Error>>,
    pub views_fail: Mutex<Fail<projection::Error>>,
    /// While set, `process_signals` waits for it.
    pub hold: Mutex<Option<Arc<Notify>>>,
}

impl World {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            alerts: Mutex::new(vec![alert(1, "u1"), alert(2, "u/2 ü")]),
            changes: Mutex::default(),
            live: broadcast::channel(4).0,
            log: Mutex::default(),
            asked: Mutex::default(),
            calls: Mutex::default(),
            not_ready: Mutex::default(),
            commands_fail: Mutex::default(),
            views_fail: Mutex::default(),
            hold: Mutex::default(),
        })
    }

    /// A change is committed, then told.
    pub fn commit(&self, change: AlertChange) {
        self.changes.lock().unwrap().push(change.clone());
        let _listeners = self.live.send(Arc::new(change));
    }

    fn call(&self, text: String) -> Result<(), Error> {
        self.calls.lock().unwrap().push(text);
        self.commands_fail.lock().unwrap().map_or(Ok(()), |fail| Err(fail()))
    }

    fn query(&self) -> Result<(), projection::Error> {
        self.views_fail.lock().unwrap().map_or(Ok(()), |fail| Err(fail()))
    }

    fn change_alert(
        &self,
        id: AlertId,
        change: impl FnOnce(&mut AlertView) -> Result<(), Refusal>,
    ) -> Result<(), Error> {
        let mut alerts = self.alerts.lock().unwrap();
        let found = alerts.iter_mut().find(|detail| detail.alert.id == id);
        Ok(change(&mut found.ok_or(Refusal::NoAlert { alert: id })?.alert)?)
    }
}

impl Commands for World {
    fn ingest(&self, events: Vec<Ingest>) -> BoxFuture<'_, Result<Ingested, Error>> {
        Box::pin(async move {
            self.call(format!("ingest {}", events.len()))?;
            let mut log = self.log.lock().unwrap();
            let mut known: HashSet<_> = log.iter().map(|ingest| ingest.event.id).collect();
            let mut done = Ingested { accepted: 0, duplicates: 0, position: Position(0) };
            for event in events {
                if known.insert(event.event.id) {
                    done.accepted += 1;
                    log.push(event);
                } else {
                    done.duplicates += 1;
                }
            }
            done.position = Position(log.len() as u64);
            Ok(done)
        })
    }

    fn score(
        &self,
        users: Vec<UserId>,
        model_types: Vec<String>,
    ) -> BoxFuture<'_, Result<Vec<UserScores>, Error>> {
        Box::pin(async move {
            self.call(format!("score {} {}", users.len(), model_types.join("+")))?;
            let failed = || LastScore {
                scoring: Err("no model BUY is loaded".to_owned()),
                alert_id: None,
                ..score("BUY")
            };
            Ok(users
                .into_iter()
                .map(|user| UserScores { user, scores: vec![score("SELL"), failed()] })
                .collect())
        })
    }

    fn process_signals(&self, limit: usize) -> BoxFuture<'_, Result<Processed, Error>> {
        Box::pin(async move {
            self.call(format!("process {limit}"))?;
            assert_ne!(limit, 13, "a planted panic");
            let hold = self.hold.lock().unwrap().clone();
            if let Some(hold) = hold {
                hold.notified().await;
            }
            Ok(Processed { users: 2, signals: 3, scored: 4, alerts_created: 1, failed: 0, duration_ms: 5 })
        })
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
        Box::pin(async move {
            self.call(format!("status {user} {by} {note:?}"))?;
            self.change_alert(alert, |view| {
                let allowed = view.status.moves().to_vec();
                if !allowed.contains(&status) {
                    return Err(Refusal::NotAllowed { from: view.status, to: status, allowed });
                }
                view.status = status;
                view.snoozed_until = snooze_until;
                Ok(())
            })
        })
    }

    fn record_outcome(
        &self,
        user: UserId,
        alert: AlertId,
        given: OutcomeGiven,
    ) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            self.call(format!("outcome {user} {}", given.by))?;
            self.change_alert(alert, |view| {
                if given.occurred_at.is_some_and(|at| at < view.created_at) {
                    return Err(Refusal::Invalid { reason: "it happened before the alert".to_owned() });
                }
                view.outcome = Some(given.outcome);
                view.converted = given.converted;
                view.conversion_value = given.conversion_value;
                Ok(())
            })
        })
    }

    fn describe(
        &self,
        user: UserId,
        as_of: Option<Timestamp>,
    ) -> BoxFuture<'_, Result<Option<Description>, Error>> {
        Box::pin(async move {
            self.call(format!("describe {user}"))?;
            Ok((user.as_str() != "nobody").then(|| Description {
                user,
                as_of: as_of.unwrap_or(time("2026-01-02T00:00:00Z")),
                revision: Some(5),
                features: vec![7.0, f64::NAN],
                signals: vec![signal()],
                scores: vec![score("SELL")],
                alerts: vec![("SELL".to_owned(), alert_id(1), Status::Pending, Priority::High)],
            }))
        })
    }

    fn unpark(&self, _: UserId, _: u64, _: String) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async { Ok(()) })
    }

    fn events(&self, user: UserId, revisions: Vec<u64>) -> BoxFuture<'_, Result<Vec<Bytes>, Error>> {
        Box::pin(async move {
            self.call(format!("events {user} {revisions:?}"))?;
            Ok(revisions
                .into_iter()
                .map(|revision| Bytes::from(format!("{{\"id\": \"e{revision}\"}}")))
                .collect())
        })
    }

    fn watching(&self) -> Watching {
        super::performance::watching()
    }

    fn not_ready(&self) -> Vec<NotReady> {
        self.not_ready.lock().unwrap().clone()
    }
}

impl Views for World {
    fn alerts(&self, query: &AlertQuery) -> Result<Listed<AlertView>, projection::Error> {
        self.query()?;
        self.asked.lock().unwrap().push(query.clone());
        let skip = match query.cursor.as_deref() {
            None => 0,
            Some(cursor) => cursor.parse::<usize>().map_err(|_| projection::Error::BadCursor)?,
        };
        let alerts = self.alerts.lock().unwrap();
        let of_user = |view: &&AlertView| query.user.as_ref().is_none_or(|user| *user == view.user_id);
        let mut rest = alerts.iter().map(|detail| &detail.alert).filter(of_user).skip(skip).peekable();
        let items: Vec<_> = rest.by_ref().take(query.limit).cloned().collect();
        let next_cursor = rest.peek().map(|_| (skip + items.len()).to_string());
        Ok(Listed { items, next_cursor })
    }

    fn alert(&self, id: AlertId) -> Result<Option<AlertDetail>, projection::Error> {
        self.query()?;
        Ok(self.alerts.lock().unwrap().iter().find(|detail| detail.alert.id == id).cloned())
    }

    fn signals(
        &self,
        user: &UserId,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<Listed<SignalView>, projection::Error> {
        self.query()?;
        if cursor.is_some_and(|cursor| cursor != "next") {
            return Err(projection::Error::BadCursor);
        }
        let view = SignalView {
            id: EventId(Uuid::from_u128(0x51)),
            user_id: user.clone(),
            signal: "burst".to_owned(),
            category: "engagement".to_owned(),
            strength: 0.8,
            detected_at: time("2026-01-01T00:00:00Z"),
            expires_at: time("2026-01-31T00:00:00Z"),
            models: vec!["SELL".to_owned()],
            cause: cause(3),
            features: vec![NamedValue { name: "busy".to_owned(), value: f32::NAN }],
            catalog_version: "another".to_owned(),
        };
        Ok(Listed { items: vec![view; limit.min(2)], next_cursor: Some("next".to_owned()) })
    }

    fn stats(&self, from: Option<Timestamp>, _: Option<Timestamp>) -> Result<Stats, projection::Error> {
        self.query()?;
        if from.is_some() {
            return Ok(Stats::default());
        }
        let by: HashMap<&str, u64> = HashMap::from([("SELL", 30)]);
        Ok(Stats {
            total: 30,
            by_status: vec![(Status::Pending, 30)],
            by_priority: vec![(Priority::High, 30)],
            by_model: by.into_iter().map(|(name, count)| (name.to_owned(), count)).collect(),
            by_day: vec![("2026-01-01".to_owned(), 30)],
            open: 30,
            oldest_open: Some(time("2026-01-01T00:00:00Z")),
            response_ms_p50: Some(60_000),
            response_ms_p90: None,
            outcomes_known: 4,
            converted: 1,
            conversion_value: 12.5,
            conversions_recorded: 2,
            users: 1_000,
            span_days: 365.2425 / 2.0,
        })
    }

    fn performance(&self, asked: &Measure) -> Result<Performance, projection::Error> {
        self.query()?;
        Ok(super::performance::measured(asked))
    }

    fn parked(&self, _: usize, _: Option<&str>) -> Result<Listed<ParkedView>, projection::Error> {
        Ok(Listed { items: Vec::new(), next_cursor: None })
    }

    fn unscored(&self, _: usize, _: Shard) -> Result<Vec<UnscoredView>, projection::Error> {
        Ok(Vec::new())
    }

    fn due(&self, _: Timestamp, _: usize, _: Shard) -> Result<Vec<UserId>, projection::Error> {
        Ok(Vec::new())
    }

    fn changes(&self, after: Position, limit: usize) -> Result<Vec<AlertChange>, projection::Error> {
        self.query()?;
        let changes = self.changes.lock().unwrap();
        Ok(changes.iter().filter(|change| change.position > after).take(limit).cloned().collect())
    }

    fn position(&self) -> Result<Option<Position>, projection::Error> {
        Ok(self.changes.lock().unwrap().last().map(|change| change.position))
    }
}
