#!/usr/bin/env bash
# The official Python and Node clients against our server, as they come from PyPI and npm.
set -euo pipefail
cd "$(dirname "$0")/.."
program=${1:-target/debug/intentd}
work=$(mktemp -d); server=
trap 'test -z "$server" || kill "$server"; rm -rf "$work"' EXIT

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q kurrentdbclient==1.3.5
(cd "$work" && npm install --silent --no-audit --no-fund @kurrent/kurrentdb-client@1.3.1)

"$program" store serve --dir "$work/store" --listen 127.0.0.1:0 > "$work/address" &
server=$!
for _ in $(seq 100); do [ -s "$work/address" ] && break; sleep 0.1; done
uri="kurrentdb://$(cat "$work/address")?tls=false"
timeout 120 "$work/venv/bin/python" tests/clients/client.py "$uri"
NODE_HOME=$work timeout 120 node tests/clients/client.mjs "$uri"
