//! One sound request for each call on persistent subscriptions: what the fuzz breaks.

use intentd::wire::proto::event_store::client::Empty;
use intentd::wire::proto::event_store::client::persistent_subscriptions::read_req::{
    Ack, Content as Asked, Nack, nack::Action, options::StreamOption as ReadFrom,
};
use intentd::wire::proto::event_store::client::persistent_subscriptions::{
    CreateReq, DeleteReq, GetInfoReq, ListReq, ReadReq, ReplayParkedReq, UpdateReq, delete_req, get_info_req,
    list_req, read_req, replay_parked_req,
};
use prost::Message as _;

use super::groups::{of, settings, start};
use super::{id, stream};

/// Whole requests, for those who break them.
pub fn sound() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let create = CreateReq { options: Some(of("s", "g", start(), settings())) };
    let update = UpdateReq { options: Some(of("s", "g", start(), settings())) };
    let from = ReadFrom::StreamIdentifier(stream("s").unwrap());
    let options = read_req::Options {
        stream_option: Some(from),
        group_name: "g".to_owned(),
        buffer_size: 3,
        uuid_option: None,
    };
    let nack = Nack { ids: vec![id(2).unwrap()], action: Action::Park.into(), ..Nack::default() };
    let read = [
        Asked::Options(options),
        Asked::Ack(Ack { ids: vec![id(1).unwrap()], ..Ack::default() }),
        Asked::Nack(nack),
    ];
    let read = read.map(|content| ReadReq { content: Some(content) }.encode_to_vec());
    let delete = delete_req::Options {
        group_name: "g".to_owned(),
        stream_option: Some(delete_req::options::StreamOption::StreamIdentifier(stream("s").unwrap())),
    };
    let info = get_info_req::Options {
        group_name: "g".to_owned(),
        stream_option: Some(get_info_req::options::StreamOption::StreamIdentifier(stream("s").unwrap())),
    };
    let replay = replay_parked_req::Options {
        group_name: "g".to_owned(),
        stream_option: Some(replay_parked_req::options::StreamOption::StreamIdentifier(stream("s").unwrap())),
        stop_at_option: Some(replay_parked_req::options::StopAtOption::StopAt(7)),
    };
    let list = list_req::options::ListOption::ListAllSubscriptions(Empty {});
    let list = list_req::Options { list_option: Some(list) };
    vec![
        ("Create", vec![create.encode_to_vec()]),
        ("Update", vec![update.encode_to_vec()]),
        ("Read", read.to_vec()),
        ("Read", read.to_vec()),
        ("Delete", vec![DeleteReq { options: Some(delete) }.encode_to_vec()]),
        ("GetInfo", vec![GetInfoReq { options: Some(info) }.encode_to_vec()]),
        ("ReplayParked", vec![ReplayParkedReq { options: Some(replay) }.encode_to_vec()]),
        ("List", vec![ListReq { options: Some(list) }.encode_to_vec()]),
    ]
}
