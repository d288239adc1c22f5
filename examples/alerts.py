"""Prints every alert once, and goes on where it stopped. Usage: alerts.py URI PLACE_FILE"""

import json
import os
import sys
from pathlib import Path

from kurrentdbclient import KurrentDBClient
from kurrentdbclient.events import Checkpoint

uri, place = sys.argv[1], Path(sys.argv[2])


def keep(position):
    """The new place is whole or not there: a crash here repeats one alert and loses none."""
    beside = place.with_suffix(".new")
    beside.write_text(str(position))
    os.replace(beside, place)


after = int(place.read_text()) if place.exists() else None
with KurrentDBClient(uri) as client:
    alerts = client.subscribe_to_all(commit_position=after, filter_include=["AlertScored"], include_checkpoints=True)
    for event in alerts:
        if not isinstance(event, Checkpoint):
            alert = json.loads(event.data)
            print(event.id, event.stream_name.removeprefix("intent-"), alert["modelType"], alert["priority"], flush=True)
        keep(event.commit_position)
