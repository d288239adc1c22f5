//! An HTTP client for tests: real connections, answers whole, event streams line by line.
//!
//! Law: every answer that is not a success has to be a whole problem of RFC 9457; this checks it at each call.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;
use ureq::Agent;
use ureq::http::{Request, Response};

/// What was answered.
pub struct Answer {
    pub status: u16,
    pub kind: String,
    pub body: Vec<u8>,
}

impl Answer {
    fn of(mut response: Response<ureq::Body>) -> Self {
        let kind = response.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
        let (status, kind) = (response.status().as_u16(), kind.unwrap_or_default());
        let mut body = Vec::new();
        response.body_mut().as_reader().read_to_end(&mut body).unwrap();
        let answer = Self { status, kind, body };
        if status >= 400 {
            answer.check_problem();
        }
        answer
    }

    fn check_problem(&self) {
        assert_eq!(self.kind, "application/problem+json", "{}", self.text());
        let problem = self.json();
        assert_eq!(problem["status"], self.status, "{problem}");
        for member in ["type", "title", "detail"] {
            assert!(problem[member].is_string(), "no {member} in {problem}");
        }
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The body of an answer that has to have this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        self.json()
    }

    /// What a daemon that is not ready lacks; none when it is ready.
    pub fn lacking(&self) -> Option<Vec<String>> {
        if self.status != 503 {
            return None;
        }
        let problem = self.json();
        let reasons = problem["reasons"].as_array().unwrap();
        Some(reasons.iter().map(|reason| reason["component"].as_str().unwrap().to_owned()).collect())
    }

    /// The paths of the faults of a 400.
    #[track_caller]
    pub fn faults(self) -> Vec<String> {
        let problem = self.expect(400);
        let errors = problem["errors"].as_array().unwrap();
        assert!(errors.iter().all(|fault| fault["message"].as_str().is_some_and(|text| !text.is_empty())));
        errors.iter().map(|fault| fault["path"].as_str().unwrap().to_owned()).collect()
    }
}

/// The items of a list.
pub fn items(page: &Value) -> &Vec<Value> {
    page["items"].as_array().unwrap()
}

/// Speaks to one daemon.
pub struct Client {
    base: String,
    agent: Agent,
}

impl Client {
    pub fn new(base: &str) -> Self {
        let config = Agent::config_builder().http_status_as_error(false);
        let agent = config.timeout_global(Some(Duration::from_secs(60))).build().into();
        Self { base: base.to_owned(), agent }
    }

    fn request(&self, method: &str, path: &str) -> ureq::http::request::Builder {
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/api/v1/{path}") };
        Request::builder().method(method).uri(format!("{}{path}", self.base))
    }

    /// `GET`; a path without a slash at its begin is under /api/v1.
    pub fn try_get(&self, path: &str) -> Option<Answer> {
        self.agent.run(self.request("GET", path).body(()).unwrap()).ok().map(Answer::of)
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        self.try_get(path).unwrap_or_else(|| panic!("no answer to GET {path}"))
    }

    /// A body of a type.
    pub fn send(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> Answer {
        let request = self.request(method, path).header("content-type", kind).body(body.to_vec()).unwrap();
        Answer::of(self.agent.run(request).unwrap())
    }

    /// The status that a `POST` has which says how long its body will be and sends none of it.
    pub fn announced(&self, path: &str, length: usize) -> u16 {
        let mut tcp = TcpStream::connect(self.base.trim_start_matches("http://")).unwrap();
        tcp.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        write!(tcp, "POST /api/v1/{path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n").unwrap();
        let mut status = [0; 12];
        tcp.read_exact(&mut status).unwrap();
        std::str::from_utf8(&status[9..]).unwrap().parse().unwrap()
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, "application/json", body.to_string().as_bytes())
    }

    pub fn patch(&self, path: &str, body: &Value) -> Answer {
        self.send("PATCH", path, "application/json", body.to_string().as_bytes())
    }

    /// Every item of a list, page by page.
    pub fn all(&self, path: &str) -> Vec<Value> {
        let mut found = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = self.get(&format!("{path}{cursor}")).expect(200);
            found.extend(items(&page).iter().cloned());
            match page["nextCursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return found,
            }
        }
    }

    /// Opens the stream of alert changes; the first event, which has an id alone, has come when this answers.
    pub fn stream(&self, after: Option<&str>) -> Stream {
        let agent: Agent = Agent::config_builder().build().into();
        let mut request = self.request("GET", "stream/alerts");
        if let Some(id) = after {
            request = request.header("last-event-id", id);
        }
        let response = agent.run(request.body(()).unwrap()).unwrap();
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut lines = BufReader::new(response.into_body().into_reader()).lines();
        let (sender, events) = channel();
        std::thread::spawn(move || {
            let mut event = Told::default();
            while let Some(Ok(line)) = lines.next() {
                if let Some(id) = line.strip_prefix("id:") {
                    id.clone_into(&mut event.id);
                } else if let Some(kind) = line.strip_prefix("event:") {
                    kind.clone_into(&mut event.kind);
                } else if let Some(text) = line.strip_prefix("data:") {
                    event.alert = serde_json::from_str(text).unwrap();
                } else if line.is_empty()
                    && !event.id.is_empty()
                    && sender.send(std::mem::take(&mut event)).is_err()
                {
                    return;
                }
            }
        });
        let stream = Stream { events };
        let first = stream.next();
        assert!(first.kind.is_empty() && !first.id.is_empty(), "{first:?}");
        stream
    }
}

/// A server-sent event.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Told {
    pub id: String,
    pub kind: String,
    pub alert: Value,
}

/// An open stream of alert changes.
pub struct Stream {
    events: Receiver<Told>,
}

impl Stream {
    #[track_caller]
    pub fn next(&self) -> Told {
        self.events.recv_timeout(Duration::from_secs(60)).expect("an event of the stream")
    }
}
