#!/usr/bin/env bash
# Trains the shipped models again: a simulated log, its training sets by the daemon's own fold, a model each.
# Deterministic: the same program and options give the same files. Usage: models/train/make.sh [VERSION] [FOLDER]
set -euo pipefail
cd "$(dirname "$0")/../.."
version=${1:-2026.11.1}
out=${2:-models}
users=30000 days=540 seed=11 until=2026-07-01T00:00:00Z
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
intentd() { INTENTD_DATA_DIR="$work/data" INTENTD_LOG__FILTER=error ./target/release/intentd "$@"; }

bash models/train/venv.sh
intentd simulate --users $users --days $days --seed $seed --until $until --out "$work/log.jsonl.zst"
intentd import "$work/log.jsonl.zst"
for model in SELL BUY REFINANCE INVESTMENT; do
  intentd dataset --model "$model" --out "$work/$model" \
    --source "intentd simulate --users $users --days $days --seed $seed --until $until"
  .venv/bin/python models/train/train.py "$work/$model" --out "$out" --version "$version"
done
