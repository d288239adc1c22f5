#!/usr/bin/env bash
# The unit files verify, their exposure is 2.0 or less, and the one for several instances differs only where it must.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT

check() { # check UNIT NAME: UNIT as it would run under NAME
  # The binary's place need not exist on the machine that checks.
  sed 's#/usr/bin/intentd#/bin/true#' "$1" > "$work/${2/@*./@.}"
  out=$(systemd-analyze verify "$work/$2" 2>&1) || { echo "$out"; exit 1; }
  [ -z "$out" ] || { echo "$out"; exit 1; }
  score=$(systemd-analyze security --offline=true "$work/${2/@*./@.}" | sed -n 's/.*exposure level for [^:]*: \([0-9.]*\).*/\1/p')
  echo "systemd-analyze security $2: $score"
  awk -v score="$score" 'BEGIN { exit !(score != "" && score <= 2.0) }'
}
check systemd/intentd.service intentd-check.service
check systemd/intentd@.service intentd-check@0.service
check systemd/intentd-store.service intentd-store-check.service
# What is changed in one is changed in the other: only lines about the instance may differ.
differs=$(diff <(grep -v '^#' systemd/intentd.service) <(grep -v '^#' systemd/intentd@.service) \
  | grep '^[<>]' | grep -vE '^< (Description|Environment=INTENTD_DATA_DIR|StateDirectory|WorkingDirectory)=|^> .*%i' || true)
[ -z "$differs" ] || { echo "intentd@.service differs from intentd.service:"; echo "$differs"; exit 1; }
promtool check rules config/prometheus/intentd.rules.yml
promtool test rules config/prometheus/intentd.rules.test.yml
