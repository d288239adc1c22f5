//! What holds for every route: methods, unknown parameters, bad and large bodies, and that OpenAPI describes exactly what is
//! served.

use std::collections::{BTreeMap, BTreeSet};

use intentd::http::{Options, ROUTES, Route, document};
use serde_json::Value;

use super::Api;

/// A path that fits a template.
fn path(template: &str) -> String {
    let id = super::samples::alert_id(1).to_string();
    template.replace("{userId}", "u1").replace("{id}", &id).replace("{modelType}", "SELL")
}

fn templates() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let mut templates: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for route in ROUTES {
        templates.entry(route.template).or_default().insert(route.method.as_str());
    }
    templates
}

#[tokio::test]
async fn a_wrong_method_is_405_and_options_and_head_follow_from_the_table() {
    let api = Api::new();
    for (template, methods) in templates() {
        let mut wanted: BTreeSet<&str> = methods.iter().copied().chain(["OPTIONS"]).collect();
        if methods.contains("GET") {
            wanted.insert("HEAD");
        }
        let allowed = |reply: &super::Reply| {
            let allow = reply.headers["allow"].to_str().unwrap().to_owned();
            allow.split(", ").map(str::to_owned).collect::<BTreeSet<_>>()
        };
        let wanted: BTreeSet<String> = wanted.into_iter().map(str::to_owned).collect();
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW"] {
            if !methods.contains(method) {
                let reply = api.send(method, &path(template), &[], b"").await;
                assert_eq!(reply.problem(405), "method-not-allowed", "{method} {template}");
                assert_eq!(allowed(&reply), wanted, "{method} {template}");
            }
        }
        let options = api.send("OPTIONS", &path(template), &[], b"").await;
        assert_eq!((options.status, options.body.len()), (204, 0), "{template}");
        assert_eq!(allowed(&options), wanted);
        if methods.contains("GET") && template != "/api/v1/stream/alerts" {
            let (get, head) =
                (api.get(&path(template)).await, api.send("HEAD", &path(template), &[], b"").await);
            assert_eq!((head.status, head.body.len()), (get.status, 0), "{template}");
            assert_eq!(head.headers["content-length"], get.body.len().to_string(), "{template}");
            assert_eq!(head.headers["content-type"], get.headers["content-type"]);
        }
    }
}

#[tokio::test]
async fn an_unknown_path_is_404() {
    let api = Api::new();
    for unknown in [
        "/",
        "/api/v1",
        "/api/v1/",
        "/api/v1/event",
        "/api/v1/events/",
        "/API/v1/events",
        "/api/v2/events",
        "/api/v1//events",
        "/api/v1/alerts/1/2/3",
        "/healthz/x",
        "/../metrics",
    ] {
        assert_eq!(api.get(unknown).await.problem(404), "not-found", "{unknown}");
    }
}

#[tokio::test]
async fn an_unknown_parameter_is_named_everywhere() {
    let api = Api::new();
    for route in ROUTES {
        let path = format!("{}?surprise=1", path(route.template));
        let reply = api.send(route.method.as_str(), &path, &[], b"{}").await;
        assert_eq!(reply.faults(), ["surprise"], "{} {path}", route.method);
    }
}

#[tokio::test]
async fn bad_bodies_are_refused_everywhere() {
    let api = Api::with(Options {
        body_max: 1_000,
        events_body_max: 1_000,
        event_max: 1_000,
        ..Options::default()
    });
    let json = ("content-type", "application/json");
    // A replay takes no body.
    let takes_body = |route: &&Route| route.method != "GET" && !route.template.ends_with("/replay");
    for route in ROUTES.iter().filter(takes_body) {
        let (method, path) = (route.method.as_str(), path(route.template));
        for broken in ["{", "nonsense", "{,}", "[1, 2", "\u{1}"] {
            let reply = api.send(method, &path, &[json], broken.as_bytes()).await;
            assert_eq!(reply.faults(), [""], "{method} {path} {broken:?}");
        }
        let utf16 = api.send(method, &path, &[json], b"\xff\xfe{\x00}\x00").await;
        assert_eq!(utf16.status, 400, "{method} {path}");
        let large = api.send(method, &path, &[json], &[b' '; 1_001]).await;
        assert_eq!(large.problem(413), "body-too-large", "{method} {path}");
        let form =
            api.send(method, &path, &[("content-type", "application/x-www-form-urlencoded")], b"a=1").await;
        assert_eq!(form.problem(415), "unsupported-media-type", "{method} {path}");
        if route.template != "/api/v1/events" {
            let reply = api.send(method, &path, &[json], br#"{"surprise": 1}"#).await;
            assert_eq!(reply.faults(), ["surprise"], "{method} {path}");
            let deep = format!("{{\"surprise\": {}", "[".repeat(900));
            assert_eq!(api.send(method, &path, &[json], deep.as_bytes()).await.status, 400);
        }
    }
}

#[tokio::test]
async fn openapi_describes_what_is_served_and_nothing_else() {
    let api = Api::new();
    let served = api.get("/api/v1/openapi.json").await.ok(200);
    assert_eq!(served, serde_json::to_value(document()).unwrap());
    assert_eq!(served["openapi"], "3.1.0");
    let methods = ["get", "put", "post", "patch", "delete"];
    let described: BTreeMap<&str, BTreeSet<String>> = served["paths"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(path, item)| {
            let known = methods.iter().filter(|method| item.get(**method).is_some());
            (path.as_str(), known.map(|method| method.to_uppercase()).collect())
        })
        .collect();
    let table: BTreeMap<&str, BTreeSet<String>> = templates()
        .into_iter()
        .map(|(path, methods)| (path, methods.into_iter().map(str::to_owned).collect()))
        .collect();
    assert_eq!(described, table);
}

#[tokio::test]
async fn every_described_parameter_is_known_and_every_reference_leads_somewhere() {
    let api = Api::new();
    let document = serde_json::to_value(document()).unwrap();
    for (template, item) in document["paths"].as_object().unwrap() {
        for (method, call) in item.as_object().unwrap() {
            assert!(call["operationId"].is_string() && call["summary"].is_string(), "{method} {template}");
            for parameter in call["parameters"].as_array().into_iter().flatten() {
                let name = parameter["name"].as_str().unwrap();
                match parameter["in"].as_str().unwrap() {
                    "query" => {
                        let bad = api.get(&format!("{}?{name}=%01", path(template))).await;
                        assert_eq!(bad.faults(), [name], "{template}: known, and checked");
                        let text = bad.json()["errors"][0]["message"].as_str().unwrap().to_owned();
                        assert!(!text.contains("no such query parameter"), "{template} {name}: {text}");
                    }
                    "path" => assert!(template.contains(&format!("{{{name}}}")), "{template} {name}"),
                    "header" => assert!(["x-intentd-actor", "Last-Event-ID"].contains(&name)),
                    other => panic!("{template}: {name} in {other}"),
                }
            }
        }
    }
    let mut references = Vec::new();
    collect(&document, &mut references);
    assert!(references.len() > 20);
    for reference in references {
        let pointer = reference.trim_start_matches('#');
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
}

fn collect(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            into.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
            members.values().for_each(|member| collect(member, into));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, into)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
