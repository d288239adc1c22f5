//! From `POST /events` answered to the alert visible in `GET`, while 1,000 events/s come in: over real HTTP on loopback.

use std::time::{Duration, Instant};

use intentd::app::App;
use intentd::clock;
use intentd::config::Config;
use intentd::domain::catalog::Catalog;
use serde_json::{Value, json};

/// Probes, one every 100 ms.
const PROBES: usize = 100;

/// Measures percentiles in milliseconds. A probe is a request for a score of a user by every model; "visible" is
/// when `GET /users/:id` shows the new scores. (Whether a score is worth an alert depends on the model; the way is the same.)
pub fn run(catalog: &Catalog, config: &Config) -> Value {
    let mut config = config.clone();
    config.data_dir = config.data_dir.with_file_name("latency");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let metrics = intentd::metrics::install().unwrap();
    let (app, address) = runtime.block_on(async {
        let mut app = App::start(&config, catalog.clone()).await.unwrap();
        let address = app.serve(&config, metrics, None).await.unwrap();
        (app, address)
    });
    let base = format!("http://{address}/api/v1");
    let load = std::thread::spawn({
        let base = base.clone();
        move || background(&base)
    });
    let mut took: Vec<f64> = (0..PROBES).map(|probe| measure(&base, probe)).collect();
    load.join().unwrap();
    runtime.block_on(app.stop());
    took.sort_by(f64::total_cmp);
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
    let (p50, p99, max) = (at(0.5), at(0.99), at(1.0));
    json!({ "p50Ms": p50, "p99Ms": p99, "maxMs": max, "probes": PROBES })
}

fn event(user: &str, id: &str) -> Value {
    json!({ "id": id, "userId": user, "type": "HOME_VALUE_CHECKED", "occurredAt": clock::wall(), "data": { "estimate": 4e5 } })
}

/// 1,000 events/s in requests of ten, for as long as the probes last.
fn background(base: &str) {
    let agent = ureq::agent();
    let began = Instant::now();
    for batch in 0..(PROBES as u32 * 10) {
        let events: Vec<Value> = (0..10)
            .map(|n| event(&format!("load-{}", (batch * 10 + n) % 5_000), &format!("b{batch}-{n}")))
            .collect();
        agent.post(format!("{base}/events")).send_json(&events).unwrap();
        std::thread::sleep((Duration::from_millis(10) * (batch + 1)).saturating_sub(began.elapsed()));
    }
}

fn measure(base: &str, probe: usize) -> f64 {
    let agent = ureq::agent();
    std::thread::sleep(Duration::from_millis(80));
    let user = format!("probe-{probe}");
    let first = event(&user, "p1");
    let request =
        json!({ "id": "p2", "userId": user, "type": "ScoreRequested", "occurredAt": clock::wall() });
    agent.post(format!("{base}/events")).send_json(json!([first, request])).unwrap();
    let answered = Instant::now();
    loop {
        let mut response = agent.get(format!("{base}/users/{user}")).call().unwrap();
        let shown: Value = response.body_mut().read_json().unwrap();
        if shown["scores"].as_array().is_some_and(|scores| !scores.is_empty()) {
            return answered.elapsed().as_secs_f64() * 1e3;
        }
        assert!(answered.elapsed().as_secs() < 30, "no score of {user} ever came: {shown}");
    }
}
