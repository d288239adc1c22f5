#!/usr/bin/env bash
# The click log: a purchase in the next 24 hours, asked each midnight. Trained on the first four days, calibrated on two,
# tested on the last two. Called by tests/real/run.sh.
source "$(dirname "$0")/../case.sh"
begin taobao taobao-clicks/events.jsonl.zst
import_into first
train PURCHASE -- --valid-from 2017-11-29T00:00:00Z --test-from 2017-12-01T00:00:00Z \
    --source "Taobao clicks, each midnight"
import_into second
replay
