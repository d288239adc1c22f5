#!/usr/bin/env bash
# Makes the Python environment for training in .venv (or $1) at the root of the repository; does nothing when it is up to date.
# Needs Python 3.11 ($PYTHON, or python3.11 on the path): the hashes in requirements.txt were resolved for it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
venv=${1:-$here/../../.venv}
python=${PYTHON:-python3.11}
"$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || {
    echo "venv.sh: $python is not Python 3.11; set PYTHON" >&2
    exit 1
}
if cmp --silent "$here/requirements.txt" "$venv/requirements.installed"; then
    exit 0
fi
"$python" -m venv --clear "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --only-binary=:all: \
    --requirement "$here/requirements.txt"
cp "$here/requirements.txt" "$venv/requirements.installed"
