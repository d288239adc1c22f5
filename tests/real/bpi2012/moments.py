#!/usr/bin/env python3
"""Adds the moments at which an application is scored to the loan log, as ScoreRequested events: for ACTIVATE seven days
after it came in, for OFFER fourteen days after its first offer was sent; only if it is still open then.

Reads events as JSON Lines on standard input, sorted by time, and writes them all, with the requests in their places by
time, to standard output. Still open: none of the types that tell the outcome was seen before the request's time; nothing
later is looked at. Standard library only.
"""

import datetime
import heapq
import json
import sys

# The type that the moment counts from, how long after it, and the model that is asked.
ASKED = {"A_SUBMITTED": (datetime.timedelta(days=7), "ACTIVATE"), "O_SENT": (datetime.timedelta(days=14), "OFFER")}
TELLS_OUTCOME = {"A_ACTIVATED", "A_APPROVED", "A_REGISTERED", "A_DECLINED", "A_CANCELLED", "O_ACCEPTED", "O_DECLINED"}


def time_of(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


def request(user: str, model: str, due: datetime.datetime) -> str:
    at = due.astimezone(datetime.timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    event = {"id": f"{user}-{model}", "user": user, "type": "ScoreRequested", "time": at, "data": {"modelTypes": [model]}}
    return json.dumps(event, separators=(",", ":")) + "\n"


def main() -> int:
    waiting, begun, ended = [], set(), set()
    asked = dict.fromkeys((model for _, model in ASKED.values()), 0)
    last = None
    for line in sys.stdin:
        event = json.loads(line)
        kind, user, now = event["type"], event["user"], time_of(event["time"])
        if last is not None and now < last:
            print("moments: the log is not sorted by time", file=sys.stderr)
            return 1
        last = now
        while waiting and waiting[0][0] < now:
            due, who, model = heapq.heappop(waiting)
            if who not in ended:
                sys.stdout.write(request(who, model, due))
                asked[model] += 1
        if kind in ASKED and (user, kind) not in begun:
            begun.add((user, kind))
            after, model = ASKED[kind]
            heapq.heappush(waiting, (now + after, user, model))
        if kind in TELLS_OUTCOME:
            ended.add(user)
        sys.stdout.write(line)
    # What would come due behind the last event is left out: the log does not reach there.
    print(", ".join(f"{count} moments for {model}" for model, count in asked.items()), file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
