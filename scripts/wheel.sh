#!/bin/sh
# Builds the source distribution and, from it, the wheel; `twine check` reads the metadata of both. They go to dist/, or to
# the folder that is given. Nothing is fetched: the build runs with the setuptools that .venv has.
set -eu
cd "$(dirname "$0")/.."
out=${1:-dist}
python=.venv/bin/python
rm -rf "$out"/lobes-*.tar.gz "$out"/lobes-*.whl
log=$(mktemp)
trap 'rm -f "$log"' EXIT
"$python" -m build --no-isolation --outdir "$out" . > "$log" 2>&1 || { cat "$log" >&2; exit 1; }
"$python" -m twine check --strict "$out"/lobes-*
