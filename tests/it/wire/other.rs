//! Who is there, what is possible, and everything that is not.

use intentd::store::StoreId;
use intentd::store::kurrent::{self, Kurrent};
use intentd::wire::proto::event_store::client::Empty;
use intentd::wire::proto::event_store::client::gossip::gossip_client::GossipClient;
use intentd::wire::proto::event_store::client::server_features::server_features_client::ServerFeaturesClient;
use intentd::wire::{Options, Ports, Running, StartError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{channel, world, world_over};

#[tokio::test]
async fn we_are_alone_and_lead() {
    let world = world().await;
    let address = world.server.address();
    let mut gossip = GossipClient::new(channel(address).await);
    let members = gossip.read(Empty {}).await.unwrap().into_inner().members;
    let [member] = &members[..] else { panic!("{members:?}") };
    assert_eq!((member.state, member.is_alive), (8, true));
    let at = member.http_end_point.clone().unwrap();
    assert_eq!((&*at.address, at.port), ("127.0.0.1", u32::from(address.port())));

    let options = Options { advertise: "db.example:2113".to_owned(), ..Options::default() };
    let world = world_over(std::sync::Arc::new(super::MemoryStore::default()), options).await;
    let mut gossip = GossipClient::new(channel(world.server.address()).await);
    let members = gossip.read(Empty {}).await.unwrap().into_inner().members;
    assert_eq!(members[0].http_end_point.clone().unwrap().address, "db.example");
}

#[tokio::test]
async fn features_are_named_as_clients_look_for_them() {
    let world = world().await;
    let mut features = ServerFeaturesClient::new(channel(world.server.address()).await);
    let known = features.get_supported_methods(Empty {}).await.unwrap().into_inner();
    assert_eq!(known.event_store_server_version.split('.').count(), 3);
    let batch = known.methods.iter().find(|method| method.method_name == "batchappend").unwrap();
    assert_eq!(batch.service_name, "event_store.client.streams.streams");
    assert!(known.methods.iter().all(|method| method.service_name == method.service_name.to_lowercase()));
}

async fn http1(address: std::net::SocketAddr, path: &str) -> String {
    let mut tcp = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    tcp.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn health_is_answered_and_unknown_paths_are_not_implemented() {
    let world = world().await;
    let address = world.server.address();
    assert!(http1(address, "/health/live").await.starts_with("HTTP/1.1 204"));
    let unknown = http1(address, "/event_store.client.users.Users/Create").await;
    assert!(unknown.contains("grpc-status: 12"), "{unknown}");
    let garbage = {
        let mut tcp = TcpStream::connect(address).await.unwrap();
        tcp.write_all(b"\x16\x03\x01 no such protocol \r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        drop(tcp.read_to_end(&mut answer).await);
        answer
    };
    assert!(!garbage.starts_with(b"HTTP/1.1 2"));
    assert!(http1(address, "/health/live").await.starts_with("HTTP/1.1 204"), "and it lives on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_cannot_be_read_is_an_error_of_the_start() {
    let nobody = "kurrentdb://127.0.0.1:1?tls=false".to_owned();
    let options = kurrent::Options { connection: nobody, ..kurrent::Options::default() };
    let store = std::sync::Arc::new(Kurrent::new(StoreId(uuid::Uuid::nil()), options).unwrap());
    let ports = Ports { store, owned: &[] };
    let started = Running::start(([127, 0, 0, 1], 0).into(), Options::default(), ports).await;
    assert!(matches!(started, Err(StartError::Store(error)) if error.is_transient()));
}
