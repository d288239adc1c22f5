//! From a request's path to the call that answers it.
//!
//! Law: every path gets an answer, and only the paths named here do anything. Called by `server` for each request.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use tonic::Status;
use tonic::body::Body;
use tower_service::Service as _;

use super::App;
use super::access::{Access, Role};
use super::features::Known;
use super::gossip::Alone;
use super::groups;
use super::proto::event_store::client::gossip::gossip_server::GossipServer;
use super::proto::event_store::client::persistent_subscriptions::persistent_subscriptions_server::PersistentSubscriptionsServer;
use super::proto::event_store::client::server_features::server_features_server::ServerFeaturesServer;
use super::proto::event_store::client::streams::streams_server::StreamsServer;
use super::sent::{Counted, Room};
use super::streams::Calls;
use crate::metrics;

/// Everything that can be called.
#[derive(Clone)]
pub(super) struct All {
    streams: StreamsServer<Calls>,
    groups: PersistentSubscriptionsServer<groups::Calls>,
    gossip: GossipServer<Alone>,
    features: ServerFeaturesServer<Known>,
    access: Arc<Access>,
    room: Arc<Room>,
}

/// A request whose bytes are counted.
fn counted(request: Request<Incoming>, room: &Arc<Room>) -> Request<Counted<Incoming>> {
    let (mut parts, body) = request.into_parts();
    let (body, sent) = Counted::new(body, room);
    parts.extensions.insert(sent);
    Request::from_parts(parts, body)
}

/// Who calls, for calls that others may see.
#[derive(Clone, Debug, Default)]
pub(super) struct Caller {
    pub(super) from: String,
    /// Empty where nobody has to say who they are.
    pub(super) user: String,
}

/// The label of a call, from a closed set.
fn label(path: &str) -> &'static str {
    if let Some(call) =
        path.strip_prefix("/event_store.client.persistent_subscriptions.PersistentSubscriptions/")
    {
        return match call {
            "Create" => "group_create",
            "Update" => "group_update",
            "Delete" => "group_delete",
            "Read" => "group_read",
            "GetInfo" => "group_info",
            "List" => "group_list",
            "ReplayParked" => "group_replay",
            "RestartSubsystem" => "group_restart",
            _ => "unknown",
        };
    }
    match path {
        "/event_store.client.streams.Streams/Read" => "read",
        "/event_store.client.streams.Streams/Append" => "append",
        "/event_store.client.streams.Streams/BatchAppend" => "batch_append",
        "/event_store.client.streams.Streams/Delete" => "delete",
        "/event_store.client.streams.Streams/Tombstone" => "tombstone",
        "/event_store.client.gossip.Gossip/Read" => "gossip",
        "/event_store.client.server_features.ServerFeatures/GetSupportedMethods" => "features",
        "/health/live" => "health",
        _ => "unknown",
    }
}

/// What a caller must be allowed to do; none for what clients ask before they say who they are.
fn needed(call: &str) -> Option<Role> {
    match call {
        "gossip" | "features" | "health" | "unknown" => None,
        "read" | "group_read" | "group_info" | "group_list" => Some(Role::Read),
        "append" | "batch_append" | "delete" | "tombstone" => Some(Role::Write),
        // What makes, changes and deletes groups.
        _ => Some(Role::Admin),
    }
}

impl All {
    pub(super) fn new(app: &Arc<App>, gossip: Alone, access: Access) -> Self {
        let most = app.options.message_bytes_max;
        Self {
            streams: StreamsServer::new(Calls(Arc::clone(app))).max_decoding_message_size(most),
            groups: PersistentSubscriptionsServer::new(groups::Calls(Arc::clone(app)))
                .max_decoding_message_size(most),
            gossip: GossipServer::new(gossip),
            features: ServerFeaturesServer::new(Known),
            access: Arc::new(access),
            room: Arc::clone(&app.room),
        }
    }

    /// Answers a request.
    pub(super) async fn answer(
        mut self,
        mut request: Request<Incoming>,
        peer: SocketAddr,
    ) -> Result<Response<Body>, Infallible> {
        let call = label(request.uri().path());
        metrics::wire_calls(call, 1);
        if let Some(role) = needed(call)
            && let Err(status) = self.access.check(request.headers(), role)
        {
            return Ok(status.into_http());
        }
        if call == "group_read" {
            let user = self.access.user(request.headers());
            request.extensions_mut().insert(Caller { from: peer.to_string(), user });
        }
        match call {
            "gossip" => self.gossip.call(request).await,
            "features" => self.features.call(request).await,
            "health" if request.method() == Method::GET => Ok(alive()),
            "unknown" | "health" => Ok(Status::unimplemented("There is no such call here.").into_http()),
            // What a consumer says goes on for as long as it is there, and is small.
            "group_read" => self.groups.call(request).await,
            _ if call.starts_with("group_") => self.groups.call(counted(request, &self.room)).await,
            _ => self.streams.call(counted(request, &self.room)).await,
        }
    }
}

fn alive() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}
