//! The machine against its laws: by example, then over seeded schedules of consumers that come, go, fail and forget.

use std::collections::{BTreeMap, BTreeSet};

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::*;

const LIMITS: Limits = Limits {
    strategy: Strategy::RoundRobin,
    retries_max: 1,
    timeout: Some(Duration::from_secs(30)),
    consumers_max: 2,
    buffer_max: 100,
    checkpoint_min: 1,
    checkpoint_max: 3,
    checkpoint_after: Duration::from_secs(2),
};

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn id(place: Place) -> Uuid {
    Uuid::from_u128(place.into())
}

fn new(place: Place) -> New<Place> {
    New { place, id: id(place), pin: place % 4, bytes: 1, event: place }
}

fn machine(strategy: Strategy, consumers: &[(ConsumerId, usize)], events: Place) -> Machine<Place> {
    let mut machine = Machine::new(Limits { strategy, ..LIMITS }, None, at(0));
    for (id, slots) in consumers {
        assert!(machine.joined(*id, *slots, at(0)));
    }
    if let Some(last) = events.checked_sub(1) {
        machine.read((0..events).map(new), 0, last, at(0));
    }
    machine
}

fn delivered(effects: &[Effect<Place>]) -> Vec<(ConsumerId, Place, u32)> {
    let told = effects.iter().filter_map(|effect| match effect {
        Effect::Deliver(consumer, item) => Some((*consumer, item.event, item.retries)),
        Effect::Park(..) | Effect::Checkpoint(_) | Effect::Unpark(_) | Effect::Disconnect(_) => None,
    });
    told.collect()
}

#[test]
fn each_strategy_shares_as_it_says_and_within_the_slots() {
    for (strategy, wanted) in [
        (Strategy::RoundRobin, vec![(7, 0, 0), (8, 1, 0), (7, 2, 0), (8, 3, 0)]),
        (Strategy::DispatchToSingle, vec![(7, 0, 0), (7, 1, 0), (8, 2, 0), (8, 3, 0)]),
    ] {
        let mut machine = machine(strategy, &[(7, 2), (8, 2)], 10);
        assert_eq!(delivered(&machine.effects()), wanted, "{strategy:?}");
        machine.ack(8, &[id(wanted[3].1)], at(1));
        assert_eq!(delivered(&machine.effects()), [(8, 4, 0)], "{strategy:?}");
    }
}

#[test]
fn what_is_pinned_alike_goes_to_one_and_does_not_hold_up_others() {
    let homes = |machine: &mut Machine<Place>| {
        let mut homes: BTreeMap<u64, BTreeSet<ConsumerId>> = BTreeMap::new();
        for (consumer, place, _) in delivered(&machine.effects()) {
            homes.entry(place % 4).or_default().insert(consumer);
        }
        homes
    };
    let before = homes(&mut machine(Strategy::Pinned, &[(1, 50), (2, 50)], 40));
    assert!(before.values().all(|home| home.len() == 1), "{before:?}");
    let used: BTreeSet<_> = before.values().flatten().collect();
    assert_eq!(used.len(), 2, "four pins reach both of these two");
    // One slot each: the first consumer keeps its event, and events of the other's pins pass by its own that wait.
    let mut machine = machine(Strategy::Pinned, &[(1, 1), (2, 1)], 40);
    let first = delivered(&machine.effects());
    assert_eq!(first.len(), 2);
    let (consumer, place, _) = first[1];
    machine.ack(consumer, &[id(place)], at(1));
    let next = delivered(&machine.effects());
    assert_eq!((next.len(), next[0].0), (1, consumer));
}

#[test]
fn a_consumer_that_is_full_costs_the_others_nothing() {
    let mut machine = Machine::new(
        Limits { strategy: Strategy::Pinned, buffer_max: 10_000, timeout: None, ..LIMITS },
        None,
        at(0),
    );
    assert!(machine.joined(1, 1, at(0)) && machine.joined(2, 1, at(0)));
    // Pins that are drawn to one each.
    let pin_of = |machine: &Machine<Place>, wanted| (0..100).find(|pin| machine.home(*pin) == Some(wanted));
    let (stuck, quick) = (pin_of(&machine, 0).unwrap(), pin_of(&machine, 1).unwrap());
    machine.read((0..9_000).map(|place| New { pin: stuck, ..new(place) }), 0, 8_999, at(0));
    machine.read((9_000..9_500).map(|place| New { pin: quick, ..new(place) }), 0, 9_499, at(0));
    assert_eq!(delivered(&machine.effects()), [(1, 0, 0), (2, 9_000, 0)]);
    for place in 9_000..9_499 {
        machine.tick(at(1));
        machine.ack(2, &[id(place)], at(1));
        assert_eq!(delivered(&machine.effects()), [(2, place + 1, 0)]);
    }
    machine.ack(1, &[id(0)], at(1));
    assert_eq!(delivered(&machine.effects()), [(1, 1, 0)]);
    assert_eq!(machine.looked_at, machine.given, "each once, when it was given");
    assert_eq!(machine.figures().buffered, 8_998);
    // What one leaves behind goes to the other, oldest first.
    machine.left(1, at(1));
    machine.ack(2, &[id(9_499)], at(1));
    assert_eq!(delivered(&machine.effects()), [(2, 1, 0)]);
}

#[test]
fn what_is_not_acknowledged_comes_again_and_is_then_parked() {
    let mut machine = machine(Strategy::RoundRobin, &[(7, 1)], 1);
    machine.effects();
    machine.tick(at(29));
    assert_eq!(machine.effects(), []);
    machine.tick(at(30));
    assert_eq!(delivered(&machine.effects()), [(7, 0, 1)]);
    machine.nack(7, &[id(0)], Nack::Retry, "no", at(31));
    let effects = machine.effects();
    assert!(
        matches!(&effects[..], [Effect::Park(parked, reason), Effect::Checkpoint(0)]
            if parked.event == 0 && reason == "no"),
        "parked before the checkpoint passes it: {effects:?}"
    );
}

#[test]
fn the_checkpoint_never_passes_what_is_not_settled() {
    let mut machine = machine(Strategy::RoundRobin, &[(7, 10)], 6);
    machine.effects();
    machine.ack(7, &[1, 2, 3, 4].map(id), at(1));
    assert_eq!(machine.effects(), [], "0 is not settled");
    machine.nack(7, &[id(0)], Nack::Skip, "", at(1));
    assert_eq!(machine.effects(), [Effect::Checkpoint(4)]);
    machine.ack(7, &[id(5), Uuid::nil()], at(2));
    assert_eq!((machine.effects(), machine.last_checkpoint()), (vec![], Some(5)));
    machine.tick(at(3));
    assert_eq!((machine.effects(), machine.last_checkpoint()), (vec![Effect::Checkpoint(5)], None));
    machine.read([], 5, 60, at(6));
    assert_eq!(machine.effects(), [Effect::Checkpoint(60)], "what does not pass the filter counts as well");
    assert_eq!(machine.room(), 100);
}

#[test]
fn what_a_consumer_leaves_behind_goes_to_the_next_in_order() {
    let mut machine = machine(Strategy::DispatchToSingle, &[(7, 3), (8, 1)], 5);
    assert_eq!(delivered(&machine.effects()), [(7, 0, 0), (7, 1, 0), (7, 2, 0), (8, 3, 0)]);
    assert!(!machine.joined(9, 1, at(1)), "two are the most");
    machine.left(7, at(1));
    assert!(machine.joined(9, 9, at(1)));
    assert_eq!(delivered(&machine.effects()), [(9, 0, 0), (9, 1, 0), (9, 2, 0), (9, 4, 0)]);
    machine.nack(9, &[id(1)], Nack::Stop, "", at(1));
    assert_eq!(machine.effects(), [Effect::Disconnect(9)]);
    machine.ack(8, &[id(3)], at(1));
    assert_eq!(delivered(&machine.effects()), [(8, 0, 0)], "from the front again");
    machine.left(8, at(1));
    assert_eq!(machine.room(), 0, "nothing is read for nobody");
}

#[test]
fn parked_events_that_come_back_leave_the_parked_when_they_are_settled() {
    let mut machine = machine(Strategy::DispatchToSingle, &[(7, 10)], 0);
    machine.effects();
    machine.returned([3, 4, 5].map(|place| New { id: id(100 + place), ..new(place) }), 6, at(1));
    assert_eq!(machine.effects().len(), 3);
    machine.ack(7, &[id(104), id(105)], at(1));
    assert_eq!(machine.effects(), []);
    machine.nack(7, &[id(103)], Nack::Park, "still", at(1));
    let effects = machine.effects();
    assert!(matches!(&effects[..], [Effect::Park(..), Effect::Unpark(6)]), "{effects:?}");
    assert_eq!(machine.last_checkpoint(), None, "they say nothing about the log");
}

#[test]
fn two_events_of_one_id_are_not_in_one_hand() {
    let mut machine = machine(Strategy::DispatchToSingle, &[(7, 10)], 0);
    machine.read([0, 1].map(|place| New { id: id(9), ..new(place) }), 0, 1, at(0));
    assert_eq!(delivered(&machine.effects()), [(7, 0, 0)]);
    machine.ack(7, &[id(9)], at(0));
    assert_eq!(delivered(&machine.effects()), [(7, 1, 0)]);
}

/// What an outside observer knows of a run.
#[derive(Default)]
struct Seen {
    held: BTreeMap<ConsumerId, BTreeSet<Place>>,
    slots: BTreeMap<ConsumerId, usize>,
    settled: BTreeSet<Place>,
    parked: BTreeSet<Place>,
    checkpoint: Option<Place>,
}

impl Seen {
    fn observe(&mut self, effects: Vec<Effect<Place>>) {
        for effect in effects {
            match effect {
                Effect::Deliver(to, item) => {
                    assert!(self.held.values().all(|held| !held.contains(&item.event)), "in two hands");
                    assert!(!self.settled.contains(&item.event), "{} was settled", item.event);
                    let held = self.held.get_mut(&to).unwrap();
                    held.insert(item.event);
                    assert!(held.len() <= self.slots[&to]);
                }
                Effect::Park(item, _) => {
                    self.held.values_mut().for_each(|held| {
                        held.remove(&item.event);
                    });
                    self.settled.insert(item.event);
                    self.parked.insert(item.event);
                }
                Effect::Checkpoint(place) => {
                    assert!(Some(place) > self.checkpoint);
                    assert!((0..=place).all(|place| self.settled.contains(&place)), "passed what is open");
                    self.checkpoint = Some(place);
                }
                Effect::Disconnect(consumer) => drop(self.held.remove(&consumer)),
                Effect::Unpark(_) => panic!("none came back"),
            }
        }
    }
}

fn run(seed: u64, strategy: Strategy) {
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    let limits = Limits { strategy, buffer_max: 20, consumers_max: 0, retries_max: 2, ..LIMITS };
    let (mut machine, mut seen, mut now) = (Machine::new(limits, None, at(0)), Seen::default(), at(0));
    let (mut read, mut next) = (0, 0);
    for _ in 0..400 {
        now += Duration::from_millis(dice.random_range(0..4_000));
        let consumers: Vec<_> = seen.held.keys().copied().collect();
        let one = (!consumers.is_empty()).then(|| consumers[dice.random_range(0..consumers.len())]);
        match (dice.random_range(0..10), one) {
            (0, _) | (_, None) => {
                next += 1;
                let slots = dice.random_range(1..6);
                seen.held.insert(next, BTreeSet::new());
                seen.slots.insert(next, slots);
                machine.joined(next, slots, now);
            }
            (1, Some(one)) => {
                seen.held.remove(&one);
                machine.left(one, now);
            }
            (2..5, _) => {
                let end = read + dice.random_range(0..=machine.room() as u64);
                if let Some(last) = end.checked_sub(1) {
                    machine.read((read..end).map(new), 0, last, now);
                }
                read = end;
            }
            (5, _) => {
                // Whoever held it too long may have lost it: what is where is seen in what follows.
                let before: Vec<_> = machine.figures().consumers;
                machine.tick(now);
                for (consumer, ..) in before {
                    let holds = &machine.consumers.iter().find(|known| known.id == consumer).unwrap().held;
                    let mut fresh = BTreeSet::new();
                    for effect in &machine.effects {
                        if let Effect::Deliver(to, item) = effect {
                            fresh.extend((*to == consumer).then_some(item.event));
                        }
                    }
                    let held = seen.held.get_mut(&consumer).unwrap();
                    held.retain(|place| holds.contains_key(&id(*place)) && !fresh.contains(place));
                }
            }
            (choice, Some(one)) => {
                let held: Vec<_> = seen.held[&one].iter().copied().collect();
                let some: Vec<_> = held.into_iter().filter(|_| dice.random()).collect();
                let ids: Vec<_> = some.iter().map(|place| id(*place)).collect();
                seen.held.get_mut(&one).unwrap().retain(|place| !some.contains(place));
                match choice {
                    6 => machine.nack(one, &ids, Nack::Retry, "", now),
                    7 => machine.nack(one, &ids, Nack::Park, "", now),
                    _ => {
                        seen.settled.extend(&some);
                        machine.ack(one, &ids, now);
                    }
                }
            }
        }
        seen.observe(machine.effects());
    }
    settle_all(machine, seen, read, now);
}

/// Whatever happened before: when one consumer acknowledges all, everything read is settled once.
fn settle_all(mut machine: Machine<Place>, mut seen: Seen, read: Place, now: Duration) {
    while let Some((consumer, _)) = seen.held.pop_first() {
        machine.left(consumer, now);
        seen.observe(machine.effects());
    }
    seen.held.insert(9_999, BTreeSet::new());
    seen.slots.insert(9_999, 7);
    machine.joined(9_999, 7, now);
    loop {
        seen.observe(machine.effects());
        let held: Vec<_> = std::mem::take(seen.held.get_mut(&9_999).unwrap()).into_iter().collect();
        if held.is_empty() {
            break;
        }
        seen.settled.extend(&held);
        machine.ack(9_999, &held.iter().map(|place| id(*place)).collect::<Vec<_>>(), now);
    }
    assert_eq!(seen.settled, (0..read).collect());
    assert_eq!(machine.last_checkpoint().or(seen.checkpoint), read.checked_sub(1));
    assert_eq!((machine.bytes, machine.track.unsettled()), (0, 0));
}

#[test]
fn whatever_consumers_do_nothing_is_lost_and_nothing_is_passed() {
    for seed in 0..200 {
        for strategy in [Strategy::RoundRobin, Strategy::DispatchToSingle, Strategy::Pinned] {
            run(seed, strategy);
        }
    }
}
