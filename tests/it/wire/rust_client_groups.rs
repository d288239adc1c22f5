//! Persistent subscriptions of the official Rust client: to a stream and to `$all`. Called by `rust_client`.

use kurrentdb::{
    Client, Error, NakAction, PersistentSubscription, PersistentSubscriptionEvent,
    PersistentSubscriptionOptions, PersistentSubscriptionToAllOptions, ResolvedEvent, StreamPosition,
    SubscribeToPersistentSubscriptionOptions, SubscriptionFilter,
};

use super::rust_client::{number, put, some, soon};

async fn given(told: &mut PersistentSubscription) -> (ResolvedEvent, usize) {
    loop {
        if let PersistentSubscriptionEvent::EventAppeared { event, retry_count } =
            soon(told.next_subscription_event()).await.unwrap()
        {
            return (event, retry_count);
        }
    }
}

async fn is_dropped(mut told: PersistentSubscription) {
    let end = soon(told.next()).await;
    assert!(matches!(end, Err(Error::IllegalStateError(_))), "{end:?}");
}

/// Asks until nothing is parked, or so much: consumers are told before all is written down.
async fn until_parked(client: &Client, stream: Option<&str>, count: usize) {
    loop {
        let parked = match stream {
            Some(stream) => {
                let known = client.get_persistent_subscription_info(stream, "g", &Default::default()).await;
                known.unwrap().stats.parked_message_count
            }
            None => {
                let known = client.get_persistent_subscription_info_to_all("g", &Default::default()).await;
                known.unwrap().stats.parked_message_count
            }
        };
        if parked == count {
            return;
        }
    }
}

pub async fn consumes_a_stream(client: &Client) {
    let ten = SubscribeToPersistentSubscriptionOptions::default().buffer_size(10);
    let join = || client.subscribe_to_persistent_subscription("h", "g", &ten);
    let known = || async { client.get_persistent_subscription_info("h", "g", &Default::default()).await };
    put(client, "h", some("Job", 0..30)).await;
    assert!(matches!(join().await.err(), Some(Error::ResourceNotFound)));
    let options = PersistentSubscriptionOptions::default().start_from(StreamPosition::Start);
    let options = options.checkpoint_lower_bound(1).checkpoint_upper_bound(1).max_subscriber_count(1);
    client.create_persistent_subscription("h", "g", &options).await.unwrap();
    let again = client.create_persistent_subscription("h", "g", &options).await;
    assert!(matches!(again, Err(Error::ResourceAlreadyExists)), "{again:?}");

    let (mut told, mut taken) = (join().await.unwrap(), Vec::new());
    assert!(matches!(join().await.err(), Some(Error::Grpc { .. })), "there is one seat");
    for _ in 0..31 {
        let (event, retries) = given(&mut told).await;
        taken.push((number(&event), retries));
        let said = match (number(&event), retries) {
            (3, _) => told.nack(&event, NakAction::Park, "bad luck").await,
            (5, 0) => told.nack(&event, NakAction::Retry, "not today").await,
            (7, _) => told.nack(&event, NakAction::Skip, "").await,
            _ => told.ack(&event).await,
        };
        said.unwrap();
    }
    taken.sort_unstable();
    let mut wanted: Vec<_> = (0..30).map(|number| (number, 0)).collect();
    wanted.insert(6, (5, 1));
    assert_eq!(taken, wanted, "each once, and 5 once more");
    soon(until_parked(client, Some("h"), 1)).await;
    let all_done =
        async { while known().await.unwrap().stats.last_checkpointed_event_revision != Some(29) {} };
    soon(all_done).await;
    let told_of = known().await.unwrap();
    assert_eq!((&*told_of.event_source, &*told_of.group_name, told_of.connections.len()), ("h", "g", 1));
    assert_eq!(told_of.settings.unwrap().max_retry_count, 10);

    client.replay_parked_messages("h", "g", &Default::default()).await.unwrap();
    let (back, _) = given(&mut told).await;
    assert_eq!(number(&back), 3);
    told.ack(&back).await.unwrap();
    soon(until_parked(client, Some("h"), 0)).await;

    client.update_persistent_subscription("h", "g", &options.max_retry_count(7)).await.unwrap();
    is_dropped(told).await;
    assert_eq!(known().await.unwrap().settings.unwrap().max_retry_count, 7);
    put(client, "h", some("Job", 30..31)).await;
    let mut told = join().await.unwrap();
    assert_eq!(number(&given(&mut told).await.0), 30, "it goes on where it was");
    let of_stream = client.list_persistent_subscriptions_for_stream("h", &Default::default()).await.unwrap();
    assert_eq!(of_stream.iter().map(|one| &*one.group_name).collect::<Vec<_>>(), ["g"]);
    client.delete_persistent_subscription("h", "g", &Default::default()).await.unwrap();
    is_dropped(told).await;
    assert!(matches!(known().await.err(), Some(Error::ResourceNotFound)));
    assert!(client.list_all_persistent_subscriptions(&Default::default()).await.unwrap().is_empty());
}

pub async fn consumes_all(client: &Client) {
    for (filter, stream) in [
        (SubscriptionFilter::on_stream_name().add_prefix("i-mine"), "i-mine"),
        (SubscriptionFilter::on_event_type().regex("^Wan.ed$"), "j-mine"),
    ] {
        put(client, stream, some("Wanted", 1..2)).await;
        let options = PersistentSubscriptionToAllOptions::default().filter(filter).max_retry_count(3);
        client.create_persistent_subscription_to_all("g", &options).await.unwrap();
        put(client, "k", some("Other", 90..93)).await;
        put(client, stream, some("Wanted", 2..4)).await;
        let join = client.subscribe_to_persistent_subscription_to_all("g", &Default::default()).await;
        let mut told = join.unwrap();
        let (first, second) = (given(&mut told).await.0, given(&mut told).await.0);
        assert_eq!((number(&first), number(&second)), (2, 3), "from the end, without the others");
        told.nack(&first, NakAction::Park, "later").await.unwrap();
        told.ack(&second).await.unwrap();
        soon(until_parked(client, None, 1)).await;
        client.replay_parked_messages_to_all("g", &Default::default()).await.unwrap();
        let (back, _) = given(&mut told).await;
        assert_eq!(number(&back), 2);
        told.ack(&back).await.unwrap();
        soon(until_parked(client, None, 0)).await;
        client.update_persistent_subscription_to_all("g", &options.max_retry_count(4)).await.unwrap();
        is_dropped(told).await;
        let listed = client.list_persistent_subscriptions_to_all(&Default::default()).await.unwrap();
        let [one] = &listed[..] else { panic!("{listed:?}") };
        assert_eq!((&*one.event_source, one.settings.as_ref().unwrap().max_retry_count), ("$all", 4));
        client.delete_persistent_subscription_to_all("g", &Default::default()).await.unwrap();
    }
}
