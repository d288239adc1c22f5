#!/usr/bin/env bash
# The real loan log, end to end: import, a training set by the daemon's own fold, a model, import again with it, measured
# from the facts. Nothing of the data is written into the repository. Called by `make real`; INTENTD names another program.
#
# Only submissions before 2012-01-01 are trained on: their requests, seven days later, end before 2012-01-08.
set -euo pipefail
cd "$(dirname "$0")/../../.."
log=../shared/data/bpi2012-loan/events.jsonl.zst
if [ ! -f "$log" ]; then
    echo "skipped tests/real/bpi2012: $log is not there"
    exit 0
fi
if [ -z "${INTENTD:-}" ]; then
    cargo build --release --locked --bin intentd
    INTENTD=target/release/intentd
fi
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
mkdir "$work/models"
export INTENTD_CATALOG=tests/real/bpi2012/catalog.toml INTENTD_MODELS__FOLDER="$work/models" INTENTD_LOG__FILTER=error
import() { INTENTD_DATA_DIR="$1" "$INTENTD" import --map userId=user,occurredAt=time "$work/events.jsonl"; }

bash models/train/venv.sh
# The base tools have no zstd; the training packages read it.
.venv/bin/python -c 'import pyarrow, shutil, sys; shutil.copyfileobj(pyarrow.input_stream(sys.argv[1]), sys.stdout.buffer)' "$log" |
    python3 tests/real/bpi2012/requests.py > "$work/events.jsonl"

echo "== import without a model, training set, training"
import "$work/first"
INTENTD_DATA_DIR="$work/first" "$INTENTD" dataset --model ACTIVATE --moments requests --to 2012-01-08T00:00:00Z \
    --valid-from 2011-12-08T00:00:00Z --test-from 2012-01-08T00:00:00Z \
    --source "BPI Challenge 2012, submissions before 2012-01-01" --out "$work/set"
.venv/bin/python models/train/train.py "$work/set" --out "$work/models" --version 1
sed -n '/## How good it is/,/^The test split/p' "$work/models/ACTIVATE/1/CARD.md"

echo "== import with the model; again: all duplicates"
import "$work/second"
import "$work/second"

echo "== measured from the facts"
BPI2012_DATA="$work/second" BPI2012_MODELS="$work/models" ORT_DYLIB_PATH="$PWD/.ort/libonnxruntime.so" \
    cargo test --locked --test it -- --nocapture --test-threads 1 real_bpi a_real_import
