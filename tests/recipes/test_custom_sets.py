"""Sets of other layouts by the lines of the README: scenes in simulated rooms, and sessions with overlap and pauses."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest

from lobes.data import audio
from lobes.errors import UserError

README = Path(__file__).parents[2] / "recipes" / "custom" / "README.md"
COMMON = (
    "hparams/spmamba.yaml --preset convtasnet_tiny --device cpu --noprogressbar --precision fp32 --num_workers 0 "
    "--N_epochs 9 --max_steps 6 --test_metrics [si_sdr] --n_audio_to_save 0 --scoring_workers 0 "
    "--training_signal_len 1500"
).split()


@pytest.fixture
def run_readme(tmp_path, monkeypatch):
    """The README's Python lines, called in the test's folder."""

    def run():
        (code,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
        monkeypatch.chdir(tmp_path)
        exec(compile(code, str(README), "exec"), {})

    return run


def make_scenes(root, dry):
    """A folder for each scene; the speakers' files are dry or reverberant."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 3), ("valid", 1), ("test", 1)):
        for scene in range(count):
            spoken = {f"speaker{n}": 0.1 * rng.standard_normal(4000) for n in (1, 2)}
            tail = np.concatenate([[1.0], np.zeros(80), 0.3 * rng.standard_normal(200)])
            wet = {name: np.convolve(x, tail)[:4000] for name, x in spoken.items()}
            parts = {**(spoken if dry else wet), "noise": 0.02 * rng.standard_normal(4000)}
            parts["mix"] = sum(wet.values()) + parts["noise"]
            for name, x in parts.items():
                audio.write(root / split / f"room{scene}" / f"{name}.wav", 0.5 * x, 8000)


def start(train, tables, run, *more):
    train("custom", *COMMON, "--data_folder", tables, "--output_folder", run, *more)
    return json.loads((run / "summary.json").read_text())


def test_scenes_of_reverberant_speakers_with_everything_on(train, tmp_path, run_readme):
    make_scenes(tmp_path / "scenes", dry=False)
    run_readme()
    more = "--dynamic_mixing true --speed_changes [0.9,1.1] --max_shift 50 --codecs [ulaw] --band_limits [3000]".split()
    assert start(train, tmp_path / "scenes_tables", tmp_path / "run", *more)["n"] == 1


def test_scenes_of_dry_speakers_are_no_sums(train, tmp_path, capsys, run_readme):
    make_scenes(tmp_path / "scenes", dry=True)
    run_readme()
    tables = tmp_path / "scenes_tables"
    with pytest.raises(SystemExit):
        start(train, tables, tmp_path / "sums")
    assert "leave this check out: --sample_checks [silence]" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        start(train, tables, tmp_path / "speeds", "--sample_checks", "[silence]", "--speed_changes", "[0.9]")
    assert "speed_changes: needs mixtures that are the sums of their parts" in capsys.readouterr().err
    assert start(train, tables, tmp_path / "run", "--sample_checks", "[silence]", "--codecs", "[ulaw]")["n"] == 1


def test_sessions_with_overlap_and_pauses(train, tmp_path):
    rng, root = np.random.default_rng(0), tmp_path / "sessions"
    for split, count in (("train", 2), ("valid", 1), ("test", 1)):
        rows = []
        for session in range(count):
            speech = np.zeros((24000, 2))
            for turn in range(8):  # each speaks in turn for half a second, into the other's end, and pauses follow
                begin = 2800 * turn
                speech[begin : begin + 3400, turn % 2] = 0.1 * rng.standard_normal(3400)
            row = {"ID": f"{split}{session}"}
            for name, x in {"mix": speech.sum(1), "s1": speech[:, 0], "s2": speech[:, 1]}.items():
                audio.write(root / "wav" / split / f"{session}_{name}.wav", x, 8000)
                row[f"{name}_wav"] = f"wav/{split}/{session}_{name}.wav"
            rows.append(row)
        with (root / f"{split}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    words = "--loss snr --consistency_weight 0.1".split()
    summary = start(train, root, tmp_path / "run", *words)
    assert summary["n"] == 1
    with (tmp_path / "run" / "learning_curve.csv").open() as file:
        curve = list(csv.DictReader(file))
    assert all(np.isfinite(float(row["train_loss"])) and row["skipped"] == "0" for row in curve)


def test_an_error_is_raised_before_anything_is_written(recipe_module, tmp_path):
    module = recipe_module("custom", "train")
    with pytest.raises(UserError, match="rooms: needs mixtures"):
        module.check({"num_spks": 2, "sample_checks": ["silence"], "rooms": "simulated"})
    module.check({"num_spks": 1, "sample_checks": ["silence"], "rooms": "simulated"})  # noise is what is left
