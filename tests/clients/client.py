"""The official Python client against our server: append, read, subscribe, fail, delete. Usage: client.py URI

READER in the environment is the URI of a user who may only read.
"""

import json
import os
import sys
import time
import uuid

from kurrentdbclient import KurrentDBClient, NewEvent, StreamState
from kurrentdbclient.events import CaughtUp, Checkpoint
from kurrentdbclient.exceptions import (
    AccessDeniedError,
    AlreadyExistsError,
    FailedPreconditionError,
    MaximumSubscriptionsReachedError,
    NotFoundError,
    StreamIsDeletedError,
    WrongCurrentVersionError,
)

uri = sys.argv[1]
run = uuid.uuid4().hex[:8]
client = KurrentDBClient(uri)


def new(kind, number, **more):
    return NewEvent(type=kind, data=json.dumps({"n": number}).encode(), **more)


def raises(error, call):
    try:
        call()
    except error:
        return
    raise AssertionError(f"{error.__name__} was not raised")


def appends_and_reads():
    stream = f"py-{run}-a"
    events = [new("Opened", n, metadata=b'{"m":1}') for n in range(100)]
    at = client.append_to_stream(stream, events=events, current_version=StreamState.NO_STREAM)
    assert client.append_to_stream(stream, events=events, current_version=StreamState.NO_STREAM) == at
    octets = NewEvent(type="Raw", data=b"\xff\x00", content_type="application/octet-stream", metadata=b"\x00")
    client.append_to_stream(stream, events=octets, current_version=99)
    read = client.get_stream(stream)
    assert [event.id for event in read] == [event.id for event in events] + [octets.id]
    assert read[0].metadata == b'{"m":1}' and read[0].content_type == "application/json"
    assert (read[100].data, read[100].content_type, read[100].metadata) == (b"\xff\x00", octets.content_type, b"\x00")
    assert [event.stream_position for event in client.get_stream(stream, backwards=True, limit=3)] == [100, 99, 98]
    assert [event.stream_position for event in client.get_stream(stream, stream_position=98)] == [98, 99, 100]
    assert client.get_current_version(stream) == 100
    assert client.get_commit_position() >= read[100].commit_position
    kinds = client.read_all(filter_include=["Raw"], backwards=True, limit=1)
    assert [event.id for event in kinds] == [octets.id]
    prefixed = client.read_all(filter_include=[f"py-{run}"], filter_by_stream_name=True, filter_by_prefix=True)
    assert len(list(prefixed)) == 101


def fails_on_wrong_versions():
    stream = f"py-{run}-b"
    client.append_to_stream(stream, events=[new("Opened", 1)], current_version=StreamState.NO_STREAM)
    for version in (StreamState.NO_STREAM, 7):
        for events in (new("Opened", 2), [new("Opened", 2), new("Opened", 3)]):
            raises(
                WrongCurrentVersionError,
                lambda: client.append_to_stream(stream, events=events, current_version=version),
            )
    raises(NotFoundError, lambda: client.get_stream(f"py-{run}-none"))
    raises(
        NotFoundError,
        lambda: client.delete_stream(f"py-{run}-none", current_version=StreamState.EXISTS),
    )
    raises(WrongCurrentVersionError, lambda: client.delete_stream(stream, current_version=5))
    raises(
        AccessDeniedError,
        lambda: client.append_to_stream("$tombstones", events=new("X", 1), current_version=StreamState.ANY),
    )


def subscribes():
    stream = f"py-{run}-c"
    before = client.get_commit_position(filter_exclude=())
    for number in range(40):
        client.append_to_stream(stream, events=new("Odd" if number % 2 else "Even", number), current_version=StreamState.ANY)
    with client.subscribe_to_all(
        commit_position=before,
        filter_include=["Even"],
        include_checkpoints=True,
        include_caught_up=True,
        window_size=10,
        checkpoint_interval_multiplier=1,
    ) as told:
        seen, marks, last = [], 0, before
        for event in told:
            assert isinstance(event, CaughtUp) or event.commit_position >= last, "positions never go back"
            if isinstance(event, CaughtUp):
                break
            last = event.commit_position
            if isinstance(event, Checkpoint):
                marks += 1
            else:
                seen.append(json.loads(event.data)["n"])
        assert seen == list(range(0, 40, 2)) and marks == 4, (seen, marks)
        client.append_to_stream(stream, events=new("Even", 40), current_version=StreamState.ANY)
        assert json.loads(next(told).data)["n"] == 40
    # Another one goes on after the last position, and a stream is followed the same way.
    with client.subscribe_to_all(commit_position=last, filter_include=["Even"]) as told:
        assert json.loads(next(told).data)["n"] == 40
    with client.subscribe_to_stream(stream, stream_position=38) as told:
        assert [json.loads(next(told).data)["n"] for _ in range(2)] == [39, 40]


def deletes():
    stream = f"py-{run}-d"
    client.append_to_stream(stream, events=[new("Opened", n) for n in range(5)], current_version=StreamState.NO_STREAM)
    client.set_stream_metadata(stream, metadata={"$maxCount": 2, "mine": "kept"})
    assert [event.stream_position for event in client.get_stream(stream)] == [3, 4]
    client.delete_stream(stream, current_version=4)
    raises(NotFoundError, lambda: client.get_stream(stream))
    client.append_to_stream(stream, events=new("Again", 5), current_version=StreamState.NO_STREAM)
    assert [event.stream_position for event in client.get_stream(stream)] == [5]
    assert client.get_stream_metadata(stream)[0]["mine"] == "kept"
    client.tombstone_stream(stream, current_version=5)
    raises(StreamIsDeletedError, lambda: client.get_stream(stream))
    # One event goes another way than several, and this client has a name for the error of that only.
    raises(
        FailedPreconditionError,
        lambda: client.append_to_stream(stream, events=new("Never", 6), current_version=StreamState.ANY),
    )
    raises(
        StreamIsDeletedError,
        lambda: client.append_to_stream(stream, events=[new("Never", 6)], current_version=StreamState.ANY),
    )


def take(group, stream, count, then):
    """Takes so many events as a consumer; answers their numbers and how often each had come before."""
    taken = []
    with client.read_subscription_to_stream(group, stream) as told:
        for event in told:
            number = json.loads(event.data)["n"]
            taken.append((number, event.retry_count))
            then(told, event, number)
            if len(taken) == count:
                break
    return taken


def until(holds):
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def consumes_in_groups():
    stream, group = f"py-{run}-e", f"group-{run}"
    client.append_to_stream(stream, events=[new("Job", n) for n in range(30)], current_version=StreamState.NO_STREAM)
    raises(NotFoundError, lambda: client.read_subscription_to_stream(group, stream))
    client.create_subscription_to_stream(
        group, stream, from_end=False, consumer_strategy="RoundRobin", max_retry_count=1, max_subscriber_count=1,
        min_checkpoint_count=1, max_checkpoint_count=5,
    )
    raises(AlreadyExistsError, lambda: client.create_subscription_to_stream(group, stream, from_end=False))

    def then(told, event, number):
        if number == 3:
            told.nack(event, "park")
        elif number == 5:
            told.nack(event, "retry")
        elif number == 7:
            told.nack(event, "skip")
        else:
            told.ack(event)

    taken = take(group, stream, 12, then)
    assert sorted({number for number, _ in taken}) == list(range(12 - sum(count for _, count in taken))), taken
    known = lambda: client.get_subscription_info(group, stream)
    until(lambda: known().parked_message_count >= 1 and int(known().last_checkpointed_event_position or 0) >= 4)
    with client.read_subscription_to_stream(group, stream):
        raises(MaximumSubscriptionsReachedError, lambda: next(client.read_subscription_to_stream(group, stream)))
    # Whatever was not acknowledged comes to the next one, 5 among it until it was tried twice; then 3 comes back.
    seen = {number for number, _ in take(group, stream, 18, lambda told, event, number: told.ack(event))}
    assert 3 not in seen and 29 in seen | {number for number, _ in taken} or len(seen) == 18, seen
    client.replay_parked_events(group, stream)
    back = []
    with client.read_subscription_to_stream(group, stream) as told:
        for event in told:
            back.append(json.loads(event.data)["n"])
            told.ack(event)
            if 3 in back:
                break
    until(lambda: known().parked_message_count == 0)
    client.update_subscription_to_stream(group, stream, max_retry_count=7)
    assert known().max_retry_count == 7
    assert [one.group_name for one in client.list_subscriptions_to_stream(stream)] == [group]
    client.delete_subscription(group, stream)
    assert group not in [one.group_name for one in client.list_subscriptions()]

    client.create_subscription_to_all(group, from_end=True, filter_include=["Job"], consumer_strategy="Pinned")
    client.append_to_stream(stream, events=[new("Other", 90), new("Job", 91)], current_version=StreamState.ANY)
    with client.read_subscription_to_all(group) as told:
        event = next(told)
        assert json.loads(event.data)["n"] == 91
        told.ack(event)
    client.delete_subscription(group)


def discovers():
    members = client.read_gossip()
    assert len(members) == 1 and members[0].state == "NODE_STATE_LEADER", members
    host = uri.split("//")[1].split("?")[0].split("@")[-1]
    query = uri.split("?")[1]
    who = uri.split("//")[1].split("@")[0] + "@" if "@" in uri else ""
    with KurrentDBClient(f"kurrentdb+discover://{who}{host}?{query}") as found:
        found.get_commit_position()


def may_only_read():
    if "READER" not in os.environ:
        return
    with KurrentDBClient(os.environ["READER"]) as reader:
        assert len(reader.get_stream(f"py-{run}-b")) == 1
        raises(
            AccessDeniedError,
            lambda: reader.append_to_stream(f"py-{run}-b", events=new("X", 1), current_version=StreamState.ANY),
        )
        raises(AccessDeniedError, lambda: reader.create_subscription_to_stream("g", f"py-{run}-b", from_end=False))


for check in (appends_and_reads, fails_on_wrong_versions, subscribes, deletes, consumes_in_groups, discovers, may_only_read):
    check()
    print(f"python client: {check.__name__}")
client.close()
