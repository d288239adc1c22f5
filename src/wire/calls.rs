//! From a request's path to the call that answers it.
//!
//! Law: every path gets an answer, and only the paths named here do anything. Called by `server` for each request.

use std::convert::Infallible;
use std::sync::Arc;

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use tonic::Status;
use tonic::body::Body;
use tower_service::Service as _;

use super::App;
use super::features::Known;
use super::gossip::Alone;
use super::proto::event_store::client::gossip::gossip_server::GossipServer;
use super::proto::event_store::client::server_features::server_features_server::ServerFeaturesServer;
use super::proto::event_store::client::streams::streams_server::StreamsServer;
use super::streams::Calls;
use crate::metrics;

/// Everything that can be called.
#[derive(Clone)]
pub(super) struct All {
    streams: StreamsServer<Calls>,
    gossip: GossipServer<Alone>,
    features: ServerFeaturesServer<Known>,
}

/// The label of a call, from a closed set.
fn label(path: &str) -> &'static str {
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

impl All {
    pub(super) fn new(app: &Arc<App>, gossip: Alone) -> Self {
        let most = app.options.message_bytes_max;
        Self {
            streams: StreamsServer::new(Calls(Arc::clone(app))).max_decoding_message_size(most),
            gossip: GossipServer::new(gossip),
            features: ServerFeaturesServer::new(Known),
        }
    }

    /// Answers a request.
    pub(super) async fn answer(mut self, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        let call = label(request.uri().path());
        metrics::wire_calls(call, 1);
        match call {
            "gossip" => self.gossip.call(request).await,
            "features" => self.features.call(request).await,
            "health" if request.method() == Method::GET => Ok(alive()),
            "unknown" | "health" => Ok(Status::unimplemented("There is no such call here.").into_http()),
            _ => self.streams.call(request).await,
        }
    }
}

fn alive() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}
