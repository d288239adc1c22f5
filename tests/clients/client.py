"""The official Python client against our server: append, read, subscribe, fail, delete. Usage: client.py URI"""

import json
import sys
import uuid

from kurrentdbclient import KurrentDBClient, NewEvent, StreamState
from kurrentdbclient.events import CaughtUp, Checkpoint
from kurrentdbclient.exceptions import (
    AccessDeniedError,
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
    raises(
        StreamIsDeletedError,
        lambda: client.append_to_stream(stream, events=new("Never", 6), current_version=StreamState.ANY),
    )
    raises(
        StreamIsDeletedError,
        lambda: client.append_to_stream(stream, events=[new("Never", 6)], current_version=StreamState.ANY),
    )


def discovers():
    members = client.read_gossip()
    assert len(members) == 1 and members[0].state == "NODE_STATE_LEADER", members
    host = uri.split("//")[1].split("?")[0].split("@")[-1]
    query = uri.split("?")[1]
    with KurrentDBClient(f"kurrentdb+discover://{host}?{query}") as found:
        found.get_commit_position()


for check in (appends_and_reads, fails_on_wrong_versions, subscribes, deletes, discovers):
    check()
    print(f"python client: {check.__name__}")
client.close()
