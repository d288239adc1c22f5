#!/usr/bin/env python3
"""Adds the moments at which a visitor is scored to the click log, as ScoreRequested events: each day a minute before
midnight at the shop's place (15:59 UTC), everybody who was seen since the log begins in earnest. (The log ends half a minute
before midnight: so the last day but one has its whole 24 hours ahead.)

Reads events as JSON Lines on standard input, sorted by time, and writes them all, with the requests in their places by
time, to standard output. Who is asked for follows from what came before. Standard library only.
"""

import datetime
import json
import sys

DAY = datetime.timedelta(days=1)
# 35 stray events lie before.
BEGIN = datetime.datetime(2017, 11, 24, 15, 59, tzinfo=datetime.timezone.utc)


def time_of(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


def requests(users: set, due: datetime.datetime) -> str:
    at, text = due.isoformat(timespec="milliseconds").replace("+00:00", "Z"), ""
    for user in sorted(users):
        event = {"id": f"{user}-{due:%m%d}", "user": user, "type": "ScoreRequested", "time": at, "data": {}}
        text += json.dumps(event, separators=(",", ":")) + "\n"
    return text


def main() -> int:
    due, users, asked, last = BEGIN + DAY, set(), 0, None
    for line in sys.stdin:
        event = json.loads(line)
        now = time_of(event["time"])
        if last is not None and now < last:
            print("moments: the log is not sorted by time", file=sys.stderr)
            return 1
        last = now
        # An event at that very time belongs behind the moment.
        while due <= now:
            sys.stdout.write(requests(users, due))
            asked += len(users)
            due += DAY
        if now >= BEGIN:
            users.add(event["user"])
        sys.stdout.write(line)
    print(f"{asked} moments", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
