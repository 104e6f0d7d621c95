#!/bin/sh
# Runs every check, also after one has failed, and fails when any of them did.
cd "$(dirname "$0")/.." || exit 1
BIN=.venv/bin
failed=
check() {
    echo "== $*"
    "$BIN/$@" || failed="$failed $1"
}
check ruff check .
check ruff format --check .
check mypy
check yamllint --strict .
check codespell
[ -z "$failed" ] || { echo "failed:$failed" >&2; exit 1; }
