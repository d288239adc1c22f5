# What the cases of tests/real share; sourced by <case>/run.sh. Nothing of the data is written into the repository.
#
# A case gives: catalog.toml, moments.py (adds ScoreRequested events to the log, by what came before them), run.sh.
# Every feature comes from the daemon's own fold; slices are parted by time, and nothing is fitted to the test slice.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
SHARED=${SHARED:-../shared}

# begin CASE LOG: the log with its moments in $work/events.jsonl; ends the case where the log is not there.
begin() {
    case_folder=tests/real/$1
    if [ ! -f "$SHARED/data/$2" ]; then
        echo "skipped $case_folder: $SHARED/data/$2 is not there"
        exit 0
    fi
    echo "== $1"
    work=$REAL_OUT/$1
    mkdir -p "$work/models"
    export INTENTD_CATALOG=$case_folder/catalog.toml INTENTD_MODELS__FOLDER="$work/models" INTENTD_LOG__FILTER=error
    # A score that failed would be asked for again by the wall clock: such moments are no training rows.
    export INTENTD_PIPELINE__SWEEP_EVERY=1d INTENTD_PIPELINE__RESCORE_FIRST=1d
    # The base tools have no zstd; the training packages read it.
    .venv/bin/python -c '
import pyarrow, shutil, sys
shutil.copyfileobj(pyarrow.input_stream(sys.argv[1]), sys.stdout.buffer)' "$SHARED/data/$2" |
        python3 "$case_folder/moments.py" > "$work/events.jsonl"
}

# import_into FOLDER
import_into() {
    INTENTD_DATA_DIR="$work/$1" "$INTENTD" import --map userId=user,occurredAt=time "$work/events.jsonl"
}

# train MODEL TRAIN-OPTIONS -- DATASET-OPTIONS: a set from the first import, and a model from it.
train() {
    local model=$1 options=()
    shift
    while [ "$1" != -- ]; do options+=("$1"); shift; done
    shift
    INTENTD_DATA_DIR="$work/first" "$INTENTD" dataset --model "$model" --moments requests "$@" --out "$work/set-$model"
    .venv/bin/python models/train/train.py "$work/set-$model" --catalog "$INTENTD_CATALOG" --out "$work/models" \
        --version 1 ${options[@]+"${options[@]}"}
}

# replay: the log of the second import, told once more with the models that served: alerts, and features bit for bit.
replay() {
    INTENTD_DATA_DIR="$work/second" "$INTENTD" backtest --expect-equal --json "$work/backtest.json" |
        grep -E '^(skew|alerts|reproduces)|exactly' || touch "$work/differs"
}
