"""A recipe file with its data: what the process of its own finds, called in this one; a whole command is slow."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lobes.data import audio
from lobes.doctor import dry_run, recipe
from lobes.doctor.report import Reporter
from lobes.errors import UserError
from lobes.training.brain import SeparationBrain

ROOT = Path(__file__).parents[2]
FILE = ROOT / "recipes" / "custom" / "hparams" / "spmamba.yaml"
SMALL = "--preset convtasnet_tiny --device cpu --precision fp32 --num_workers 0 --batch_size 2 --N_epochs 10".split()


@pytest.fixture
def corpus(tmp_path):
    """A data folder of the recipe `custom`: 5, 2 and 2 mixtures, of which one is long."""
    rng = np.random.default_rng(0)
    for split, items in (("train", 5), ("valid", 2), ("test", 2)):
        for number in range(items):
            sources = 0.1 * rng.standard_normal((2, 4000 if number == 1 else 2000))
            for part, samples in {"mix": sources.sum(0), "s1": sources[0], "s2": sources[1]}.items():
                audio.write(tmp_path / "data" / split / part / f"{split}{number}.wav", samples, 8000)
    return tmp_path / "data"


@pytest.fixture
def examine(tmp_path, corpus, monkeypatch):
    """examine("step", option ...): level and text by what was checked, and whether the folder of runs was touched."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(dry_run, "SECONDS", 0.01)

    def call(wanted, *options):
        folder = tmp_path / f"report{len(list(tmp_path.glob('report*')))}"
        folder.mkdir()
        report = Reporter(folder / "report.jsonl")
        runs = tmp_path / "runs" / "run"
        words = ["--data_folder", corpus, "--output_folder", runs, *SMALL, *options]
        recipe.examine([wanted, str(FILE), *map(str, words)], report)
        assert not runs.parent.exists()
        return {finding.what: (finding.level, finding.text) for finding in report.read()[0]}

    return call


def test_one_batch_of_a_recipe(examine):
    before = SeparationBrain.fit_and_test
    found = examine("step")
    assert SeparationBrain.fit_and_test is before
    assert {level for level, _ in found.values()} == {"ok"}
    assert re.search(r"preset convtasnet_tiny, [\d,]+ parameters", found["network"][1])
    assert re.search(r"[\d.]+ s a batch on cpu, after a first one", found["training step"][1])
    assert re.search(r"epoch of 3 batches takes about .*; the budget is 10 epochs", found["time"][1])
    assert re.search(r"peak of [\d,.]+ [MG]B on cpu", found["memory"][1])
    assert "free for" in found["checkpoints"][1]


def test_the_batch_is_that_of_the_longest_items(examine, monkeypatch):
    seen = []
    fit_batch = SeparationBrain.fit_batch
    monkeypatch.setattr(SeparationBrain, "fit_batch", lambda self, b: (seen.append(b), fit_batch(self, b))[1])
    examine("step")
    assert "train1" in seen[0].id and len(seen[0].id) == 2 and seen[0].mix_sig.data.shape == (2, 4000)
    assert len(seen) >= 2 and all(batch is seen[0] for batch in seen)


def test_data_alone_take_no_step(examine, monkeypatch):
    monkeypatch.setattr(SeparationBrain, "fit_batch", None)
    found = examine("data")
    assert "training step" not in found and found["data preparation"][0] == "ok" and found["lengths"][0] == "ok"


def test_fault_a_batch_too_large_for_the_memory(examine, monkeypatch):
    monkeypatch.setattr(dry_run, "available_memory", lambda: (2**20, 2**24))
    level, text = examine("step")["memory"]
    assert level == "FAIL" and "16 MB to be had. Lower --batch_size" in text


def test_fault_checkpoints_that_do_not_fit(examine, monkeypatch):
    usage = type(dry_run.shutil.disk_usage("/"))
    monkeypatch.setattr(dry_run.shutil, "disk_usage", lambda path: usage(2**20, 2**20, 1000))
    level, text = examine("step")["checkpoints"]
    assert level == "FAIL" and "3 must fit" in text


def test_fault_a_budget_within_the_first_epoch(examine):
    level, text = examine("step", "--max_steps", 1)["time"]
    assert level == "warn" and "ends within the first epoch" in text


def test_fault_a_loss_that_is_not_finite(examine, monkeypatch):
    monkeypatch.setattr("lobes.training.safe_step.logger.warning", lambda *words: None)
    forward = SeparationBrain.fit_batch

    def spoilt(self, batch):
        batch.mix_sig.data.fill_(float("nan"))
        return forward(self, batch)

    monkeypatch.setattr(SeparationBrain, "fit_batch", spoilt)
    level, text = examine("step")["training step"]
    assert level == "FAIL" and "not finite" in text


def test_D08_and_DX1_are_refused_before_the_first_step(examine, corpus, monkeypatch):
    monkeypatch.setattr(SeparationBrain, "fit_and_test", None)
    for path in (corpus / "train" / "s2").iterdir():
        absent = audio.read_mono(path)
        mix = corpus / "train" / "mix" / path.name
        audio.write(mix, audio.read_mono(mix) - absent, 8000)
        audio.write(path, 0 * absent, 8000)
    with pytest.raises(
        UserError, match=r"s2 is silent .* 5 of 5 rows of train, seed 0: in all .*--sample_checks \[sum\]"
    ):
        examine("step")
    audio.write(path, absent, 8000)
    with pytest.raises(UserError, match=r"1 mixtures are not the sum .* of train, seed 0: train\d.*allowed are 16"):
        examine("step")


def test_wrong_options_are_known_at_once(examine):
    with pytest.raises(UserError, match="batch_sise"):
        examine("step", "--batch_sise", 3)


@pytest.mark.slow
def test_the_whole_command(corpus, tmp_path):
    words = [sys.executable, "-m", "lobes.cli", "doctor", FILE, "--data_folder", corpus, *SMALL]
    done = subprocess.run([*map(str, words), "--output_folder", tmp_path / "run"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == ""
    assert "ok    training step" in done.stdout and "ok    imports" in done.stdout
    assert not (tmp_path / "run").exists()
    (corpus / "train" / "s1" / "train0.wav").unlink()
    words = words[:4] + ["--data", corpus, "--recipe", "custom"]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True)
    assert done.returncode == 1 and re.search("FAIL  data preparation .*train0.wav", done.stdout)
