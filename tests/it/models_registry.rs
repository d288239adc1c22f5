//! The model registry on a log in memory and real folders: what serves, what is written, and what a restart makes of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use intentd::commands::models::{Change, Error, ModelView, Models as _, Part, Reloaded, Who};
use intentd::domain::catalog::ModelIx;
use intentd::domain::codec::decode_model_event;
use intentd::domain::model::ModelEvent;
use intentd::domain::time::Timestamp;
use intentd::models::{ModelRegistry, Parts};
use intentd::scoring::{Challengers as _, Options, Scorer as _};
use intentd::store::memory::MemoryStore;

use crate::scoring::graphs::{Recipe, write};
use crate::scoring::{five, is_there};

const STEPS: ModelIx = ModelIx(1);

/// What survives a restart.
pub struct World {
    pub store: MemoryStore,
    pub root: tempfile::TempDir,
    pub pin: BTreeMap<String, String>,
}

impl World {
    pub fn with(versions: &[&str]) -> Self {
        let root = tempfile::tempdir().unwrap();
        let world = Self { store: MemoryStore::default(), root, pin: BTreeMap::new() };
        versions.iter().for_each(|version| world.put(version, &Recipe::default()));
        world
    }

    /// A version whose bias tells it from others.
    pub fn put(&self, version: &str, recipe: &Recipe) {
        write(self.root.path(), "STEPS", version, recipe);
    }

    fn folder(&self, version: &str) -> PathBuf {
        self.root.path().join("STEPS").join(version)
    }

    pub async fn start(&self) -> ModelRegistry {
        let limit = Duration::from_secs(5);
        let options = Options {
            folder: self.root.path().to_path_buf(),
            pin: self.pin.clone(),
            latency_one_max: limit,
            latency_batch_max: limit,
            ..Options::default()
        };
        let wall = || Timestamp::from_millis(1_700_000_000_000);
        let parts =
            Parts { store: std::sync::Arc::new(self.store.clone()), catalog: five().into(), options, wall };
        ModelRegistry::start(parts).await.unwrap()
    }

    /// Every fact about STEPS: kind, version, who.
    pub fn log(&self) -> Vec<String> {
        let all = self.store.everything();
        let facts = all.iter().filter(|event| &*event.stream == "model-STEPS");
        facts
            .map(|fact| match decode_model_event(&fact.event_type, &fact.data).unwrap().unwrap() {
                ModelEvent::ModelActivated(fact) => {
                    format!("activated {} {}", fact.made.version, fact.asked.by)
                }
                ModelEvent::ModelRefused(fact) => format!("refused {} {}", fact.version, fact.asked.by),
                ModelEvent::ModelRolledBack(fact) => {
                    format!("back {}<-{} {}", fact.made.version, fact.from, fact.asked.by)
                }
                ModelEvent::ChallengerStarted(fact) => {
                    format!("started {} {}", fact.made.version, fact.asked.by)
                }
                ModelEvent::ChallengerStopped(fact) => format!("stopped {} {}", fact.version, fact.asked.by),
            })
            .collect()
    }
}

fn ann() -> Who {
    Who { by: "ann".to_owned(), why: "because".to_owned() }
}

/// The version that scores, by its own word.
pub fn scored(registry: &ModelRegistry) -> Option<String> {
    let score = registry.champions().scorer().score(STEPS, &[&[0.0; 5]]).remove(0);
    score.ok().map(|score| score.version.to_string())
}

pub async fn change(registry: &ModelRegistry, change: Change) -> Result<ModelView, Error> {
    registry.change("STEPS".to_owned(), change, ann()).await
}

pub async fn activate(registry: &ModelRegistry, version: &str) -> Result<ModelView, Error> {
    change(registry, Change::Activate { version: version.to_owned() }).await
}

pub async fn roll_back(registry: &ModelRegistry) -> Result<ModelView, Error> {
    change(registry, Change::RollBack { version: None }).await
}

pub async fn reload(registry: &ModelRegistry) -> (Reloaded, Vec<String>) {
    let change = registry.reload(Some("STEPS".to_owned()), ann()).await.unwrap().remove(0);
    assert_eq!(change.version, scored(registry));
    (change.result, change.refused.into_iter().map(|refused| refused.version).collect())
}

#[tokio::test]
async fn the_newest_serves_where_the_log_says_nothing_and_a_restart_writes_nothing() {
    if !is_there("the_newest_serves_where_the_log_says_nothing_and_a_restart_writes_nothing") {
        return;
    }
    let world = World::with(&["9", "10"]);
    assert_eq!(scored(&world.start().await).as_deref(), Some("10"));
    assert_eq!(world.log(), ["activated 10 start"]);
    for _ in 0..3 {
        assert_eq!(scored(&world.start().await).as_deref(), Some("10"));
    }
    assert_eq!(world.log().len(), 1, "a restart that changes nothing writes nothing");
    // What came while the daemon was down is for a reload, not for a restart.
    world.put("11", &Recipe::default());
    let registry = world.start().await;
    assert_eq!(scored(&registry).as_deref(), Some("10"));
    assert_eq!(reload(&registry).await, (Reloaded::Activated { previous: Some("10".to_owned()) }, vec![]));
    assert_eq!(world.log(), ["activated 10 start", "activated 11 ann"]);
    // LINES has no version, and says so.
    let lacking = registry.lacking();
    assert_eq!(lacking.len(), 1);
    assert_eq!(lacking[0].reason, "LINES: there is no version in the models folder");
}

#[tokio::test]
async fn a_rollback_stays_after_a_restart_and_a_reload() {
    if !is_there("a_rollback_stays_after_a_restart_and_a_reload") {
        return;
    }
    let world = World::with(&["1", "2", "3"]);
    let registry = world.start().await;
    assert!(matches!(roll_back(&registry).await, Err(Error::NotAllowed { .. })), "nothing served before");
    activate(&registry, "1").await.unwrap();
    activate(&registry, "2").await.unwrap();
    let view = roll_back(&registry).await.unwrap();
    assert_eq!((view.version.as_deref(), scored(&registry).as_deref()), (Some("1"), Some("1")));
    assert_eq!(
        reload(&registry).await,
        (Reloaded::Unchanged, vec![]),
        "3 and 2 have served: they are not new"
    );
    let registry = world.start().await;
    assert_eq!(scored(&registry).as_deref(), Some("1"));
    let parts: Vec<_> =
        registry.list().await.unwrap()[1].versions.iter().map(|version| version.part).collect();
    assert_eq!(parts, [Part::Served, Part::New, Part::Serving], "2 was taken off by the rollback");
    // By name: any that served.
    let back = Change::RollBack { version: Some("3".to_owned()) };
    assert_eq!(change(&registry, back).await.unwrap().version.as_deref(), Some("3"));
    let never = Change::RollBack { version: Some("7".to_owned()) };
    assert!(matches!(change(&registry, never).await, Err(Error::NotAllowed { .. })));
    let wanted =
        ["activated 3 start", "activated 1 ann", "activated 2 ann", "back 1<-2 ann", "back 3<-1 ann"];
    assert_eq!(world.log(), wanted);
    let facts = registry.history("STEPS".to_owned(), 2).await.unwrap();
    assert_eq!(facts.iter().map(|fact| fact.revision).collect::<Vec<_>>(), [4, 3]);
}

#[tokio::test]
async fn a_refused_version_leaves_the_old_one_and_is_written_once() {
    if !is_there("a_refused_version_leaves_the_old_one_and_is_written_once") {
        return;
    }
    let world = World::with(&["1"]);
    let registry = world.start().await;
    world.put("2", &Recipe { lift: 0.9, ..Recipe::default() });
    for _ in 0..2 {
        assert_eq!(reload(&registry).await, (Reloaded::Refused, vec!["2".to_owned()]));
    }
    let Err(Error::Refused { version, reasons, .. }) = activate(&registry, "2").await else {
        panic!("taken")
    };
    assert_eq!((&*version, reasons.len()), ("2", 1));
    assert!(reasons[0].contains("out of range"), "{reasons:?}");
    assert_eq!(scored(&world.start().await).as_deref(), Some("1"));
    assert_eq!(world.log(), ["activated 1 start", "refused 2 ann"], "the same reasons again are no news");
    // Another reason is; and a version that was never taken may be mended.
    fs::remove_file(world.folder("2").join("CARD.md")).unwrap();
    reload(&registry).await;
    world.put("2", &Recipe::default());
    assert_eq!(reload(&registry).await.0, Reloaded::Activated { previous: Some("1".to_owned()) });
    let wanted = ["activated 1 start", "refused 2 ann", "refused 2 ann", "activated 2 ann"];
    assert_eq!(world.log(), wanted);
    assert!(matches!(activate(&registry, "9").await, Err(Error::NotFound { .. })));
    assert_eq!(world.log().len(), 4, "a version that does not exist is not worth a fact");
    // An older valid one behind a broken newest one is taken.
    world.put("4", &Recipe { crosses: true, ..Recipe::default() });
    world.put("3", &Recipe::default());
    let (result, refused) = reload(&registry).await;
    assert_eq!(
        (result, refused),
        (Reloaded::Activated { previous: Some("2".to_owned()) }, vec!["4".to_owned()])
    );
}

#[tokio::test]
async fn a_version_that_is_gone_at_a_start_lets_the_one_before_serve() {
    if !is_there("a_version_that_is_gone_at_a_start_lets_the_one_before_serve") {
        return;
    }
    let world = World::with(&["1", "2"]);
    let registry = world.start().await;
    activate(&registry, "1").await.unwrap();
    activate(&registry, "2").await.unwrap();
    drop(registry);
    fs::rename(world.folder("2"), world.folder(".2")).unwrap();
    assert_eq!(scored(&world.start().await).as_deref(), Some("1"));
    assert_eq!(world.log()[3..], ["refused 2 start", "back 1<-2 start"]);
    assert_eq!(scored(&world.start().await).as_deref(), Some("1"));
    assert_eq!(world.log().len(), 5);
    // All are gone: nobody serves; what is back serves again after a reload, and that is told.
    fs::rename(world.folder("1"), world.folder(".1")).unwrap();
    let registry = world.start().await;
    assert_eq!(scored(&registry), None);
    assert!(
        registry.lacking()[1].reason.starts_with("STEPS: 1: there is no version 1"),
        "{:?}",
        registry.lacking()
    );
    fs::rename(world.folder(".1"), world.folder("1")).unwrap();
    assert_eq!(reload(&registry).await.0, Reloaded::Activated { previous: None });
    assert_eq!(registry.lacking().len(), 1);
    assert_eq!(world.log()[5..], ["refused 1 start", "activated 1 ann"]);
}

#[tokio::test]
async fn a_version_is_not_changed_in_place() {
    if !is_there("a_version_is_not_changed_in_place") {
        return;
    }
    let world = World::with(&["1"]);
    let registry = world.start().await;
    world.put("1", &Recipe { bias: 0.5, ..Recipe::default() });
    assert_eq!(reload(&registry).await, (Reloaded::Refused, vec!["1".to_owned()]), "what serves goes on");
    let Err(Error::Refused { reasons, .. }) = activate(&registry, "1").await else { panic!("taken") };
    assert!(reasons[0].contains("changed in place"), "{reasons:?}");
    assert_eq!(scored(&world.start().await), None, "scores of two models must not have one name");
    assert_eq!(world.log(), ["activated 1 start", "refused 1 ann"]);
}

#[tokio::test]
async fn what_is_pinned_serves_whatever_is_asked() {
    if !is_there("what_is_pinned_serves_whatever_is_asked") {
        return;
    }
    let mut world = World::with(&["1", "2", "3"]);
    drop(world.start().await);
    world.pin.insert("STEPS".to_owned(), "1".to_owned());
    let registry = world.start().await;
    assert_eq!(scored(&registry).as_deref(), Some("1"));
    for refused in [activate(&registry, "2").await, roll_back(&registry).await] {
        let Err(Error::NotAllowed { reason }) = refused else { panic!("{refused:?}") };
        assert!(reason.contains("pinned to 1"), "{reason}");
    }
    world.put("4", &Recipe::default());
    assert_eq!(reload(&registry).await, (Reloaded::Unchanged, vec![]));
    drop(world.start().await);
    assert_eq!(world.log(), ["activated 3 start", "activated 1 start"]);
    // Without the pin the log goes on from there.
    world.pin.clear();
    assert_eq!(scored(&world.start().await).as_deref(), Some("1"));
    world.pin.insert("STEPS".to_owned(), "8".to_owned());
    assert_eq!(scored(&world.start().await), None, "a pin is never silently replaced by another version");
}

#[tokio::test]
async fn a_challenger_runs_in_shadow_until_it_is_stopped_or_promoted() {
    if !is_there("a_challenger_runs_in_shadow_until_it_is_stopped_or_promoted") {
        return;
    }
    let world = World::with(&["1"]);
    let registry = world.start().await;
    for version in ["2", "3"] {
        world.put(version, &Recipe { bias: 0.25, ..Recipe::default() });
    }
    world.put("4", &Recipe { lift: 0.9, ..Recipe::default() });
    let challenge = async |registry: &ModelRegistry, version: &str| {
        change(registry, Change::Challenge { version: version.to_owned() }).await
    };
    let shadow = |registry: &ModelRegistry| {
        let score = registry.challengers().scorer().score(STEPS, &[&[0.0; 5]]).remove(0);
        score.ok().map(|score| score.version.to_string())
    };
    assert!(!registry.challengers().is_on(STEPS));
    assert!(matches!(challenge(&registry, "1").await, Err(Error::NotAllowed { .. })), "1 serves");
    assert!(matches!(challenge(&registry, "4").await, Err(Error::Refused { .. })));
    assert!(matches!(change(&registry, Change::Promote).await, Err(Error::NotAllowed { .. })));
    assert!(matches!(change(&registry, Change::Unchallenge).await, Err(Error::NotAllowed { .. })));
    challenge(&registry, "2").await.unwrap();
    let view = challenge(&registry, "3").await.unwrap();
    assert_eq!((view.version.as_deref(), view.challenger.as_deref()), (Some("1"), Some("3")));
    assert_eq!((scored(&registry).as_deref(), shadow(&registry).as_deref()), (Some("1"), Some("3")));
    let registry = world.start().await;
    assert_eq!((scored(&registry).as_deref(), shadow(&registry).as_deref()), (Some("1"), Some("3")));
    change(&registry, Change::Unchallenge).await.unwrap();
    assert!(!registry.challengers().is_on(STEPS) && shadow(&registry).is_none());
    challenge(&registry, "2").await.unwrap();
    let view = change(&registry, Change::Promote).await.unwrap();
    assert_eq!((view.version.as_deref(), view.challenger), (Some("2"), None));
    assert_eq!((scored(&registry).as_deref(), shadow(&registry)), (Some("2"), None));
    assert_eq!(roll_back(&registry).await.unwrap().version.as_deref(), Some("1"));
    let wanted = [
        "activated 1 start",
        "refused 4 ann",
        "started 2 ann",
        "stopped 2 ann",
        "started 3 ann",
        "stopped 3 ann",
        "started 2 ann",
        "activated 2 ann",
        "back 1<-2 ann",
    ];
    assert_eq!(world.log(), wanted);
    // One that no longer passes ends at the next start.
    challenge(&registry, "3").await.unwrap();
    fs::remove_file(world.folder("3").join("model.onnx")).unwrap();
    let registry = world.start().await;
    assert!(!registry.challengers().is_on(STEPS));
    assert_eq!(world.log()[9..], ["started 3 ann", "stopped 3 start"]);
}

#[tokio::test]
async fn two_daemons_on_one_log_agree() {
    if !is_there("two_daemons_on_one_log_agree") {
        return;
    }
    let world = World::with(&["1", "2", "3"]);
    let (one, other) = (world.start().await, world.start().await);
    activate(&one, "1").await.unwrap();
    // The other learns of it before it decides.
    activate(&other, "2").await.unwrap();
    assert_eq!(roll_back(&one).await.unwrap().version.as_deref(), Some("1"));
    let wanted = ["activated 3 start", "activated 1 ann", "activated 2 ann", "back 1<-2 ann"];
    assert_eq!(world.log(), wanted);
    // What the other has done already is done here without a second fact.
    activate(&other, "1").await.unwrap();
    assert_eq!(scored(&other).as_deref(), Some("1"));
    assert_eq!(world.log().len(), 4);
}

#[tokio::test]
async fn a_change_that_cannot_be_written_is_not_made() {
    if !is_there("a_change_that_cannot_be_written_is_not_made") {
        return;
    }
    let world = World::with(&["1", "2"]);
    let registry = world.start().await;
    activate(&registry, "1").await.unwrap();
    world.store.set_unwritable(Some("full"));
    for refused in [activate(&registry, "2").await, roll_back(&registry).await] {
        assert!(matches!(refused, Err(Error::Unavailable { .. })), "{refused:?}");
    }
    assert_eq!(scored(&registry).as_deref(), Some("1"));
    world.store.set_unwritable(None);
    assert_eq!(roll_back(&registry).await.unwrap().version.as_deref(), Some("2"));
}

#[tokio::test]
async fn a_rollback_takes_under_a_second() {
    if !is_there("a_rollback_takes_under_a_second") {
        return;
    }
    let world = World::with(&["1"]);
    let registry = world.start().await;
    world.put("2", &Recipe::default());
    reload(&registry).await;
    let mut scorer = registry.champions().scorer();
    assert_eq!(&*scorer.score(STEPS, &[&[0.0; 5]]).remove(0).unwrap().version, "2");
    let began = Instant::now();
    roll_back(&registry).await.unwrap();
    let took = began.elapsed();
    assert_eq!(&*scorer.score(STEPS, &[&[0.0; 5]]).remove(0).unwrap().version, "1", "at the very next batch");
    assert!(took < Duration::from_secs(1), "{took:?}");
}
