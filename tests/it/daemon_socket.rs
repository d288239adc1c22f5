//! The real program with a socket that its parent opened (systemd's socket activation), and what it logs of requests.

use std::net::TcpListener;

use crate::daemon::Place;

/// Opens a socket of a kind, makes it descriptor 3 as systemd does, and becomes the program that its arguments name.
fn parent(kind: &str, listens: bool) -> String {
    let listen = if listens { "s.listen()" } else { "pass" };
    format!(
        "import os, socket, sys\n\
         s = socket.socket(socket.AF_INET, socket.{kind})\n\
         s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n\
         s.bind(('127.0.0.1', int(sys.argv[3])))\n\
         {listen}\n\
         if s.fileno() != 3: os.dup2(s.fileno(), 3)\n\
         else: os.set_inheritable(3, True)\n\
         os.environ['LISTEN_FDS'] = '1'\n\
         os.environ['LISTEN_PID'] = str(os.getpid())\n\
         os.execv(sys.argv[1], sys.argv[1:3])\n"
    )
}

#[test]
fn an_inherited_socket_is_served_and_requests_are_logged_without_their_users() {
    let mut place = Place::new();
    // Were it not to take the socket over, it would find this address taken and end.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    place.set("INTENTD_HTTP__LISTEN", &taken.local_addr().unwrap().to_string());
    place.set("INTENTD_LOG__FILTER", "warn,intentd::access=debug");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}");
    let daemon = place.daemon_through(&parent("SOCK_STREAM", true), &[&port.to_string()], &url);
    assert_eq!(daemon.client.get("/healthz").status, 200);
    assert_eq!(daemon.client.get("/api/v1/users/a-secret-name?asOf=2026-01-01T00:00:00Z").status, 404);
    assert_eq!(daemon.client.get("/another-secret").status, 404);
    daemon.stop();
    let log = std::fs::read_to_string(place.path("child.log")).unwrap();
    let line = |words: &[&str]| log.lines().any(|line| words.iter().all(|word| line.contains(word)));
    assert!(line(&["method=\"GET\"", "route=\"/healthz\"", "status=200", "took="]), "{log}");
    assert!(line(&["method=\"GET\"", "route=\"/api/v1/users/{userId}\"", "status=404"]), "{log}");
    assert!(line(&["route=\"unmatched\"", "status=404"]), "{log}");
    assert!(!log.contains("secret") && !log.contains("asOf"), "{log}");
}

#[test]
fn an_inherited_socket_that_does_not_listen_is_refused() {
    let place = Place::new();
    for (kind, listens) in [("SOCK_STREAM", false), ("SOCK_DGRAM", false)] {
        let (code, said) = place.ended_through(&parent(kind, listens), &["0"]);
        assert_eq!(code, Some(69), "{said}");
        assert!(said.contains("the socket handed over does not listen"), "{said}");
    }
}
