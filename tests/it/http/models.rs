//! `/alerts/models`: what each call asks of the registry, and how its answers and refusals look.

use intentd::commands::NotReady;
use intentd::commands::models::{
    Change, Error, ModelChange, ModelFact, ModelView, Models, Part, Refused, Reloaded, VersionView, Who,
};
use intentd::domain::id::EventId;
use intentd::domain::model::{Asked, ModelEvent, ModelRefused};
use intentd::store::BoxFuture;
use serde_json::json;

use super::Api;
use super::samples::time;
use super::world::World;

fn asked() -> Asked {
    Asked { by: "ann".to_owned(), why: "better".to_owned(), at: time("2026-01-02T00:00:00Z") }
}

fn view() -> ModelView {
    let version = |version: &str, part, reasons: &[&str]| VersionView {
        version: version.to_owned(),
        part,
        reasons: reasons.iter().map(|&reason| reason.to_owned()).collect(),
    };
    ModelView {
        model: "SELL".to_owned(),
        version: Some("2".to_owned()),
        model_sha256: Some("ab".to_owned()),
        catalog_differs: true,
        since: Some(asked()),
        challenger: Some("3".to_owned()),
        challenger_fails: Some("no score in time".to_owned()),
        pinned: None,
        lacking: None,
        versions: vec![
            version("4", Part::Refused, &["wrong"]),
            version("3", Part::Challenger, &[]),
            version("2", Part::Serving, &[]),
            version("1", Part::Served, &[]),
            version("0", Part::New, &[]),
        ],
    }
}

impl Models for World {
    fn list(&self) -> BoxFuture<'_, Result<Vec<ModelView>, Error>> {
        Box::pin(async { Ok(vec![view()]) })
    }

    fn history(&self, model: String, limit: usize) -> BoxFuture<'_, Result<Vec<ModelFact>, Error>> {
        self.calls.lock().unwrap().push(format!("history {model} {limit}"));
        let event = ModelEvent::ModelRefused(ModelRefused {
            model_type: model,
            version: "4".to_owned(),
            reasons: vec!["wrong".to_owned()],
            catalog_version: "c".to_owned(),
            asked: asked(),
        });
        Box::pin(async { Ok(vec![ModelFact { id: EventId(uuid::Uuid::from_u128(9)), revision: 3, event }]) })
    }

    fn reload(&self, model: Option<String>, who: Who) -> BoxFuture<'_, Result<Vec<ModelChange>, Error>> {
        self.calls.lock().unwrap().push(format!("reload {model:?} {} {}", who.by, who.why));
        let change = |result, refused| ModelChange {
            model: "SELL".to_owned(),
            result,
            version: Some("2".to_owned()),
            refused,
        };
        let refused = vec![Refused { version: "4".to_owned(), reasons: vec!["wrong".to_owned()] }];
        Box::pin(async move {
            Ok(vec![
                change(Reloaded::Activated { previous: Some("1".to_owned()) }, Vec::new()),
                change(Reloaded::Unchanged, Vec::new()),
                change(Reloaded::Refused, refused),
            ])
        })
    }

    fn change(&self, model: String, change: Change, who: Who) -> BoxFuture<'_, Result<ModelView, Error>> {
        self.calls.lock().unwrap().push(format!("{change:?} {} {}", who.by, who.why));
        Box::pin(async move {
            match change {
                _ if model != "SELL" => Err(Error::NotFound { what: format!("model {model}") }),
                Change::Activate { version } if version == "4" => {
                    let reasons = vec!["wrong".to_owned(), "slow".to_owned()];
                    Err(Error::Refused { model, version, reasons })
                }
                Change::Promote => Err(Error::NotAllowed { reason: "no version of SELL runs".to_owned() }),
                Change::Unchallenge => Err(Error::Unavailable { reason: "no runtime".to_owned() }),
                Change::Activate { .. } | Change::RollBack { .. } | Change::Challenge { .. } => Ok(view()),
            }
        })
    }

    fn lacking(&self) -> Vec<NotReady> {
        Vec::new()
    }
}

const BASE: &str = "/api/v1/alerts/models";

#[tokio::test]
async fn a_reload_says_per_model_what_it_did() {
    let api = Api::new();
    let done = api.post(&format!("{BASE}/reload"), "").await.ok(200);
    let items = done["items"].as_array().unwrap();
    let results: Vec<_> = items.iter().map(|item| item["result"].as_str().unwrap()).collect();
    assert_eq!(results, ["activated", "unchanged", "refused"]);
    assert_eq!((&items[0]["previous"], &items[0]["version"]), (&json!("1"), &json!("2")));
    assert_eq!(items[2]["refused"], json!([{"version": "4", "reasons": ["wrong"]}]));
    api.post(&format!("{BASE}/reload"), r#"{"modelType": "SELL", "why": "new data"}"#).await.ok(200);
    let calls = api.world.calls.lock().unwrap().clone();
    assert_eq!(calls, ["reload None api reload", "reload Some(\"SELL\") api new data"]);
    let unknown = api.post(&format!("{BASE}/reload"), r#"{"modelType": "RENT"}"#).await;
    assert_eq!(unknown.faults(), ["modelType"]);
}

#[tokio::test]
async fn models_are_listed_with_every_version_and_its_part() {
    let api = Api::new();
    let listed = api.get(BASE).await.ok(200);
    let model = &listed["items"][0];
    assert_eq!((&model["modelType"], &model["version"]), (&json!("SELL"), &json!("2")));
    assert_eq!((&model["degraded"], &model["reason"]), (&json!(false), &json!(null)));
    assert_eq!(model["since"], json!({"by": "ann", "why": "better", "at": "2026-01-02T00:00:00.000Z"}));
    assert_eq!((&model["challenger"], &model["challengerFails"]), (&json!("3"), &json!("no score in time")));
    let parts: Vec<_> = model["versions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|version| version["part"].as_str().unwrap())
        .collect();
    assert_eq!(parts, ["REFUSED", "CHALLENGER", "SERVING", "SERVED", "NEW"]);
    let history = api.get(&format!("{BASE}/SELL/history?limit=7")).await.ok(200);
    let fact = &history["items"][0];
    assert_eq!(
        (&fact["event"], &fact["reasons"], &fact["by"]),
        (&json!("MODEL_REFUSED"), &json!(["wrong"]), &json!("ann"))
    );
    assert_eq!(api.world.calls.lock().unwrap().as_slice(), ["history SELL 7"]);
}

#[tokio::test]
async fn a_change_names_who_and_why_and_a_refusal_every_reason() {
    let api = Api::new();
    let json = ("content-type", "application/json");
    let actor = ("x-intentd-actor", "ann");
    let send = async |call: &str, body: &str| {
        api.send("POST", &format!("{BASE}/{call}"), &[json, actor], body.as_bytes()).await
    };
    assert_eq!(send("SELL/activate", r#"{"version": "2", "why": "better"}"#).await.ok(200)["version"], "2");
    send("SELL/rollback", "").await.ok(200);
    send("SELL/challenge", r#"{"version": "3"}"#).await.ok(200);
    let calls = api.world.calls.lock().unwrap().clone();
    let wanted = [
        r#"Activate { version: "2" } ann better"#,
        "RollBack { version: None } ann rollback",
        r#"Challenge { version: "3" } ann challenge"#,
    ];
    assert_eq!(calls, wanted);
    let refused = send("SELL/activate", r#"{"version": "4"}"#).await;
    assert_eq!(refused.problem(422), "model-refused");
    let reasons = json!([{"path": "version", "message": "wrong"}, {"path": "version", "message": "slow"}]);
    assert_eq!(refused.json()["errors"], reasons);
    assert_eq!(send("RENT/activate", r#"{"version": "4"}"#).await.problem(404), "not-found");
    assert_eq!(send("SELL/promote", "{}").await.problem(409), "model-change-not-allowed");
    assert_eq!(send("SELL/unchallenge", "{}").await.problem(503), "unavailable");
    assert_eq!(send("SELL/activate", "{}").await.faults(), ["version"]);
    assert_eq!(send("SELL/promote", r#"{"why": ""}"#).await.faults(), ["why"]);
}
