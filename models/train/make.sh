#!/usr/bin/env bash
# Trains the shipped models again: a simulated log, its training sets by the daemon's own fold, a model each; then holds
# them to their goals and to the sums recorded in FOLDER/SHA256SUMS. Usage: models/train/make.sh [VERSION] [FOLDER]
#
# Law: the same inputs (rows, catalogue, training code, packages) give the same files: if the inputs are those recorded and
# a file is not, this fails. Other inputs are said and recorded anew. INTENTD names another program than the release build.
set -euo pipefail
cd "$(dirname "$0")/../.."
version=${1:-2026.11.2}
out=${2:-models}
users=60000 days=540 seed=11 until=2026-07-01T00:00:00Z
models=(SELL BUY REFINANCE INVESTMENT)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
program=${INTENTD:-./target/release/intentd}
# A score that failed would be asked for again by the wall clock: such moments are no training rows. No model serves, so that
# the rows do not depend on those that lie in FOLDER.
mkdir "$work/none"
export INTENTD_PIPELINE__SWEEP_EVERY=1d INTENTD_PIPELINE__RESCORE_FIRST=1d INTENTD_MODELS__FOLDER="$work/none"
intentd() { INTENTD_DATA_DIR="$work/data" INTENTD_LOG__FILTER=error "$program" "$@"; }
simulation=(simulate --users $users --days $days --seed $seed --until $until)

bash models/train/venv.sh
intentd "${simulation[@]}" --out "$work/log.jsonl.zst" --truth "$work/truth.jsonl.zst"
intentd import "$work/log.jsonl.zst"
trainings=()
for model in "${models[@]}"; do
    # To learn from, one moment a user and week: those of a user are alike. For drift, every moment, as the daemon will see
    # them. A training runs beside the next model's sets.
    intentd dataset --model "$model" --moments 7d --out "$work/$model" \
        --source "intentd ${simulation[*]}; a moment a user and week"
    intentd dataset --model "$model" --moments scores --out "$work/live/$model"
    .venv/bin/python models/train/train.py "$work/$model" --live "$work/live/$model" --out "$out" --version "$version" \
        --truth "$work/truth.jsonl.zst" --threads 1 &
    trainings+=($!)
done
for training in "${trainings[@]}"; do wait "$training"; done

# The store's id and its positions (bytes; how appends came together) are others in each run and change nothing.
inputs=$({
    for model in "${models[@]}"; do sed '/"\(store\|logFrom\|logUntil\)":/d' "$work/$model/manifest.json" "$work/live/$model/manifest.json"; done
    cat "$work/truth.jsonl.zst" config/catalog.toml models/train/requirements.txt $(ls models/train/*.py | grep -v /test_)
} | sha256sum | cut -d' ' -f1)
sums=$out/SHA256SUMS
head="# version $version, inputs $inputs"
if [ "$(head -n 1 "$sums" 2>/dev/null)" = "$head" ]; then
    (cd "$out" && sha256sum --check --quiet SHA256SUMS)
    echo "every file as recorded in $sums"
else
    (cd "$out" && find "${models[@]/%//$version}" -type f | LC_ALL=C sort | xargs sha256sum) > "$work/sums"
    { echo "$head"; cat "$work/sums"; } > "$sums"
    echo "other inputs than those recorded: $sums is written anew"
fi
.venv/bin/python models/train/goals.py "${models[@]/#/$out/}" --version "$version" --calibration 0.02 \
    --truth 0.03 --precision 0.70
