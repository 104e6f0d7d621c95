#!/bin/sh
# Writes requirements.lock: exact versions and hashes for Python 3.10-3.12 on every platform, and no index addresses.
set -eu
cd "$(dirname "$0")/.."
pins=$(mktemp)
trap 'rm -f "$pins"' EXIT
printf '%s\n' torch==2.11.0 torchaudio==2.11.0 speechbrain==1.1.2 hyperpyyaml==1.2.3 > "$pins"
[ -x .venv/bin/uv ] || .venv/bin/python -m pip install --quiet uv
.venv/bin/uv pip compile setup.py --extra demo --extra live --extra onnx --extra judges --extra asr \
    --extra hpo --extra track --extra scale --extra docs --extra dev --constraint "$pins" \
    --universal --python-version 3.10 --generate-hashes --no-emit-index-url --no-annotate --no-header --quiet \
    --output-file requirements.lock
