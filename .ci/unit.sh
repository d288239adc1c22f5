#!/usr/bin/env bash
# The unit file verifies, and its exposure is 2.0 or less.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
# The binary's place need not exist on the machine that checks.
sed 's#/usr/bin/intentd#/bin/true#' systemd/intentd.service > "$work/intentd-check.service"
out=$(systemd-analyze verify "$work/intentd-check.service" 2>&1) || { echo "$out"; exit 1; }
[ -z "$out" ] || { echo "$out"; exit 1; }
score=$(systemd-analyze security --offline=true "$work/intentd-check.service" | sed -n 's/.*exposure level for [^:]*: \([0-9.]*\).*/\1/p')
echo "systemd-analyze security: $score"
awk -v score="$score" 'BEGIN { exit !(score != "" && score <= 2.0) }'
promtool check rules config/prometheus/intentd.rules.yml
promtool test rules config/prometheus/intentd.rules.test.yml
