//! The user entity under seeded schedules, with no runtime: duplicates, crashes before and after an append is durable, lost
//! acknowledgements, appends of the dead that land late, poison, late and failed answers, sweeps, commands, snapshots.
//! Same seed, same trace.

#![expect(clippy::wildcard_enum_match_arm, reason = "a law speaks of the kinds it names")]

mod log;
mod orders;
mod replay;
mod story;
mod world;

use std::collections::HashMap;

use intentd::domain::alert::Status;
use intentd::domain::codec;
use intentd::domain::entity::{Effect, Input, UserEntity};
use intentd::domain::event::{IntentEvent, Position, Recorded};

use log::source;
use story::{RULES, Story, answer, user};
use world::{Weather, World};

const SEEDS: u64 = 2_000;

fn disturbed(failures: bool, sweeps: bool, commands: bool) -> Weather {
    Weather { disturbed: true, failures, sweeps, commands, unchallenged: false }
}

fn undisturbed(story: &Story) -> Vec<Recorded> {
    let mut world = World::new(0, story, Weather::default());
    world.run();
    assert_eq!(world.crashes, 0);
    world.log.intent
}

/// A user who reads the whole log, and has nothing to add to it.
fn recovered(world: &World<'_>, full: bool) -> UserEntity {
    let mut entity = UserEntity::new(user());
    let mut effects = Vec::new();
    entity.step(&RULES, Input::Facts(world.log.intent.clone()), &mut effects);
    let market = world.story.market_before(Position(u64::MAX));
    for events in world.story.events.chunks(if full { world.story.events.len() } else { 3 }) {
        entity.step(&RULES, Input::Deliver { events: events.to_vec(), market: market.clone() }, &mut effects);
    }
    let mut settled = None;
    while let Some(effect) = effects.pop() {
        match effect {
            Effect::Score { ticket, rows } => {
                let answers = rows.iter().map(|row| Ok(answer(row))).collect();
                entity.step(&RULES, Input::Scored { ticket, answers }, &mut effects);
            }
            Effect::Settled { through } => settled = settled.max(Some(through)),
            other => panic!("nothing is left to do, but: {other:?}"),
        }
    }
    assert_eq!(settled, Some(world.story.last()));
    entity
}

fn bytes(entity: &UserEntity) -> Vec<u8> {
    postcard::to_allocvec(&entity.snapshot().expect("quiescent")).unwrap()
}

fn check_state(world: &World<'_>, seed: u64) {
    let recovered = recovered(world, seed.is_multiple_of(2));
    // An incarnation that a dead one's append overtook learns of it with its own next append.
    if let Some(entity) = world.entity.as_ref().filter(|_| !world.overtaken) {
        assert!(
            bytes(entity) == bytes(&recovered),
            "seed {seed}: the living state is not that of the log:\n{:?}\n{:?}",
            entity.snapshot(),
            recovered.snapshot()
        );
    }
}

/// One open alert per model, allowed moves only, sources that never go back.
fn check_facts(facts: &[Recorded], seed: u64) {
    let mut alerts: HashMap<_, (String, Status)> = HashMap::new();
    let mut decided = None;
    for recorded in facts {
        assert!(source(recorded) >= decided, "seed {seed}: the decided revision goes back");
        decided = source(recorded);
        match codec::decode_fact(&recorded.event_type, &recorded.data).unwrap().unwrap() {
            IntentEvent::AlertScored(fact) => {
                assert_eq!(fact.alert_id.0, recorded.id.0);
                let open = alerts.values().filter(|(model, at)| *model == fact.model_type && at.is_open());
                assert_eq!(open.count(), 0, "seed {seed}: a second open alert");
                alerts.insert(fact.alert_id, (fact.model_type.clone(), Status::Pending));
            }
            IntentEvent::AlertEscalated(fact) => {
                assert!(fact.priority > fact.from_priority && alerts[&fact.alert_id].1.is_open());
            }
            IntentEvent::AlertStatusChanged(fact) => {
                let at = &mut alerts.get_mut(&fact.alert_id).unwrap().1;
                assert_eq!(*at, fact.from, "seed {seed}");
                let by_time = matches!(
                    (fact.from, fact.status),
                    (Status::Pending, Status::Expired) | (Status::Snoozed, Status::Pending)
                );
                let by_person = fact.by == "test" && fact.from.moves().contains(&fact.status);
                assert!(by_person || (by_time && fact.by != "test"), "seed {seed}: {fact:?}");
                *at = fact.status;
            }
            IntentEvent::AlertRearmed(fact) => assert!(!alerts[&fact.alert_id].1.is_open()),
            _ => {}
        }
    }
}

#[test]
fn after_any_crashes_the_facts_are_those_of_the_undisturbed_run() {
    let mut kinds: HashMap<String, u32> = HashMap::new();
    let mut crashes = 0;
    for seed in 0..SEEDS {
        let story = Story::new(seed);
        let reference = undisturbed(&story);
        let mut world = World::new(seed, &story, disturbed(false, false, false));
        world.reference = Some(reference.iter().filter_map(source).collect());
        world.run();
        crashes += world.crashes;
        let shape =
            |fact: &Recorded| (fact.id, fact.event_type.clone(), fact.data.clone(), fact.metadata.clone());
        let (wanted, got): (Vec<_>, Vec<_>) =
            (reference.iter().map(shape).collect(), world.log.intent.iter().map(shape).collect());
        assert_eq!(got, wanted, "seed {seed}");
        check_facts(&reference, seed);
        check_state(&world, seed);
        for fact in &reference {
            *kinds.entry(fact.event_type.to_string()).or_default() += 1;
        }
    }
    // Laws about what never happens hold too easily.
    assert!(crashes > 1_000, "{crashes} crashes");
    let kinds_meant = [
        "SignalDetected",
        "AlertScored",
        "AlertEscalated",
        "AlertRearmed",
        "UserScored",
        "ChallengerScored",
        "EventParked",
    ];
    for kind in kinds_meant {
        assert!(kinds.get(kind).is_some_and(|count| *count > 100), "too few of {kind}: {kinds:?}");
    }
    assert!(kinds["AlertStatusChanged"] > 100, "{kinds:?}");
}

#[test]
fn a_version_in_shadow_changes_no_decision() {
    let mut shadows = 0;
    for seed in 0..SEEDS / 4 {
        let story = Story::new(seed);
        let shape = |fact: &Recorded| (fact.id, fact.data.clone(), fact.metadata.clone());
        let challenged = undisturbed(&story);
        let decisions = challenged.iter().filter(|fact| fact.event_type != "ChallengerScored").map(shape);
        let mut alone = World::new(0, &story, Weather { unchallenged: true, ..Weather::default() });
        alone.run();
        assert!(decisions.eq(alone.log.intent.iter().map(shape)), "seed {seed}");
        shadows += challenged.len() - alone.log.intent.len();
    }
    assert!(shadows > 100, "{shadows} shadows");
}

#[test]
fn whatever_is_asked_and_whatever_fails_the_laws_hold() {
    let mut kinds: HashMap<String, u32> = HashMap::new();
    for seed in 0..SEEDS {
        let story = Story::new(seed);
        let mut world = World::new(
            seed,
            &story,
            disturbed(seed.is_multiple_of(3), seed.is_multiple_of(2), !seed.is_multiple_of(5)),
        );
        world.run();
        check_facts(&world.log.intent, seed);
        check_state(&world, seed);
        for fact in &world.log.intent {
            *kinds.entry(fact.event_type.to_string()).or_default() += 1;
        }
    }
    for kind in
        ["AlertOutcomeRecorded", "AlertStatusChanged", "EventUnparked", "ScoringFailed", "AlertRearmed"]
    {
        assert!(kinds.get(kind).is_some_and(|count| *count > 50), "too few of {kind}: {kinds:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in [3, 14, 15] {
        let story = Story::new(seed);
        let run = || {
            let mut world = World::new(seed, &story, disturbed(true, true, true));
            world.run();
            world.trace
        };
        assert_eq!(run(), run());
    }
}
