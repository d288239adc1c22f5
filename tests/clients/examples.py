"""Each example follows alerts, is killed, and goes on where it was. Usage: examples.py URI NODE_HOME PROGRAM ..."""

import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

from kurrentdbclient import KurrentDBClient, NewEvent, StreamState

uri, node_home, *more = sys.argv[1:]
here = Path(__file__).resolve().parents[2] / "examples"
programs = [[sys.executable, str(here / "alerts.py")], ["node", str(here / "alerts.mjs")], *([program] for program in more)]


def raise_alerts(count):
    """Writes alerts, and others between; answers their ids and the position of the last."""
    ids = []
    with KurrentDBClient(uri) as client:
        for number in range(count):
            data = json.dumps({"modelType": "REFINANCE", "priority": "HIGH"}).encode()
            for kind in ("AlertScored", "UserScored"):
                event = NewEvent(type=kind, data=data)
                at = client.append_to_stream(f"intent-u{number}", events=event, current_version=StreamState.ANY)
                if kind == "AlertScored":
                    ids.append(str(event.id))
                    last = at
    return ids, last


def follow(program, place, last):
    """Runs a program until it has kept the last place, kills it, and answers the ids that it printed."""
    command = [*program, uri, str(place)]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "NODE_HOME": node_home})
    until = time.monotonic() + 30
    while not (place.exists() and int(place.read_text()) >= last):
        assert running.poll() is None and time.monotonic() < until, f"{program} kept no place"
        time.sleep(0.02)
    running.kill()
    return [line.split()[0] for line in running.communicate()[0].splitlines()]


with tempfile.TemporaryDirectory() as folder:
    for number, program in enumerate(programs):
        place = Path(folder) / f"place-{number}"
        first, last = raise_alerts(3)
        assert follow(program, place, last)[-3:] == first, program
        second, last = raise_alerts(2)
        assert follow(program, place, last) == second, program
        print(f"example: {Path(program[-1]).name}")
