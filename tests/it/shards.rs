//! Several instances on one log in one process, paused time: together they decide what one decides, whoever has which users,
//! however they overlap, and however their number changes.

use std::sync::Arc;
use std::time::Duration;

use intentd::actors::Daemon;
use intentd::commands::{Commands as _, Error};
use intentd::domain::alert::Status;
use intentd::domain::event::SCORE_REQUESTED;
use intentd::domain::shard::Shard;
use intentd::projection::{AlertQuery, Views as _};
use intentd::store::checkpoint::{Checkpoint, Checkpoints as _, MemoryCheckpoints, NotTaken, earliest};
use intentd::store::memory::MemoryStore;
use intentd::store::{EventStore as _, StoreId};
use tokio::time::sleep;

use crate::support::rules::{CATALOG, Town, hour};
use crate::support::world::{World, user};

const USERS: usize = 24;
const LIKELY: Option<f32> = Some(0.6);

fn shard(index: u32, count: u32) -> Shard {
    Shard { index, count }
}

/// An instance of a shard on a log, with a data directory of its own.
fn instance(store: &MemoryStore, shard: Shard) -> Town {
    Town::on(World { store: store.clone(), shard, ..World::default() }, CATALOG, LIKELY)
}

fn instances(store: &MemoryStore, count: u32) -> Vec<Town> {
    (0..count).map(|index| instance(store, shard(index, count))).collect()
}

/// Everybody does something, in turn: hours from..to of a month. Half of them are not seen again after hour 500: what an
/// instance has missed of them no later event makes good.
fn live(town: &Town, hours: std::ops::Range<i64>) {
    for at in hours {
        let number = usize::try_from(at * 7).unwrap() % USERS;
        if at >= 500 && number >= USERS / 2 {
            continue;
        }
        let kind = if (at / 24 + at) % 3 == 0 { "TICK" } else { "VIEWED" };
        town.event(&user(number), kind, usize::try_from(at).unwrap(), at);
    }
}

/// The facts in the log, whole, but for where and when they were written.
fn facts(store: &MemoryStore) -> Vec<(String, u64, String, String, String)> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let all = store.everything().into_iter().filter(|event| event.stream.starts_with("intent-"));
    let mut facts: Vec<_> = all
        .map(|fact| {
            let kind = format!("{} {}", fact.event_type, fact.id);
            (fact.stream.to_string(), fact.revision, kind, text(&fact.data), text(&fact.metadata))
        })
        .collect();
    facts.sort();
    facts
}

async fn settle(towns: &[Town], daemons: &[Daemon]) {
    for (town, daemon) in towns.iter().zip(daemons) {
        town.settle(daemon).await;
    }
}

async fn started(towns: &[Town]) -> Vec<Daemon> {
    let mut daemons = Vec::new();
    for town in towns {
        daemons.push(town.world.start().await);
    }
    daemons
}

/// What one instance decides of a month, sweeps included.
async fn alone(hours: std::ops::Range<i64>) -> Vec<(String, u64, String, String, String)> {
    let town = Town::new(LIKELY);
    let daemon = town.world.start().await;
    live(&town, hours);
    town.settle(&daemon).await;
    sleep(Duration::from_secs(700)).await;
    daemon.stop().await;
    let facts = facts(&town.world.store);
    for kind in ["SignalDetected", "AlertScored", "AlertStatusChanged"] {
        assert!(facts.iter().filter(|fact| fact.2.starts_with(kind)).count() > USERS, "{kind}");
    }
    facts
}

#[tokio::test(start_paused = true)]
async fn instances_together_decide_what_one_decides_and_each_only_for_its_own_users() {
    let wanted = alone(0..700).await;
    for count in [2, 3] {
        let store = MemoryStore::default();
        let towns = instances(&store, count);
        let daemons = started(&towns).await;
        live(&towns[0], 0..700);
        settle(&towns, &daemons).await;
        for daemon in &daemons {
            let lacking = daemon.not_ready();
            assert!(
                !lacking.iter().any(|lack| lack.component == "shard"),
                "nobody meets anybody: {lacking:?}"
            );
        }
        sleep(Duration::from_secs(700)).await;
        for (town, daemon) in towns.iter().zip(&daemons) {
            let shown = town.views.alerts(&AlertQuery { limit: 500, ..AlertQuery::default() }).unwrap();
            let opened = wanted.iter().filter(|fact| fact.2.starts_with("AlertScored")).count();
            assert_eq!(shown.items.len(), opened, "each instance shows the alerts of all");
            daemon.stop().await;
        }
        assert_eq!(facts(&store), wanted, "{count} instances");
    }
    // One of two alone decides for its own and nobody else.
    let store = MemoryStore::default();
    let town = instance(&store, shard(1, 2));
    let daemon = town.world.start().await;
    live(&town, 0..700);
    town.settle(&daemon).await;
    sleep(Duration::from_secs(700)).await;
    let ours = |stream: &str| shard(1, 2).holds_name(stream.strip_prefix("intent-").unwrap());
    let part: Vec<_> = wanted.iter().filter(|fact| ours(&fact.0)).cloned().collect();
    assert!(!part.is_empty() && part.len() < wanted.len());
    assert_eq!(facts(&store), part);
}

#[tokio::test(start_paused = true)]
async fn a_call_for_many_users_of_an_instance_that_is_down_waits_for_some_of_them_at_a_time() {
    let store = MemoryStore::default();
    let (here, there) = (instance(&store, shard(0, 2)), instance(&store, shard(1, 2)));
    let daemon = here.world.start().await;
    let theirs: Vec<_> = (0..).map(user).filter(|user| shard(1, 2).holds(user)).take(200).collect();
    for (nth, user) in theirs.iter().enumerate() {
        here.event(user, "VIEWED", nth, 0);
    }
    here.settle(&daemon).await;
    let before = store.subscriptions();
    let (asking, users) = (daemon.clone(), theirs.clone());
    let asked = tokio::spawn(async move { asking.score(users, Vec::new()).await });
    let mut most = 0;
    for _ in 0..100 {
        sleep(Duration::from_millis(10)).await;
        most = most.max(store.subscriptions() - before);
    }
    assert!((1..=32).contains(&most), "{most} subscriptions for one call");
    let other = there.world.start().await;
    assert_eq!(asked.await.unwrap().unwrap().len(), 200);
    other.stop().await;
    daemon.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_sweep_is_for_its_own_users_and_others_take_nobodys_turn() {
    let store = MemoryStore::default();
    let mut town = instance(&store, shard(0, 2));
    town.world.options.sweep_max = 1;
    let other = instance(&store, shard(1, 2));
    let (daemon, away) = (town.world.start().await, other.world.start().await);
    let mine = (0..).map(user).find(|user| shard(0, 2).holds(user)).unwrap();
    let theirs = (0..).map(user).find(|user| shard(1, 2).holds(user)).unwrap();
    // Theirs has waited longer, and its instance goes away.
    town.event(&theirs, "VIEWED", 0, 0);
    town.event(&mine, "VIEWED", 1, 1);
    town.settle(&daemon).await;
    other.settle(&away).await;
    away.stop().await;
    town.event(&theirs, "TICK", 2, 60);
    sleep(Duration::from_secs(700)).await;
    assert_eq!(town.facts(&theirs), ["SignalDetected", "AlertScored"], "nobody expires another's alert");
    let expired = ["SignalDetected", "AlertScored", "AlertStatusChanged"];
    assert_eq!(town.facts(&mine), expired, "time passes also where only others do something");
}

#[tokio::test(start_paused = true)]
async fn a_failed_score_is_asked_for_again_by_its_own_instance() {
    let store = MemoryStore::default();
    let town = instance(&store, shard(0, 2));
    *town.says.0.lock().unwrap() = None;
    let theirs = instance(&store, shard(1, 2));
    *theirs.says.0.lock().unwrap() = None;
    let (daemon, away) = (town.world.start().await, theirs.world.start().await);
    for number in 0..8 {
        town.event(&user(number), "VIEWED", number, 0);
    }
    town.settle(&daemon).await;
    theirs.settle(&away).await;
    away.stop().await;
    sleep(Duration::from_secs(100)).await;
    for number in 0..8 {
        let asked = town.count(&user(number), SCORE_REQUESTED) > 0;
        assert_eq!(asked, shard(0, 2).holds(&user(number)), "user {number}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_only_a_users_own_instance_can_do_is_refused_and_the_rest_is_done() {
    let store = MemoryStore::default();
    let towns = instances(&store, 2);
    let daemons = started(&towns).await;
    let theirs = (0..).map(user).find(|user| shard(1, 2).holds(user)).unwrap();
    towns[0].event(&theirs, "VIEWED", 0, 0);
    settle(&towns, &daemons).await;
    let (here, there) = (&daemons[0], &daemons[1]);
    let alert = towns[0].alert().alert.id;
    let ack = || (theirs.clone(), alert, Status::Acknowledged, None, None, "ann".to_owned());
    let (of, id, status, note, until, by) = ack();
    let refused = here.set_status(of, id, status, note, until, by).await;
    assert!(matches!(&refused, Err(Error::Elsewhere { owner }) if *owner == shard(1, 2)), "{refused:?}");
    assert!(matches!(here.unpark(theirs.clone(), 0, "ann".to_owned()).await, Err(Error::Elsewhere { .. })));
    let (of, id, status, note, until, by) = ack();
    there.set_status(of, id, status, note, until, by).await.unwrap();

    let shown = towns[0].describe(here, &theirs).await;
    assert_eq!(shown, towns[1].describe(there, &theirs).await, "the same from the log as from memory");
    assert_eq!(shown.alerts[0].2, Status::Acknowledged);
    let scored = here.score(vec![theirs.clone()], vec!["SELL".to_owned()]).await.unwrap();
    assert_eq!(scored.len(), 1);
    assert_eq!(
        (scored[0].scores[0].model_type.as_str(), scored[0].scores[0].alert_id),
        ("SELL", Some(alert))
    );
    assert_eq!(towns[0].count(&theirs, SCORE_REQUESTED), 1);
    // Its instance is away: it is asked for, and answered when somebody has the user again.
    there.stop().await;
    let waits = here.score(vec![theirs.clone()], Vec::new()).await;
    assert!(matches!(waits, Err(Error::Timeout { .. })), "{waits:?}");
    assert!(here.describe(user(9_999), None).await.unwrap().is_none());
}

/// Two instances with all users, each other's command between: what stands in the end, and what both say of it.
#[tokio::test(start_paused = true)]
async fn an_overlap_is_fenced_and_told_and_loses_and_doubles_nothing() {
    let acknowledged = async |town: &Town, daemon: &Daemon| {
        let query = AlertQuery { status: vec![Status::Pending], ..AlertQuery::default() };
        let alert = town.views.alerts(&query).unwrap().items.remove(0);
        let by = "ann".to_owned();
        let moved = daemon.set_status(alert.user_id, alert.id, Status::Acknowledged, None, None, by).await;
        moved.unwrap();
    };
    let single = Town::new(LIKELY);
    let daemon = single.world.start().await;
    live(&single, 0..40);
    single.settle(&daemon).await;
    acknowledged(&single, &daemon).await;
    live(&single, 40..200);
    single.settle(&daemon).await;
    let wanted = facts(&single.world.store);

    let store = MemoryStore::default();
    let towns = [instance(&store, Shard::WHOLE), instance(&store, Shard::WHOLE)];
    let daemons = started(&towns).await;
    live(&towns[0], 0..40);
    settle(&towns, &daemons).await;
    // The second hears of it when it next writes.
    acknowledged(&towns[0], &daemons[0]).await;
    live(&towns[0], 40..200);
    settle(&towns, &daemons).await;
    let lacking: Vec<_> = daemons.iter().flat_map(|daemon| daemon.not_ready()).collect();
    let told = lacking.iter().any(|lack| lack.component == "shard" && lack.reason.contains("shard 0 of 1"));
    assert!(told, "{lacking:?}");
    sleep(Duration::from_secs(61)).await;
    settle(&towns, &daemons).await;
    assert_eq!(facts(&store), wanted);
    // Once one of them has stopped, nothing is left to tell.
    daemons[1].stop().await;
    sleep(Duration::from_secs(61)).await;
    assert!(!daemons[0].not_ready().iter().any(|lack| lack.component == "shard"));
}

/// A checkpoint as a data directory would keep it.
fn kept(town: &Town) -> Checkpoint {
    town.world.checkpoints.load(town.world.store.id()).unwrap().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_changed_count_goes_on_from_the_earliest_or_from_the_start_and_decides_the_same() {
    let wanted = alone(0..700).await;
    for takes_over in [true, false] {
        let store = MemoryStore::default();
        let towns = instances(&store, 2);
        let daemons = started(&towns).await;
        live(&towns[0], 0..200);
        settle(&towns, &daemons).await;
        daemons[1].stop().await;
        live(&towns[0], 200..500);
        towns[0].settle(&daemons[0]).await;
        daemons[0].stop().await;
        let before = [kept(&towns[0]), kept(&towns[1])];
        assert!(before[1].position < before[0].position, "one is behind");

        let mut after = instances(&store, 3);
        for town in &mut after {
            let checkpoint =
                if takes_over { earliest(&before, town.world.shard).unwrap() } else { before[0] };
            let checkpoints = MemoryCheckpoints::default();
            checkpoints.save(checkpoint).unwrap();
            town.world.checkpoints = Arc::new(checkpoints);
        }
        let begins: Vec<_> = after.iter().map(|town| kept(town).position).collect();
        if takes_over {
            let [ahead, behind] = before.map(|kept| kept.position);
            assert_eq!(
                begins,
                [ahead, behind, behind],
                "only who had none of the slow one's users begins later"
            );
        }
        let daemons = started(&after).await;
        live(&after[0], 500..700);
        settle(&after, &daemons).await;
        sleep(Duration::from_secs(700)).await;
        for daemon in &daemons {
            daemon.stop().await;
        }
        assert_eq!(facts(&store), wanted, "took over: {takes_over}");
    }
}

#[test]
fn a_checkpoint_is_taken_over_only_from_those_that_had_the_users() {
    let store = MemoryStore::default().id();
    let kept = |shard, position| Checkpoint {
        store,
        shard,
        position: intentd::store::Position(position),
        clock: hour(0),
    };
    let two = [kept(shard(0, 2), 5), kept(shard(1, 2), 9)];
    for (shard, position) in [(shard(0, 1), 5), (shard(0, 4), 5), (shard(3, 4), 9), (shard(1, 3), 5)] {
        let taken = earliest(&two, shard).unwrap();
        assert_eq!((taken.shard, taken.position.0), (shard, position));
    }
    let lacks = earliest(&two[..1], shard(1, 3));
    assert_eq!(lacks, Err(NotTaken::Users { shard: shard(1, 3) }));
    let other = Checkpoint { store: StoreId(uuid::Uuid::from_u128(2)), ..two[1] };
    assert!(matches!(earliest(&[two[0], other], Shard::WHOLE), Err(NotTaken::Stores { .. })));
}
