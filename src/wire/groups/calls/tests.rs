//! What calls answer when others are in the way, or say nothing.

use tokio::sync::watch;

use super::*;
use crate::store::memory::MemoryStore;
use crate::wire::groups::follow::tests::config;
use crate::wire::{Options, Ports};

#[tokio::test]
async fn a_list_leaves_out_what_is_deleted_meanwhile() {
    let (_stop, stopping) = watch::channel(false);
    let ports = Ports { store: Arc::new(MemoryStore::default()), owned: &[] };
    let calls = Calls(App::new(ports, Options::default(), stopping).await.unwrap());
    for stream in ["s", "t"] {
        let config = config(Followed::Stream(stream.to_owned()), |_| {});
        calls.groups().create(config).await.unwrap();
    }
    let keys = calls.groups().keys(None).await;
    let known = calls.told_of(keys.clone()).await.unwrap();
    assert_eq!(known.iter().map(|told| &*told.event_source).collect::<Vec<_>>(), ["s", "t"]);
    calls.groups().delete(&keys[0]).await.unwrap();
    let known = calls.told_of(keys).await.unwrap();
    assert_eq!(known.iter().map(|told| &*told.event_source).collect::<Vec<_>>(), ["t"]);
}

#[tokio::test(start_paused = true)]
async fn a_read_that_does_not_say_what_it_wants_ends() {
    let mut silent = futures_util::stream::pending();
    assert!(first(&mut silent).await.unwrap_err().message().contains("within 10 s"));
    let ack = read_req::Content::Ack(read_req::Ack::default());
    let mut wrong = futures_util::stream::iter([Ok(ReadReq { content: Some(ack) })]);
    assert!(first(&mut wrong).await.is_err());
    let options = read_req::Content::Options(read_req::Options::default());
    let mut sound = futures_util::stream::iter([Ok(ReadReq { content: Some(options) })]);
    assert!(first(&mut sound).await.is_ok());
}
