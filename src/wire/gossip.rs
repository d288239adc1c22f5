//! Who is in the cluster: we alone, and always the leader.
//!
//! Law: the address told is one that clients can connect to. Called by clients that were given several hosts.

use std::net::SocketAddr;

use tonic::{Request, Response, Status};

use super::proto::event_store::client::gossip::gossip_server::Gossip;
use super::proto::event_store::client::gossip::member_info::VNodeState;
use super::proto::event_store::client::gossip::{ClusterInfo, EndPoint, MemberInfo};
use super::proto::event_store::client::{Empty, Uuid, uuid};
use crate::clock;
use crate::store::StoreId;

/// Ticks of 100 ns from year 1 to 1970, where the protocol's clock begins.
const TICKS_TO_1970: i64 = 621_355_968_000_000_000;

/// `host:port`, parsed.
pub(super) fn end_point(text: &str) -> Option<EndPoint> {
    let (host, port) = text.rsplit_once(':')?;
    let port: u16 = port.parse().ok().filter(|port| *port > 0)?;
    (!host.is_empty()).then(|| EndPoint { address: host.to_owned(), port: port.into() })
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
        let own = EndPoint { address: listen.ip().to_string(), port: listen.port().into() };
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
