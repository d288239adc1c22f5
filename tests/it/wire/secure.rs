//! TLS, and who may do what.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use intentd::wire::proto::event_store::client::Empty;
use intentd::wire::proto::event_store::client::gossip::gossip_client::GossipClient;
use intentd::wire::proto::event_store::client::persistent_subscriptions::ListReq;
use intentd::wire::proto::event_store::client::persistent_subscriptions::persistent_subscriptions_client::PersistentSubscriptionsClient;
use intentd::wire::proto::event_store::client::server_features::server_features_client::ServerFeaturesClient;
use intentd::wire::proto::event_store::client::streams::streams_client::StreamsClient;
use intentd::wire::proto::event_store::client::streams::{DeleteReq, ReadReq};
use intentd::wire::{Options, Ports, Running, StartError};
use tempfile::TempDir;
use tonic::transport::{Certificate, Channel, ClientTlsConfig};
use tonic::{Code, Request, Status};

use super::{any, append_requests, of_all, proposed, said};

pub struct Secured {
    _folder: TempDir,
    pub options: Options,
    certificate: String,
}

fn file(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path.to_str().unwrap().to_owned()
}

pub fn secured() -> Secured {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = made.cert.pem();
    let options = Options {
        certificate: file(folder.path(), "certificate.pem", &certificate),
        key: file(folder.path(), "key.pem", &made.key_pair.serialize_pem()),
        users: file(folder.path(), "users", "reader:read:r\nwriter:write:w\nchief:admin:c:c\nboss:admin:b\n"),
        ..Options::default()
    };
    Secured { _folder: folder, options, certificate }
}

pub async fn start(options: Options) -> Result<Running, StartError> {
    let store = Arc::new(super::MemoryStore::default());
    Running::start(([127, 0, 0, 1], 0).into(), options, Ports { store, owned: &[] }).await
}

async fn channel(secured: &Secured, server: &Running) -> Channel {
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&secured.certificate));
    let uri = format!("https://localhost:{}", server.address().port());
    Channel::from_shared(uri).unwrap().tls_config(tls).unwrap().connect().await.unwrap()
}

fn by<T>(user: &str, message: T) -> Request<T> {
    // user:password in base 64.
    let credentials = match user {
        "reader" => "cmVhZGVyOnI=",
        "writer" => "d3JpdGVyOnc=",
        "chief" => "Y2hpZWY6Yzpj",
        "liar" => "Y2hpZWY6Yw==",
        _ => return Request::new(message),
    };
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Basic {credentials}").parse().unwrap());
    request
}

/// What a user is told who reads, appends, deletes, and lists and restarts persistent subscriptions.
async fn tries(channel: &Channel, user: &str) -> [Code; 5] {
    let code = |answer: Result<(), Status>| answer.err().map_or(Code::Ok, |status| status.code());
    let mut streams = StreamsClient::new(channel.clone());
    let mut groups = PersistentSubscriptionsClient::new(channel.clone());
    let read = streams.read(by(user, ReadReq { options: Some(of_all()) })).await;
    let append =
        streams.append(by(user, tokio_stream::iter(append_requests("s", any(), [proposed(1)])))).await;
    let delete = streams.delete(by(user, DeleteReq { options: None })).await;
    let list = groups.list(by(user, ListReq { options: None })).await;
    let restart = groups.restart_subsystem(by(user, Empty {})).await;
    [
        code(read.map(drop)),
        code(append.map(drop)),
        code(delete.map(drop)),
        code(list.map(drop)),
        code(restart.map(drop)),
    ]
}

#[tokio::test]
async fn each_user_may_do_what_their_role_says() {
    use Code::{InvalidArgument as Bad, Ok, PermissionDenied as No, Unauthenticated as Who};
    let secured = secured();
    let server = start(secured.options.clone()).await.unwrap();
    let channel = channel(&secured, &server).await;
    // Bad: let through, and then found to ask nothing.
    assert_eq!(tries(&channel, "reader").await, [Ok, No, No, Bad, No]);
    assert_eq!(tries(&channel, "writer").await, [Ok, Ok, Bad, Bad, No]);
    assert_eq!(tries(&channel, "chief").await, [Ok, Ok, Bad, Bad, Ok]);
    assert_eq!(tries(&channel, "liar").await, [Who; 5]);
    assert_eq!(tries(&channel, "nobody").await, [Who; 5]);
    let mut streams = StreamsClient::new(channel.clone());
    let denied = streams.delete(by("reader", DeleteReq { options: None })).await.unwrap_err();
    let wanted = (Code::PermissionDenied, "Access Denied", vec![Some("access-denied")]);
    assert_eq!(said(&denied, &["exception"]), wanted);
    // What clients ask before they say who they are.
    GossipClient::new(channel.clone()).read(Empty {}).await.unwrap();
    ServerFeaturesClient::new(channel).get_supported_methods(Empty {}).await.unwrap();
}

#[tokio::test]
async fn plain_clients_and_unknown_certificates_get_nowhere() {
    let (secured, other) = (secured(), self::secured());
    let server = start(secured.options.clone()).await.unwrap();
    let plain = Channel::from_shared(format!("http://{}", server.address())).unwrap().connect().await;
    if let Ok(plain) = plain {
        assert!(GossipClient::new(plain).read(Empty {}).await.is_err());
    }
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&other.certificate));
    let uri = format!("https://localhost:{}", server.address().port());
    assert!(Channel::from_shared(uri).unwrap().tls_config(tls).unwrap().connect().await.is_err());
    // And it lives on.
    let channel = channel(&secured, &server).await;
    GossipClient::new(channel).read(Empty {}).await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_used_stops_the_start() {
    let (secured, other) = (secured(), self::secured());
    let unfit = Options { key: other.options.key.clone(), ..secured.options.clone() };
    assert!(matches!(start(unfit).await, Err(StartError::Tls(_))));
    let none = Options { certificate: secured.options.users.clone(), ..secured.options.clone() };
    assert!(matches!(start(none).await, Err(StartError::Tls(_))));
    fs::set_permissions(&secured.options.users, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(start(secured.options.clone()).await, Err(StartError::Access(_))));
}
