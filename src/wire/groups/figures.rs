//! A group in figures, as clients ask for them.
//!
//! Law: texts and units are the protocol's. Called by `live`.

use std::time::Duration;

use tonic::Status;

use super::config::{Config, Followed, Key};
use super::machine::{ConsumerId, Figures, Place};
use crate::store::EventStore;
use crate::wire::proto::event_store::client::persistent_subscriptions::SubscriptionInfo;
use crate::wire::proto::event_store::client::persistent_subscriptions::subscription_info::ConnectionInfo;
use crate::wire::status::of_store;
use crate::wire::stream_metadata;

/// A connected consumer, as its client calls itself.
pub(super) struct Connected {
    pub(super) name: String,
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

/// All that is told.
pub(super) fn told(
    config: &Config,
    figures: &Figures,
    connected: impl Fn(ConsumerId) -> Connected,
    newest: Option<Place>,
    parked: u64,
    span: Duration,
) -> SubscriptionInfo {
    let Config { key, settings, .. } = config;
    let connection = |&(id, given, held, free): &(ConsumerId, u64, usize, usize)| ConnectionInfo {
        connection_name: connected(id).name,
        average_items_per_second: per_second(given, span),
        total_items: given.cast_signed(),
        available_slots: small(free),
        in_flight_messages: small(held),
        ..ConnectionInfo::default()
    };
    let known = |place: Option<Place>| match place {
        Some(_) => place_text(&key.follows, place),
        None => String::new(),
    };
    SubscriptionInfo {
        event_source: key.follows.name().to_owned(),
        group_name: key.group.clone(),
        status: "Live".to_owned(),
        connections: figures.consumers.iter().map(connection).collect(),
        average_per_second: per_second(figures.given, span),
        total_items: figures.given.cast_signed(),
        count_since_last_measurement: 0,
        last_checkpointed_event_position: known(figures.checkpoint),
        last_known_event_position: known(newest),
        resolve_link_tos: settings.resolve_links,
        start_from: config.start_from.clone(),
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
        parked_message_count: parked.cast_signed(),
    }
}
