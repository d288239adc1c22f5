#!/usr/bin/env bash
# Measures on the real logs in ../shared/data (SHARED names another folder): import, training sets by the daemon's own fold,
# models, import with them, and all that against goals.toml. Called by `make real`; INTENTD names another program.
set -euo pipefail
cd "$(dirname "$0")/../.."
if [ -z "${INTENTD:-}" ]; then
    cargo build --release --locked --bin intentd
    export INTENTD=target/release/intentd
fi
REAL_OUT=$(mktemp -d); trap 'rm -rf "$REAL_OUT"' EXIT
export REAL_OUT
bash models/train/venv.sh
for case in tests/real/*/run.sh; do
    bash "$case"
done
.venv/bin/python tests/real/table.py "$REAL_OUT"
