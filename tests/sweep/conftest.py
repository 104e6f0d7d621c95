"""For the tests of sweeps: a recipe whose training takes no time, and commands in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Stands in for a recipe's train.py. An epoch's score is that of the learning rate, a little better with each epoch.
TRAIN = """
import json, os, signal, sys, time
from pathlib import Path
words = [word for word in sys.argv[2:] if word != "--noprogressbar"]
options = {word[2:]: text for word, text in zip(words[::2], words[1::2])}
out = Path(options["output_folder"])
out.mkdir(parents=True, exist_ok=True)
with (out / "begun.txt").open("a") as file:
    file.write(f"{os.getpid()}\\n")
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
lr, epochs = float(options["lr"]), int(options["N_epochs"])
if lr > 0.9:
    sys.exit("this learning rate is too high")
curve = out / "learning_curve.csv"
lines = curve.read_text().splitlines() if curve.is_file() else ["epoch,step,seconds,train_loss,valid_si_sdri"]
for epoch in range(len(lines), epochs + 1):
    time.sleep(float(os.environ.get("EPOCH_S", "0.02")))
    lines.append(f"{epoch},{epoch},1,0,{10 * lr + 0.01 * epoch}")
    partial = out / "curve.partial"
    partial.write_text("\\n".join(lines) + "\\n")
    partial.replace(curve)
(out / "train_time.json").write_text(json.dumps({"steps": epochs, "seconds": 1.0}))
time.sleep(60)  # the test, for which a sweep does not wait
"""
SWEEP = """
recipe: {recipe}
options: {{N_epochs: 4, data_folder: {folder}}}
search:
    lr: {{low: 0.01, high: 0.5}}
    batch_size: [1, 2]
trials: 6
pruning: null
"""


@pytest.fixture
def sweep_file(tmp_path):
    """A sweep of six trials over a recipe that learns at once."""
    pytest.importorskip("optuna", reason="the extra hpo is not installed")
    recipe = tmp_path / "recipes" / "quick"
    (recipe / "hparams").mkdir(parents=True)
    (recipe / "train.py").write_text(TRAIN)
    base = os.path.relpath(ROOT / "hparams_shared" / "separation.yaml", recipe / "hparams")
    (recipe / "hparams" / "tiny.yaml").write_text(f"base: {base}\npreset: spmamba_tiny\n")
    path = tmp_path / "quick.yaml"
    path.write_text(SWEEP.format(recipe=recipe / "hparams" / "tiny.yaml", folder=tmp_path))
    return path


@pytest.fixture
def start(tmp_path):
    """start(FILE, *words): the command in a process of its own, which is ended with the test."""
    begun = []

    def call(file, *words, epoch_s=0.02):
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "EPOCH_S": str(epoch_s)}
        command = [sys.executable, "-m", "lobes.cli", "sweep", str(file), *map(str, words)]
        command += [] if "-o" in words else ["-o", str(tmp_path / "out")]
        process = subprocess.Popen(
            command, cwd=tmp_path, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        begun.append(process)
        return process

    yield call
    for process in begun:
        process.kill()
        process.wait()
