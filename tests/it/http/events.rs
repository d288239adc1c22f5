//! `POST /events`: each form of body, duplicates, and every way to be wrong.

use intentd::commands::Error;
use intentd::http::Options;
use serde_json::json;

use super::Api;

const PATH: &str = "/api/v1/events";

fn event(id: &str) -> String {
    format!(
        r#"{{"id": "{id}", "userId": "u1", "type": "LISTING_VIEWED", "occurredAt": "2026-01-01T00:00:00.608Z", "data": {{"price": 5}}}}"#
    )
}

fn cloud(id: &str, rest: &str) -> String {
    format!(
        r#"{{"specversion": "1.0", "id": "{id}", "source": "/crm", "type": "LISTING_VIEWED", "subject": "u1", "time": "2026-01-01T00:00:00Z", "data": {{"price": 5}}{rest}}}"#
    )
}

async fn send(api: &Api, media_type: &str, body: &str) -> super::Reply {
    api.send("POST", PATH, &[("content-type", media_type)], body.as_bytes()).await
}

#[tokio::test]
async fn one_many_and_lines_are_taken_and_ids_count_once() {
    let api = Api::new();
    let done = json!({"accepted": 1, "duplicates": 0, "position": 1});
    assert_eq!(api.post(PATH, &event("a")).await.ok(202), done);
    let done = json!({"accepted": 0, "duplicates": 1, "position": 1});
    assert_eq!(api.post(PATH, &event("a")).await.ok(202), done, "the same id again");
    let many = format!(" [{}, {}, {}] ", event("b"), event("b"), event("c"));
    let done = json!({"accepted": 2, "duplicates": 1, "position": 3});
    assert_eq!(api.post(PATH, &many).await.ok(202), done, "the same id twice in one request");
    let lines = format!("{}\r\n\n{}\n", event("d"), event("a"));
    let done = json!({"accepted": 1, "duplicates": 1, "position": 4});
    assert_eq!(send(&api, "application/x-ndjson; charset=UTF-8", &lines).await.ok(202), done);
    let none = api.send("POST", PATH, &[], event("e").as_bytes()).await;
    assert_eq!(none.ok(202)["accepted"], 1, "no Content-Type is JSON");
    let calls = api.world.calls.lock().unwrap().clone();
    assert_eq!(
        calls,
        ["ingest 1", "ingest 1", "ingest 2", "ingest 2", "ingest 1"],
        "ids are unique in a batch"
    );
    let log = api.world.log.lock().unwrap();
    assert_eq!(log[0].stream, "user-u1");
    assert_eq!(log[0].event.data, event("a").as_bytes(), "the sender's bytes are kept");
}

#[tokio::test]
async fn large_bodies_are_parsed_aside_and_taken_up_to_ten_thousand() {
    let api = Api::new();
    let many = |count: usize| {
        let events: Vec<_> = (0..count).map(|number| event(&number.to_string())).collect();
        format!("[{}]", events.join(","))
    };
    assert_eq!(api.post(PATH, &many(10_000)).await.ok(202)["accepted"], 10_000);
    let reply = api.post(PATH, &many(10_001)).await;
    assert_eq!(reply.faults(), [""]);
    let lines = many(10_001).replace("},{", "}\n{").replace(['[', ']'], "");
    assert_eq!(send(&api, "application/x-ndjson", &lines).await.faults(), [""]);
    assert_eq!(api.world.log.lock().unwrap().len(), 10_000);
}

#[tokio::test]
async fn one_bad_event_refuses_all_and_each_fault_has_its_index() {
    let api = Api::new();
    let no_time = r#"{"id": "", "userId": "*", "type": "LISTING_VIEWED", "data": {"price": -1}}"#;
    let body = format!("[{}, {no_time}, 7]", event("a"));
    let mut faults = api.post(PATH, &body).await.faults();
    faults.sort_unstable();
    assert_eq!(faults, ["[1].data.price", "[1].id", "[1].occurredAt", "[1].userId", "[2]"]);
    let lines = format!("{}\n{no_time}", event("a"));
    assert!(send(&api, "application/x-ndjson", &lines).await.faults().contains(&"[1].id".to_owned()));
    assert!(api.post(PATH, no_time).await.faults().contains(&"data.price".to_owned()), "one: no index");
    assert!(api.world.log.lock().unwrap().is_empty(), "nothing was appended");
}

#[tokio::test]
async fn a_hundred_faults_are_listed_and_the_rest_counted() {
    let api = Api::new();
    let body = format!("[{}]", vec!["{}"; 60].join(","));
    let reply = api.post(PATH, &body).await;
    assert_eq!(reply.faults().len(), 100);
    let listed = reply.json();
    let found = listed["moreErrors"].as_u64().unwrap() + 100;
    assert!(found >= 180, "id, userId and type of 60 events: {found}");
    assert_eq!(listed["detail"], format!("{found} faults; errors lists 100"));
}

#[tokio::test]
async fn bodies_that_are_no_events_are_refused() {
    let api = Api::new();
    for nothing in ["[]", "  "] {
        assert_eq!(api.post(PATH, nothing).await.faults(), [""], "{nothing:?}");
    }
    assert_eq!(api.send("POST", PATH, &[], b"").await.faults(), [""]);
    for broken in ["[{]", "[{}", "{\"id\": ", "[] []", "\u{feff}[]"] {
        assert_eq!(api.post(PATH, broken).await.status, 400, "{broken:?}");
    }
    for (name, value) in [
        ("content-type", "text/csv"),
        ("content-type", "application/json; charset=latin1"),
        ("content-encoding", "gzip"),
    ] {
        let reply = api.send("POST", PATH, &[(name, value)], event("a").as_bytes()).await;
        assert_eq!(reply.problem(415), "unsupported-media-type", "{name}: {value}");
    }
    assert_eq!(api.post("/api/v1/events?dry=1", &event("a")).await.faults(), ["dry"]);
}

#[tokio::test]
async fn sizes_are_bounded() {
    let api = Api::with(Options { events_body_max: 2_000, event_max: 250, ..Options::default() });
    let long = event("a").replace("u1", &"u".repeat(180));
    assert_eq!(api.post(PATH, &format!("[{long}]")).await.faults(), ["[0]"]);
    let large = format!("[{}]", vec![event("a"); 20].join(","));
    assert_eq!(api.post(PATH, &large).await.problem(413), "body-too-large");
}

#[tokio::test]
async fn cloud_events_are_mapped_and_faults_keep_their_names() {
    let api = Api::new();
    let one = "application/cloudevents+json";
    assert_eq!(send(&api, one, &cloud("a", ", \"myext\": 1")).await.ok(202)["accepted"], 1);
    let stored: serde_json::Value =
        serde_json::from_slice(&api.world.log.lock().unwrap()[0].event.data).unwrap();
    let wanted = json!({"id": "a", "userId": "u1", "type": "LISTING_VIEWED", "occurredAt": "2026-01-01T00:00:00Z",
        "source": "/crm", "data": {"price": 5}});
    assert_eq!(stored, wanted);
    assert_eq!(api.post(PATH, &event("a")).await.ok(202)["duplicates"], 1, "the same event in its own form");
    let batch = "application/cloudevents-batch+json";
    let two = format!("[{}, {}]", cloud("b", ""), cloud("c", ", \"datacontenttype\": \"application/json\""));
    assert_eq!(send(&api, batch, &two).await.ok(202)["accepted"], 2);
    assert_eq!(send(&api, batch, &cloud("b", "")).await.faults(), [""], "a batch is an array");
    for (wrong, place) in [
        (cloud("d", "").replace("\"1.0\"", "\"0.3\""), "specversion"),
        (cloud("d", "").replace("\"/crm\"", "\"\""), "source"),
        (cloud("d", "").replace("\"subject\": \"u1\", ", ""), "subject"),
        (cloud("d", "").replace("\"subject\": \"u1\"", "\"subject\": \"*\""), "subject"),
        (cloud("d", "").replace("2026-01-01T00:00:00Z", "today"), "time"),
        (cloud("d", "").replace("\"price\": 5", "\"price\": -5"), "data.price"),
        (cloud("d", ", \"data_base64\": \"AA==\""), "data_base64"),
        (cloud("d", ", \"datacontenttype\": \"text/xml\""), "datacontenttype"),
        (cloud("d", "").replace("\"source\": \"/crm\", ", ""), ""),
    ] {
        assert_eq!(send(&api, one, &wrong).await.faults(), [place], "{wrong}");
    }
}

#[tokio::test]
async fn a_store_that_is_away_sends_the_sender_away() {
    let api = Api::new();
    *api.world.commands_fail.lock().unwrap() =
        Some(|| Error::Unavailable { reason: "the disk is full; make room".to_owned() });
    let reply = api.post(PATH, &event("a")).await;
    assert_eq!(reply.problem(503), "unavailable");
    assert_eq!(reply.json()["detail"], "the disk is full; make room");
    *api.world.commands_fail.lock().unwrap() = Some(|| Error::Timeout { what: "the append".to_owned() });
    assert_eq!(api.post(PATH, &event("a")).await.problem(503), "timeout");
    // What is never taken is nothing to come again with.
    *api.world.commands_fail.lock().unwrap() =
        Some(|| Error::NotTaken { reason: "at most 9 bytes".to_owned() });
    let reply = api.post(PATH, &event("a")).await;
    assert_eq!(reply.problem(422), "not-taken");
    assert!(reply.json()["detail"].as_str().unwrap().contains("at most 9 bytes"));
    assert!(!reply.headers.contains_key("retry-after"));
}

#[tokio::test]
async fn bodies_share_a_bounded_memory() {
    let api = Api::with(Options { bodies_mib_max: 1, events_body_max: 4 << 20, ..Options::default() });
    let blank = " ".repeat(1 << 20) + &event("a");
    assert_eq!(api.post(PATH, &blank).await.problem(503), "unavailable");
    let fits = " ".repeat(700 << 10);
    for id in ["a", "b", "c"] {
        let reply = api.post(PATH, &format!("{fits}{}", event(id))).await;
        assert_eq!(reply.ok(202)["accepted"], 1, "the share came back");
    }
}
