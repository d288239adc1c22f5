#!/usr/bin/env bash
# `make demo` ends, and has shown alerts with model, scores, priority and reasons, and a URL that answered. It runs the program
# that the tests have built, so there is nothing to build: from cold, a release build takes 7 minutes and `cargo build` 3.
set -euo pipefail
cd "$(dirname "$0")/.."
out=$(mktemp); trap 'rm -f "$out"' EXIT
CARGO=true make demo PROFILE=dev </dev/null | tee "$out" | tail -n 15
grep -q 'http://127.0.0.1:[0-9]*/api/v1' "$out"
alerts=$(grep -cE '^20[0-9-]+T.* (SELL|BUY|REFINANCE|INVESTMENT) .* (LOW|MEDIUM|HIGH|CRITICAL) ' "$out" || true)
echo "demo: $alerts alerts shown"
[ "$alerts" -gt 0 ]
