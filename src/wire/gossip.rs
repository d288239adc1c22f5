//! Who is in the cluster: we alone, and always the leader.
//!
//! Law: the address told is one that clients can connect to. Called by clients that were given several hosts.

use std::net::{Ipv6Addr, SocketAddr};

use tonic::{Request, Response, Status};

use super::proto::event_store::client::gossip::gossip_server::Gossip;
use super::proto::event_store::client::gossip::member_info::VNodeState;
use super::proto::event_store::client::gossip::{ClusterInfo, EndPoint, MemberInfo};
use super::proto::event_store::client::{Empty, Uuid, uuid};
use crate::clock;
use crate::store::StoreId;

/// Ticks of 100 ns from year 1 to 1970, where the protocol's clock begins.
const TICKS_TO_1970: i64 = 621_355_968_000_000_000;

/// `host:port`, parsed. An IPv6 address keeps its brackets: clients put what they are told before a colon and the port.
pub(super) fn end_point(text: &str) -> Option<EndPoint> {
    let (host, port) = text.rsplit_once(':')?;
    let port: u16 = port.parse().ok().filter(|port| *port > 0)?;
    let is_address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).is_some_and(is_v6);
    let is_name = !host.is_empty() && !host.contains([':', '[', ']']);
    (is_address || is_name).then(|| EndPoint { address: host.to_owned(), port: port.into() })
}

fn is_v6(text: &str) -> bool {
    text.parse::<Ipv6Addr>().is_ok()
}

/// The answer to who is here.
#[derive(Clone, Debug)]
pub(super) struct Alone {
    store: StoreId,
    reached_at: EndPoint,
}

impl Alone {
    /// We are reached where `advertise` says, or where we listen.
    pub(super) fn new(store: StoreId, advertise: &str, listen: SocketAddr) -> Self {
        let address = match listen {
            SocketAddr::V4(listen) => listen.ip().to_string(),
            SocketAddr::V6(listen) => format!("[{}]", listen.ip()),
        };
        let own = EndPoint { address, port: listen.port().into() };
        Self { store, reached_at: end_point(advertise).unwrap_or(own) }
    }
}

#[tonic::async_trait]
impl Gossip for Alone {
    async fn read(&self, _: Request<Empty>) -> Result<Response<ClusterInfo>, Status> {
        let member = MemberInfo {
            instance_id: Some(Uuid { value: Some(uuid::Value::String(self.store.0.to_string())) }),
            time_stamp: clock::wall().millis().saturating_mul(10_000).saturating_add(TICKS_TO_1970),
            state: VNodeState::Leader.into(),
            is_alive: true,
            http_end_point: Some(self.reached_at.clone()),
        };
        Ok(Response::new(ClusterInfo { members: vec![member] }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_what_stands_before_a_port() {
        let told = |advertise: &str, listen: &str| {
            let alone = Alone::new(StoreId(::uuid::Uuid::nil()), advertise, listen.parse().unwrap());
            (alone.reached_at.address, alone.reached_at.port)
        };
        let wanted = |address: &str, port| (address.to_owned(), port);
        assert_eq!(told("", "127.0.0.1:7"), wanted("127.0.0.1", 7));
        assert_eq!(told("", "[::1]:7"), wanted("[::1]", 7));
        assert_eq!(told("[::1]:2113", "127.0.0.1:7"), wanted("[::1]", 2113));
        assert_eq!(told("db.example:2113", "0.0.0.0:7"), wanted("db.example", 2113));
        for wrong in ["db.example", "db.example:0", ":2113", "::1:2113", "[db]:2113", "[::1:2113", "[]:2113"]
        {
            assert!(end_point(wrong).is_none(), "{wrong}");
        }
    }
}
