//! A group in figures, as clients ask for them.
//!
//! Law: texts and units are the protocol's. Called by `live`.

use std::time::Duration;

use tonic::Status;

use super::command::Who;
use super::config::{Config, Followed, Key};
use super::machine::{ConsumerId, Figures, Place};
use crate::store::EventStore;
use crate::wire::proto::event_store::client::persistent_subscriptions::SubscriptionInfo;
use crate::wire::proto::event_store::client::persistent_subscriptions::subscription_info::ConnectionInfo;
use crate::wire::status::of_store;
use crate::wire::stream_metadata;

/// A connected consumer.
#[derive(Default)]
pub(super) struct Connected {
    pub(super) who: Who,
    /// What it had been given when somebody looked last.
    pub(super) told: u64,
}

/// What is known of a group beside its machine.
pub(super) struct Group<'a> {
    pub(super) config: &'a Config,
    /// The newest place of what it follows.
    pub(super) newest: Option<Place>,
    pub(super) parked: u64,
    /// What had been given when somebody looked last.
    pub(super) told: u64,
    /// How long it has worked.
    pub(super) span: Duration,
}

/// Where a group begins, as the protocol writes it; none is the end.
pub(super) fn place_text(follows: &Followed, place: Option<Place>) -> String {
    match (follows, place) {
        (Followed::Stream(_), Some(place)) => place.to_string(),
        (Followed::Stream(_), None) => "-1".to_owned(),
        (Followed::All, Some(place)) => format!("C:{place}/P:{place}"),
        (Followed::All, None) => "C:-1/P:-1".to_owned(),
    }
}

/// The newest place of what a group follows.
pub(super) async fn newest(store: &dyn EventStore, key: &Key) -> Result<Option<Place>, Status> {
    Ok(match &key.follows {
        Followed::Stream(stream) => stream_metadata::last(store, stream).await?.map(|last| last.revision),
        Followed::All => store.head().await.map_err(|error| of_store(&error))?.map(|head| head.0),
    })
}

fn small(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

fn per_second(count: u64, span: Duration) -> i32 {
    let seconds = span.as_secs().max(1);
    i32::try_from(count / seconds).unwrap_or(i32::MAX)
}

fn since(given: u64, told: u64) -> i64 {
    given.saturating_sub(told).cast_signed()
}

impl Group<'_> {
    fn connection(
        &self,
        Connected { who, told }: Connected,
        &(_, given, held, free): &(ConsumerId, u64, usize, usize),
    ) -> ConnectionInfo {
        ConnectionInfo {
            from: who.caller.from,
            username: who.caller.user,
            connection_name: who.connection,
            average_items_per_second: per_second(given, self.span),
            total_items: given.cast_signed(),
            count_since_last_measurement: since(given, told),
            available_slots: small(free),
            in_flight_messages: small(held),
            // Measured on request only, which the setting for extra statistics asks for: not here.
            observed_measurements: Vec::new(),
        }
    }

    /// All that is told. What waits was read from the log, live or not: there is one buffer, told as the one for reading.
    pub(super) fn told(
        &self,
        figures: &Figures,
        connected: impl Fn(ConsumerId) -> Connected,
    ) -> SubscriptionInfo {
        let Config { key, settings, .. } = self.config;
        let connections = figures.consumers.iter().map(|known| self.connection(connected(known.0), known));
        let known = |place: Option<Place>| match place {
            Some(_) => place_text(&key.follows, place),
            None => String::new(),
        };
        SubscriptionInfo {
            event_source: key.follows.name().to_owned(),
            group_name: key.group.clone(),
            status: "Live".to_owned(),
            connections: connections.collect(),
            average_per_second: per_second(figures.given, self.span),
            total_items: figures.given.cast_signed(),
            count_since_last_measurement: since(figures.given, self.told),
            last_checkpointed_event_position: known(figures.checkpoint),
            last_known_event_position: known(self.newest),
            resolve_link_tos: settings.resolve_links,
            start_from: self.config.start_from.clone(),
            message_timeout_milliseconds: settings.message_timeout_ms,
            extra_statistics: settings.extra_statistics,
            max_retry_count: settings.max_retry_count,
            live_buffer_size: settings.live_buffer_size,
            buffer_size: settings.history_buffer_size,
            read_batch_size: settings.read_batch_size,
            check_point_after_milliseconds: settings.checkpoint_after_ms,
            min_check_point_count: settings.min_checkpoint_count,
            max_check_point_count: settings.max_checkpoint_count,
            read_buffer_count: small(figures.buffered),
            live_buffer_count: 0,
            retry_buffer_count: small(figures.to_retry),
            total_in_flight_messages: small(figures.outstanding),
            outstanding_messages_count: small(figures.outstanding),
            named_consumer_strategy: settings.consumer_strategy.clone(),
            max_subscriber_count: settings.max_subscriber_count,
            parked_message_count: self.parked.cast_signed(),
        }
    }
}
