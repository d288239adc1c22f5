//! Who waits for what, and what each group is told. No time and no log here.
//!
//! Law: a group is told everything that passes, in order, or forgotten, which its members hear. Called by `mod`.

use std::sync::Arc;

use bytestring::ByteString;
use hashbrown::HashMap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};

use crate::domain::event::{Position, Recorded};
use crate::wire::filter::{Key, Wanted};
use crate::wire::kept::{own, size};

/// Tellings that a member may leave waiting before it has to read by itself.
const WAITING_MAX: usize = 8;
/// Events and bytes of one telling; one event may be larger.
const TELLING_EVENTS_MAX: usize = 128;
const TELLING_BYTES_MAX: usize = 64 << 10;
/// Different filters at work on every event; who comes with another one reads by itself.
const FILTERS_MAX: usize = 64;
/// So many topics before those without members are looked for.
const TOPICS_SWEPT: usize = 64;

/// What members of a group are told at a time.
#[derive(Clone, Debug)]
pub(in crate::wire) struct Told {
    /// What passes, oldest first; may be empty.
    pub(in crate::wire) events: Arc<[Recorded]>,
    /// How many events were looked at since the telling before.
    pub(in crate::wire) considered: u64,
    /// The place of the last of them.
    pub(in crate::wire) through: Position,
    /// Counts the bytes as held until the last member has taken them.
    _held: Option<Arc<OwnedSemaphorePermit>>,
}

/// A place among those who wait for the same events.
pub(in crate::wire) struct Member {
    /// It hears of what stands after this.
    pub(in crate::wire) from: Option<Position>,
    tellings: broadcast::Receiver<Told>,
}

impl Member {
    /// The next telling; none when it has to read on by itself. Given up, it loses nothing.
    pub(in crate::wire) async fn next(&mut self) -> Option<Told> {
        self.tellings.recv().await.ok()
    }
}

/// Those who wait for the same events.
struct Group {
    tellings: broadcast::Sender<Told>,
    considered: u64,
}

impl Group {
    fn new() -> Self {
        Self { tellings: broadcast::Sender::new(WAITING_MAX), considered: 0 }
    }

    fn is_left(&self) -> bool {
        self.tellings.receiver_count() == 0
    }

    /// Tells what passed; false when too much is held already.
    fn tell(&mut self, passed: Vec<Recorded>, through: Position, held: &Arc<Semaphore>) -> bool {
        let bytes: usize = passed.iter().map(size).sum();
        let held = match passed.is_empty() {
            true => None,
            false => match Arc::clone(held).try_acquire_many_owned(bytes as u32) {
                Ok(held) => Some(Arc::new(held)),
                Err(_) => return false,
            },
        };
        let considered = std::mem::take(&mut self.considered);
        let told = Told { events: passed.into(), considered, through, _held: held };
        // An error means that the last member has gone: the group goes with the next sweep.
        drop(self.tellings.send(told));
        true
    }
}

/// Those who wait for what passes a filter.
struct Filtered {
    wanted: Arc<Wanted>,
    group: Group,
}

#[derive(Default)]
pub(super) struct Topics {
    streams: HashMap<ByteString, Group>,
    filters: HashMap<Key, Filtered>,
    /// The log has been read so far; none inside when it was empty, none outside when nobody reads.
    read: Option<Option<Position>>,
    /// Topics at which those without members are looked for.
    sweep_at: usize,
}

impl Topics {
    pub(super) fn len(&self) -> usize {
        self.streams.len() + self.filters.len()
    }

    /// How far the log has been read; none when nobody reads it.
    pub(super) fn read(&self) -> Option<Option<Position>> {
        self.read
    }

    /// From here on somebody reads the log.
    pub(super) fn begin(&mut self, head: Option<Position>) {
        self.read = Some(head);
    }

    /// A place among those who wait for the same; none when nobody reads the log, or there are too many filters already.
    pub(super) fn join(&mut self, topic: Topic<'_>) -> Option<Member> {
        if self.len() >= self.sweep_at {
            self.sweep();
        }
        let from = self.read?;
        let group = self.group(topic)?;
        Some(Member { from, tellings: group.tellings.subscribe() })
    }

    /// The group of a topic; none when there are too many filters already.
    fn group(&mut self, topic: Topic<'_>) -> Option<&mut Group> {
        match topic {
            Topic::Stream(stream) => Some(self.streams.entry(stream.into()).or_insert_with(Group::new)),
            Topic::Filter(wanted, key) => {
                if self.filters.len() >= FILTERS_MAX && !self.filters.contains_key(key) {
                    return None;
                }
                let new = || Filtered { wanted: Arc::clone(wanted), group: Group::new() };
                Some(&mut self.filters.entry(key.clone()).or_insert_with(new).group)
            }
        }
    }

    /// Forgets topics without members.
    pub(super) fn sweep(&mut self) {
        self.streams.retain(|_, group| !group.is_left());
        self.filters.retain(|_, filtered| !filtered.group.is_left());
        self.sweep_at = TOPICS_SWEPT.max(2 * self.len());
    }

    /// Tells each group what it waits for; answers whether somebody was told something.
    pub(super) fn tell(&mut self, events: &[Recorded], held: &Arc<Semaphore>) -> bool {
        let Some(through) = events.last().map(|last| last.position) else { return false };
        self.read = Some(Some(through));
        let streams = self.tell_streams(events, through, held);
        let filters = self.tell_filters(events, through, held);
        streams || filters
    }

    fn tell_streams(&mut self, events: &[Recorded], through: Position, held: &Arc<Semaphore>) -> bool {
        if self.streams.is_empty() {
            return false;
        }
        let mut passed: HashMap<&ByteString, Vec<Recorded>> = HashMap::new();
        for event in events {
            if self.streams.contains_key(&event.stream) {
                passed.entry(&event.stream).or_default().push(own(event));
            }
        }
        let told = !passed.is_empty();
        for (stream, passed) in passed {
            if let Some(group) = self.streams.get_mut(stream)
                && !group.tell(passed, through, held)
            {
                self.streams.remove(stream);
            }
        }
        told
    }

    fn tell_filters(&mut self, events: &[Recorded], through: Position, held: &Arc<Semaphore>) -> bool {
        let mut told = false;
        self.filters.retain(|_, Filtered { wanted, group }| {
            group.considered += events.len() as u64;
            let mut passed = Vec::new();
            for event in events {
                match wanted.admits(event) {
                    Ok(true) => passed.push(own(event)),
                    Ok(false) => {}
                    // Each hears why when it reads by itself.
                    Err(_) => return false,
                }
            }
            if passed.is_empty() {
                return true;
            }
            told = true;
            group.tell(passed, through, held)
        });
        told
    }

    /// Tells those who wait for a checkpoint how far the log has come.
    pub(super) fn tick(&mut self, held: &Arc<Semaphore>) {
        let Some(Some(through)) = self.read else { return };
        for Filtered { wanted, group } in self.filters.values_mut() {
            if group.considered >= wanted.interval.get() {
                group.tell(Vec::new(), through, held);
            }
        }
    }
}

/// How many of these events are told at once, one at least.
pub(super) fn at_once(events: &[Recorded]) -> usize {
    let mut bytes = 0;
    let fits = |event: &&Recorded| {
        bytes += size(event);
        bytes <= TELLING_BYTES_MAX
    };
    events.iter().take(TELLING_EVENTS_MAX).take_while(fits).count().max(1).min(events.len())
}

/// What somebody waits for.
pub(in crate::wire) enum Topic<'a> {
    /// Events of a stream.
    Stream(&'a str),
    /// Events that pass a filter, by what tells it from others.
    Filter(&'a Arc<Wanted>, &'a Key),
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::sync::broadcast::error::TryRecvError;

    use super::*;
    use crate::domain::id::EventId;
    use crate::domain::time::Timestamp;
    use crate::wire::filter::tests::prefixed;

    fn event(position: u64, stream: &str, bytes: usize) -> Recorded {
        Recorded {
            id: EventId(uuid::Uuid::from_u128(position.into())),
            stream: stream.into(),
            revision: position,
            position: Position(position),
            event_type: "Happened".into(),
            data: vec![b'7'; bytes].into(),
            metadata: Bytes::new(),
            recorded_at: Timestamp::default(),
        }
    }

    struct World {
        topics: Topics,
        held: Arc<Semaphore>,
    }

    impl World {
        fn new(held: usize) -> Self {
            let mut topics = Topics::default();
            topics.begin(Some(Position(10)));
            Self { topics, held: Arc::new(Semaphore::new(held)) }
        }

        fn filtered(&mut self, prefix: &str, interval: u32) -> Option<Member> {
            let wanted = Arc::new(prefixed(&[prefix], interval));
            let key = wanted.key().unwrap();
            self.topics.join(Topic::Filter(&wanted, &key))
        }

        fn tell(&mut self, events: &[Recorded]) -> bool {
            self.topics.tell(events, &self.held)
        }
    }

    /// Positions, how many were considered, and through where.
    fn heard(member: &mut Member) -> Option<(Vec<u64>, u64, u64)> {
        let told = member.tellings.try_recv().ok()?;
        let positions = told.events.iter().map(|event| event.position.0).collect();
        Some((positions, told.considered, told.through.0))
    }

    #[test]
    fn each_hears_what_passes_after_it_came_and_is_not_woken_by_the_rest() {
        let mut world = World::new(1 << 20);
        let mut alerts = world.filtered("intent-", 100).unwrap();
        assert_eq!(alerts.from, Some(Position(10)));
        assert!(!world.tell(&[event(11, "user-1", 10), event(12, "user-2", 10)]));
        assert_eq!(heard(&mut alerts), None);
        let mut later = world.filtered("intent-", 100).unwrap();
        let mut one = world.topics.join(Topic::Stream("intent-2")).unwrap();
        assert_eq!((later.from, one.from), (Some(Position(12)), Some(Position(12))));
        assert_eq!(world.topics.len(), 2, "equal filters share");
        assert!(world.tell(&[event(13, "intent-1", 10), event(14, "user-1", 10), event(15, "intent-2", 10)]));
        assert!(world.tell(&[event(16, "intent-20", 10)]));
        assert_eq!(heard(&mut alerts), Some((vec![13, 15], 5, 15)), "counts what did not pass, too");
        assert_eq!(heard(&mut alerts), Some((vec![16], 1, 16)));
        assert_eq!(heard(&mut later), Some((vec![13, 15], 5, 15)));
        assert_eq!(heard(&mut one), Some((vec![15], 0, 15)));
        assert_eq!(heard(&mut one), None);
    }

    #[test]
    fn the_time_is_told_once_an_interval_is_full() {
        let mut world = World::new(1 << 20);
        let mut member = world.filtered("intent-", 3).unwrap();
        let tick = |world: &mut World| world.topics.tick(&world.held);
        world.tell(&[event(11, "user-1", 10), event(12, "user-1", 10)]);
        tick(&mut world);
        assert_eq!(heard(&mut member), None);
        world.tell(&[event(13, "user-1", 10), event(14, "user-1", 10)]);
        tick(&mut world);
        tick(&mut world);
        assert_eq!(heard(&mut member), Some((vec![], 4, 14)));
        assert_eq!(heard(&mut member), None, "once");
    }

    #[test]
    fn so_much_is_told_at_once_as_has_room() {
        let of = |bytes: &[usize]| {
            let events: Vec<Recorded> = bytes.iter().map(|bytes| event(1, "s", *bytes)).collect();
            at_once(&events)
        };
        assert_eq!((of(&[]), of(&[1]), of(&[1_000_000, 1]), of(&[1, 1_000_000])), (0, 1, 1, 1));
        assert_eq!((of(&[30_000; 5]), of(&[10; 1_000])), (2, TELLING_EVENTS_MAX));
    }

    #[test]
    fn who_holds_too_much_reads_alone() {
        let ended = |member: &mut Member| matches!(member.tellings.try_recv(), Err(TryRecvError::Closed));
        let mut world = World::new(3_000);
        let mut few = world.filtered("intent-", 9).unwrap();
        world.tell(&[event(11, "user-1", 10), event(12, "intent-1", 10)]);
        assert_eq!(heard(&mut few), Some((vec![12], 2, 12)));
        assert_eq!(world.held.available_permits(), 3_000, "what was taken is not held");
        let mut idle = world.topics.join(Topic::Stream("user-2")).unwrap();
        let mut lazy = world.filtered("intent-", 9).unwrap();
        let mut count = 12;
        while world.topics.len() == 2 {
            count += 1;
            world.tell(&[event(count, "intent-1", 1_000)]);
        }
        assert_eq!(count, 15, "the third would hold more than may be held");
        assert_eq!((heard(&mut lazy), heard(&mut lazy)), (Some((vec![13], 1, 13)), Some((vec![14], 1, 14))));
        assert!(ended(&mut lazy) && !ended(&mut idle));
        drop((few, lazy));
        assert_eq!(world.held.available_permits(), 3_000);
        let mut again = world.filtered("intent-", 9).unwrap();
        assert_eq!(again.from, Some(Position(15)));
        for position in 16..16 + WAITING_MAX as u64 + 1 {
            world.tell(&[event(position, "intent-1", 10)]);
        }
        assert!(matches!(again.tellings.try_recv(), Err(TryRecvError::Lagged(_))), "took none of them");
    }

    #[test]
    fn topics_without_members_are_forgotten_and_filters_are_few() {
        let mut world = World::new(1 << 20);
        for number in 0..10_000 {
            drop(world.topics.join(Topic::Stream(&format!("user-{number}"))).unwrap());
        }
        assert!(world.topics.len() <= TOPICS_SWEPT, "{}", world.topics.len());
        let members: Vec<Member> =
            (0..FILTERS_MAX).filter_map(|number| world.filtered(&format!("p{number}-"), 9)).collect();
        assert_eq!(members.len(), FILTERS_MAX);
        assert!(world.filtered("another-", 9).is_none());
        assert!(world.filtered("p1-", 9).is_some());
        assert!(world.topics.join(Topic::Stream("s")).is_some());
        drop(members);
        world.topics.sweep();
        assert!(world.filtered("another-", 9).is_some());
    }
}
