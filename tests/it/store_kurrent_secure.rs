//! The adapter over TLS, with credentials from a file.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use intentd::store::kurrent::{Kurrent, Options};
use intentd::store::memory::MemoryStore;
use intentd::store::{Direction, Error, EventStore, ExpectedRevision, Filter, Message, StoreId};
use intentd::wire::{self, Ports, Running};
use uuid::Uuid;

use super::store_contract::{append, one};

use ExpectedRevision::Any;

/// With all that a connection string would have to escape.
const PASSWORD: &str = "p@ss/w:rd %41";

fn file(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_and_credentials_come_from_their_files() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = file(folder.path(), "certificate.pem", &made.cert.pem());
    let bounds = wire::Options {
        certificate: certificate.clone(),
        key: file(folder.path(), "key.pem", &made.key_pair.serialize_pem()),
        users: file(folder.path(), "users", &format!("daemon:write:{PASSWORD}\n")),
        stop_timeout: Duration::from_millis(100),
        ..wire::Options::default()
    };
    let ports = Ports { store: Arc::new(MemoryStore::default()), owned: &[] };
    let server = Running::start(([127, 0, 0, 1], 0).into(), bounds, ports).await.unwrap();
    let port = server.address().port();
    let connect = |password: &str, trusted: &str| {
        let options = Options {
            connection: format!("kurrentdb://localhost:{port}?tls=true{trusted}"),
            credentials: file(folder.path(), "credentials", &format!("daemon:{password}\n")),
            call_timeout: Duration::from_secs(5),
            retry_first: Duration::from_millis(5),
            retry_max: Duration::from_millis(20),
            ..Options::default()
        };
        Kurrent::new(StoreId(Uuid::from_u128(9)), options).unwrap()
    };
    let trusted = format!("&tlsCaFile={certificate}");

    let store = connect(PASSWORD, &trusted);
    one(&store, append("s", Any, [1])).await.unwrap();
    assert_eq!(store.read_stream("s", None, Direction::Forwards, 9).await.unwrap().events.len(), 1);
    let mut all = store.subscribe_all(None, Filter::streams(&["s"]));
    assert!(matches!(all.next().await.unwrap(), Message::Events(events) if events.len() == 1));

    let stranger = connect("wrong", &trusted);
    let refused = stranger.append(vec![append("s", Any, [2])]).await.unwrap_err();
    assert!(
        matches!(&refused, Error::Unavailable { reason, .. } if reason.contains("Access denied")),
        "{refused}"
    );
    assert!(stranger.subscribe_all(None, Filter::default()).next().await.unwrap_err().is_transient());
    // The certificate is nobody's whom the machine knows.
    let suspicious = connect(PASSWORD, "");
    assert!(suspicious.head().await.unwrap_err().is_transient() && suspicious.writable().is_err());
    server.stop().await;
}
