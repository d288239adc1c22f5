#!/usr/bin/env bash
# The official Python and Node clients against our server, and the examples with them: as they come from PyPI and npm, pinned
# with hashes in tests/clients, kept in target/clients. Usage: clients.sh [PROGRAM]
set -euo pipefail
cd "$(dirname "$0")/.."
program=${1:-target/debug/intentd}
home=$PWD/target/clients
mkdir -p "$home/node"
work=$(mktemp -d); servers=()
trap 'kill "${servers[@]}"; wait; rm -rf "$work"' EXIT

if ! cmp --silent tests/clients/requirements.txt "$home/venv/requirements.installed"; then
  python3 -m venv --clear "$home/venv"
  "$home/venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --only-binary=:all: \
    -r tests/clients/requirements.txt
  cp tests/clients/requirements.txt "$home/venv/requirements.installed"
fi
if ! cmp --silent tests/clients/package-lock.json "$home/node/lock.installed"; then
  cp tests/clients/package.json tests/clients/package-lock.json "$home/node"
  (cd "$home/node" && npm ci --silent --no-audit --no-fund --ignore-scripts)
  cp tests/clients/package-lock.json "$home/node/lock.installed"
fi
export NODE_HOME="$home/node"
python="$home/venv/bin/python"

serve() { # serve NAME: starts a server; its address is in the file NAME
  "$program" store serve --dir "$work/$1.store" --listen 127.0.0.1:0 > "$work/$1" &
  servers+=($!)
  for _ in $(seq 100); do [ -s "$work/$1" ] && break; sleep 0.1; done
}

clients() { # clients URI
  timeout 120 "$python" tests/clients/client.py "$1"
  timeout 120 node tests/clients/client.mjs "$1"
}

serve plain
clients "kurrentdb://$(cat "$work/plain")?tls=false"
# `cargo test` builds the examples; the Rust client is one of the three.
timeout 120 "$python" tests/clients/examples.py "kurrentdb://$(cat "$work/plain")?tls=false" "$NODE_HOME" \
  "$(dirname "$program")/examples/alerts"

# An authority of our own and a certificate by it: the clients do not take one that vouches for itself.
key=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes)
openssl req -x509 "${key[@]}" -days 2 -subj /CN=authority -keyout "$work/ca.key" -out "$work/ca.pem" 2>/dev/null
openssl req "${key[@]}" -subj /CN=localhost -keyout "$work/key.pem" -out "$work/request.pem" 2>/dev/null
echo 'subjectAltName = DNS:localhost, IP:127.0.0.1' > "$work/names"
openssl x509 -req -in "$work/request.pem" -CA "$work/ca.pem" -CAkey "$work/ca.key" -CAcreateserial -days 2 \
  -extfile "$work/names" -out "$work/certificate.pem" 2>/dev/null
(umask 077; printf 'chief:admin:secret\nreader:read:secret\n' > "$work/users")
export INTENTD_WIRE__CERTIFICATE=$work/certificate.pem INTENTD_WIRE__KEY=$work/key.pem INTENTD_WIRE__USERS=$work/users
serve secured
port=$(cut -d: -f2 "$work/secured")
export READER="kurrentdb://reader:secret@localhost:$port?tlsCaFile=$work/ca.pem"
clients "kurrentdb://chief:secret@localhost:$port?tlsCaFile=$work/ca.pem"
