//! Reads with an end.

use bytes::Bytes;
use intentd::store::{Direction, Filter};
use intentd::wire::proto::event_store::client::Empty;
use intentd::wire::proto::event_store::client::streams::read_req::filter_options::{self, Expression};
use intentd::wire::proto::event_store::client::streams::read_req::{
    ControlOption, FilterOptions, Options, Position,
};
use intentd::wire::proto::event_store::client::streams::read_resp::Content;
use tonic::Code;

use super::{
    AllOptions, CountOption, FilterOption, ReadDirection, StreamOption, StreamOptions, UuidOption, World,
    all_options, any, append_requests, followed, id, ids, of_all, of_stream, proposed, stream,
    stream_options, uuid_option, world,
};

/// A read of a stream that begins somewhere.
fn from(name: &str, from: stream_options::RevisionOption, direction: ReadDirection, count: u64) -> Options {
    let options = StreamOptions { stream_identifier: stream(name), revision_option: Some(from) };
    Options {
        stream_option: Some(StreamOption::Stream(options)),
        read_direction: direction.into(),
        count_option: Some(CountOption::Count(count)),
        ..of_all()
    }
}

fn from_all(from: all_options::AllOption, direction: ReadDirection, count: u64) -> Options {
    Options {
        stream_option: Some(StreamOption::All(AllOptions { all_option: Some(from) })),
        read_direction: direction.into(),
        count_option: Some(CountOption::Count(count)),
        ..of_all()
    }
}

pub fn filtered(by_stream: bool, prefixes: &[&str], regex: &str, window: u32, options: Options) -> Options {
    let expression = Expression {
        regex: regex.to_owned(),
        prefix: prefixes.iter().map(|&prefix| prefix.to_owned()).collect(),
    };
    let filter = if by_stream {
        filter_options::Filter::StreamIdentifier(expression)
    } else {
        filter_options::Filter::EventType(expression)
    };
    let filter = FilterOptions {
        filter: Some(filter),
        window: Some(filter_options::Window::Max(window)),
        checkpoint_interval_multiplier: 1,
    };
    Options { filter_option: Some(FilterOption::Filter(filter)), ..options }
}

#[tokio::test]
async fn a_stream_is_read_both_ways_from_anywhere() {
    use ReadDirection::{Backwards, Forwards};
    use stream_options::RevisionOption::{End, Revision, Start};
    let mut world = world().await;
    world.put("s", 0..100).await;
    world.put("other", 500..600).await;
    for (at, direction, count, wanted) in [
        (Start(Empty {}), Forwards, u64::MAX, (0..100).collect::<Vec<u128>>()),
        (Start(Empty {}), Forwards, 3, vec![0, 1, 2]),
        (Revision(97), Forwards, 9, vec![97, 98, 99]),
        (Revision(100), Forwards, 9, vec![]),
        (End(Empty {}), Forwards, 9, vec![]),
        (End(Empty {}), Backwards, u64::MAX, (0..100).rev().collect()),
        (Revision(u64::MAX), Backwards, 2, vec![99, 98]),
        (Revision(5), Backwards, 2, vec![5, 4]),
        (Start(Empty {}), Backwards, 9, vec![0]),
        (Start(Empty {}), Forwards, 0, vec![]),
    ] {
        let told = world.read(from("s", at, direction, count)).await.unwrap();
        assert_eq!(ids(&told), wanted, "{at:?} {direction:?} {count}");
    }
    let told = world.read(of_stream("none")).await.unwrap();
    let [Content::StreamNotFound(missing)] = &told[..] else { panic!("{told:?}") };
    assert_eq!(missing.stream_identifier, stream("none"));
}

#[tokio::test]
async fn all_is_read_both_ways_and_filtered() {
    use ReadDirection::{Backwards, Forwards};
    use all_options::AllOption::{End, Position as At, Start};
    let mut world = world().await;
    for number in 0..50 {
        world.put("a-1", [number]).await;
        world.put("b-1", [100 + number]).await;
    }
    let all =
        world.store.read_all(None, Direction::Forwards, &Filter::default(), 1_000).await.unwrap().events;
    let at = |nth: usize| At(Position { commit_position: all[nth].position.0, prepare_position: 0 });
    let end = || At(Position { commit_position: u64::MAX, prepare_position: u64::MAX });
    let every: Vec<u128> = (0..50).flat_map(|number| [number, 100 + number]).collect();
    for (from, direction, count, wanted) in [
        (Start(Empty {}), Forwards, u64::MAX, every.clone()),
        (at(3), Forwards, 2, vec![101, 2]),
        (at(3), Backwards, 2, vec![1, 100]),
        (End(Empty {}), Backwards, 3, vec![149, 49, 148]),
        (end(), Backwards, 1, vec![149]),
        (end(), Forwards, 9, vec![]),
        (End(Empty {}), Forwards, 9, vec![]),
        (Start(Empty {}), Backwards, 9, vec![]),
    ] {
        let told = world.read(from_all(from, direction, count)).await.unwrap();
        assert_eq!(ids(&told), wanted, "{from:?} {direction:?} {count}");
    }
    for (by_stream, prefixes, regex, wanted) in [
        (true, &["b-"][..], "", vec![149, 148]),
        (true, &[][..], "^a", vec![49, 48]),
        (false, &["Happ"][..], "", vec![149, 49]),
        (false, &[][..], r"^(?!Happened)", vec![]),
    ] {
        let options = from_all(End(Empty {}), Backwards, 2);
        let told = world.read(filtered(by_stream, prefixes, regex, 32, options)).await.unwrap();
        assert_eq!(ids(&told), wanted, "{prefixes:?} {regex}");
    }
}

#[tokio::test]
async fn metadata_hide_what_they_say_from_the_stream_and_not_from_all() {
    use stream_options::RevisionOption::{End, Start};
    let mut world = world().await;
    world.put("s", 0..10).await;
    for (json, wanted) in [
        (r#"{"$maxCount":3}"#, vec![7, 8, 9]),
        (r#"{"$tb":8}"#, vec![8, 9]),
        (r#"{"$maxCount":5,"$tb":2}"#, vec![5, 6, 7, 8, 9]),
        // The store in memory counts its events for a clock: all of them are old.
        (r#"{"$maxAge":1}"#, vec![]),
        (r#"{"$tb":10}"#, vec![]),
        ("{}", (0..10).collect::<Vec<u128>>()),
    ] {
        world.describe("s", json).await;
        assert_eq!(world.ids("s").await, wanted, "{json}");
        let back = from("s", End(Empty {}), ReadDirection::Backwards, u64::MAX);
        let back = ids(&world.read(back).await.unwrap());
        assert_eq!(back, wanted.into_iter().rev().collect::<Vec<_>>(), "{json}");
    }
    world.describe("s", r#"{"$maxCount":3}"#).await;
    let compatible =
        |options| Options { control_option: Some(ControlOption { compatibility: 1 }), ..options };
    let told = world.read(compatible(from("s", Start(Empty {}), ReadDirection::Forwards, 50))).await.unwrap();
    assert_eq!(told.first(), Some(&Content::FirstStreamPosition(7)));
    assert_eq!(told.last(), Some(&Content::LastStreamPosition(9)));
    assert!(world.read(of_all()).await.unwrap().len() > 10);
}

#[tokio::test]
async fn links_lead_to_their_events_when_asked() {
    let mut world = world().await;
    world.put("s", [1, 2]).await;
    let link = |number, to: &'static str| {
        let mut link = proposed(number);
        link.metadata.insert("type".to_owned(), "$>".to_owned());
        link.data = Bytes::from_static(to.as_bytes());
        link
    };
    let links = [link(10, "1@s"), link(11, "7@s"), link(12, "nonsense")];
    world.client.append(tokio_stream::iter(append_requests("l", any(), links))).await.unwrap();
    assert_eq!(world.ids("l").await, [10, 11, 12]);
    let told = world.read(Options { resolve_links: true, ..of_stream("l") }).await.unwrap();
    let pairs: Vec<_> = told
        .iter()
        .map(|message| {
            let Content::Event(event) = message else { panic!("{message:?}") };
            let id =
                |event: &Option<_>| event.as_ref().map(|event: &super::Recorded| event.id.clone().unwrap());
            (id(&event.event), id(&event.link))
        })
        .collect();
    assert_eq!(pairs, [(id(2), id(10)), (None, id(11)), (id(12), None)]);
}

#[tokio::test]
async fn ids_come_in_halves_when_asked() {
    let mut world = world().await;
    world.put("s", [(7 << 64) | 9]).await;
    let halves = UuidOption { content: Some(uuid_option::Content::Structured(Empty {})) };
    let told = world.read(Options { uuid_option: Some(halves), ..of_stream("s") }).await.unwrap();
    let [Content::Event(event)] = &told[..] else { panic!("{told:?}") };
    let Some(super::uuid::Value::Structured(id)) = event.event.clone().unwrap().id.unwrap().value else {
        panic!()
    };
    assert_eq!((id.most_significant_bits, id.least_significant_bits), (7, 9));
}

async fn refused(world: &mut World, options: Options) -> (Code, String) {
    let status = world.call(options).await.unwrap_err();
    (status.code(), status.message().to_owned())
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_by_the_call_itself() {
    let mut world = world().await;
    world.put("s", [1]).await;
    let backwards = Options { read_direction: ReadDirection::Backwards.into(), ..of_stream("s") };
    for options in [
        Options { filter_option: None, ..of_all() },
        Options { uuid_option: None, ..of_all() },
        Options { count_option: None, ..of_all() },
        Options { stream_option: None, ..of_all() },
        Options { read_direction: 7, ..of_all() },
        followed(backwards),
        filtered(true, &["a"], "", 32, of_stream("s")),
        filtered(true, &["a"], "", 0, followed(of_all())),
        filtered(true, &[], "(", 32, of_all()),
        of_stream(""),
        Options { stream_option: Some(StreamOption::All(AllOptions { all_option: None })), ..of_all() },
    ] {
        assert_eq!(refused(&mut world, options.clone()).await.0, Code::InvalidArgument, "{options:?}");
    }
    assert_eq!(world.ids("s").await, [1]);
    for (commit_position, prepare_position) in [(3, 4), (1 << 63, 0), (u64::MAX - 1, u64::MAX - 1)] {
        let at = all_options::AllOption::Position(Position { commit_position, prepare_position });
        let read = from_all(at, ReadDirection::Forwards, 1);
        let wanted = (Code::InvalidArgument, "Trying to read from an invalid position.".to_owned());
        assert_eq!(refused(&mut world, read.clone()).await, wanted);
        assert_eq!(refused(&mut world, followed(read)).await, wanted);
    }
}
