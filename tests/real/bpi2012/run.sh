#!/usr/bin/env bash
# The loan log: activated within 21 days, asked 7 days after submission, and within 14 days, asked 14 days after the first
# offer. Trained on the moments of submissions (offers) before 2012-01-01, tested on those from then on.
# Called by tests/real/run.sh.
source "$(dirname "$0")/../case.sh"
begin bpi2012 bpi2012-loan/events.jsonl.zst
import_into first
train ACTIVATE -- --valid-from 2011-12-08T00:00:00Z --test-from 2012-01-08T00:00:00Z --to 2012-02-17T00:00:00Z \
    --source "BPI Challenge 2012, 7 days after submission"
train OFFER -- --valid-from 2011-12-08T00:00:00Z --test-from 2012-01-15T00:00:00Z \
    --source "BPI Challenge 2012, 14 days after the first offer"
import_into second
echo "-- again: all duplicates"
import_into second
replay

echo "-- against the final outcomes, from the facts as they were written"
BPI2012_DATA="$work/second" BPI2012_MODELS="$work/models" BPI2012_SHARED="$SHARED" \
    ORT_DYLIB_PATH="$PWD/.ort/libonnxruntime.so" \
    cargo test --quiet --locked --test it -- --nocapture --test-threads 1 real_bpi a_real_import
