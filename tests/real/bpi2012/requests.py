#!/usr/bin/env python3
"""Adds a ScoreRequested to the loan log for each application that is still open seven days after it came in.

Reads events as JSON Lines on standard input, sorted by time, and writes them all, with the requests in their places by
time, to standard output. Still open: none of the types that tell the outcome was seen before the request's time; nothing
later is looked at. Standard library only.
"""

import collections
import datetime
import json
import sys

AFTER = datetime.timedelta(days=7)
TELLS_OUTCOME = {"A_ACTIVATED", "A_APPROVED", "A_REGISTERED", "A_DECLINED", "A_CANCELLED", "O_ACCEPTED", "O_DECLINED"}


def time_of(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


def request(user: str, due: datetime.datetime) -> str:
    at = due.astimezone(datetime.timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    event = {"id": f"{user}-after-7d", "user": user, "type": "ScoreRequested", "time": at, "data": {}}
    return json.dumps(event, separators=(",", ":")) + "\n"


def main() -> int:
    waiting = collections.deque()
    ended = set()
    asked = 0
    last = None
    for line in sys.stdin:
        event = json.loads(line)
        now = time_of(event["time"])
        if last is not None and now < last:
            print("requests: the log is not sorted by time", file=sys.stderr)
            return 1
        last = now
        while waiting and waiting[0][0] < now:
            due, user = waiting.popleft()
            if user not in ended:
                sys.stdout.write(request(user, due))
                asked += 1
        if event["type"] == "A_SUBMITTED":
            waiting.append((now + AFTER, event["user"]))
        if event["type"] in TELLS_OUTCOME:
            ended.add(event["user"])
        sys.stdout.write(line)
    # What would come due behind the last event is left out: the log does not reach there.
    print(f"{asked} requests", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
