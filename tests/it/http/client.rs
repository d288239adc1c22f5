//! A running server on a real port, and a client that speaks bytes, so that it can misbehave.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use intentd::http::Options;
use intentd::http::server::{Server, Stopped};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::ports;
use super::world::World;

pub struct Running {
    pub world: Arc<World>,
    pub address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Stopped>,
}

impl Running {
    pub async fn start(options: Options) -> Self {
        let world = World::new();
        let options = Options { listen: (Ipv4Addr::LOCALHOST, 0).into(), ..options };
        let server = Server::bind(options, ports(&world), None).await.unwrap();
        let address = server.address();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(server.run(async {
            let _stop = stopped.await;
        }));
        Self { world, address, stop, task }
    }

    pub async fn connect(&self) -> Client {
        Client { tcp: TcpStream::connect(self.address).await.unwrap(), read: Vec::new() }
    }

    /// Tells it to stop; what is returned waits for the end.
    pub fn stop(self) -> JoinHandle<Stopped> {
        self.stop.send(()).unwrap();
        self.task
    }
}

pub struct Client {
    pub tcp: TcpStream,
    read: Vec<u8>,
}

impl Client {
    pub async fn send(&mut self, text: &str) {
        self.tcp.write_all(text.as_bytes()).await.unwrap();
    }

    /// A `GET` with no more than its head.
    pub async fn get(&mut self, path: &str, headers: &str) {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n")).await;
    }

    /// More bytes; false at the end of the connection, however it ended.
    async fn more(&mut self) -> bool {
        let mut buffer = [0; 4096];
        let count = self.tcp.read(&mut buffer).await.unwrap_or(0);
        self.read.extend_from_slice(&buffer[..count]);
        count > 0
    }

    /// The next bytes through `mark`; none when the connection ends before.
    pub async fn through(&mut self, mark: &str) -> Option<String> {
        loop {
            let found = self.read.windows(mark.len()).position(|window| window == mark.as_bytes());
            if let Some(at) = found {
                let rest = self.read.split_off(at + mark.len());
                let text = String::from_utf8(std::mem::replace(&mut self.read, rest)).unwrap();
                return Some(text);
            }
            if !self.more().await {
                return None;
            }
        }
    }

    /// The status of the next answer and its head; its body stays.
    pub async fn head(&mut self) -> (u16, String) {
        let head = self.through("\r\n\r\n").await.expect("an answer");
        (head[9..12].parse().unwrap(), head)
    }

    /// An answer whose length is told.
    pub async fn answer(&mut self) -> (u16, String) {
        let (status, head) = self.head().await;
        let head = head.to_lowercase();
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split('\r').next());
        let length: usize = length.map_or(0, |text| text.parse().unwrap());
        while self.read.len() < length {
            assert!(self.more().await, "the body breaks off");
        }
        let rest = self.read.split_off(length);
        (status, String::from_utf8(std::mem::replace(&mut self.read, rest)).unwrap())
    }

    /// Everything until the connection ends.
    pub async fn rest(&mut self) -> String {
        while self.more().await {}
        String::from_utf8(std::mem::take(&mut self.read)).unwrap()
    }
}
