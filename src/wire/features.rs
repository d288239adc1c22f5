//! What this server can do, as clients ask before they append.
//!
//! Law: only what works is named. Called by clients when they connect.

use tonic::{Request, Response, Status};

use super::proto::event_store::client::Empty;
use super::proto::event_store::client::server_features::server_features_server::ServerFeatures;
use super::proto::event_store::client::server_features::{SupportedMethod, SupportedMethods};

/// The version of the protocol's servers that we answer like.
const LIKE_VERSION: &str = "24.10.14";

const GROUPS: &str = "event_store.client.persistent_subscriptions.persistentsubscriptions";

/// Call, its methods and their features, in the lower case that clients look for.
const METHODS: &[(&str, &str, &[&str])] = &[
    ("event_store.client.streams.streams", "read", &["position", "events"]),
    ("event_store.client.streams.streams", "append", &[]),
    ("event_store.client.streams.streams", "delete", &[]),
    ("event_store.client.streams.streams", "tombstone", &[]),
    ("event_store.client.streams.streams", "batchappend", &["deadline_duration"]),
    (GROUPS, "create", &["stream", "all"]),
    (GROUPS, "update", &["stream", "all"]),
    (GROUPS, "delete", &["stream", "all"]),
    (GROUPS, "read", &["stream", "all"]),
    (GROUPS, "getinfo", &["stream", "all"]),
    (GROUPS, "list", &["stream", "all"]),
    (GROUPS, "replayparked", &["stream", "all"]),
    (GROUPS, "restartsubsystem", &[]),
    ("event_store.client.gossip.gossip", "read", &[]),
    ("event_store.client.server_features.serverfeatures", "getsupportedmethods", &[]),
];

/// The answer to what is possible.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known;

#[tonic::async_trait]
impl ServerFeatures for Known {
    async fn get_supported_methods(&self, _: Request<Empty>) -> Result<Response<SupportedMethods>, Status> {
        let method = |(call, method, features): &(&str, &str, &[&str])| SupportedMethod {
            method_name: (*method).to_owned(),
            service_name: (*call).to_owned(),
            features: features.iter().map(|feature| (*feature).to_owned()).collect(),
        };
        let methods = METHODS.iter().map(method).collect();
        Ok(Response::new(SupportedMethods { methods, event_store_server_version: LIKE_VERSION.to_owned() }))
    }
}
