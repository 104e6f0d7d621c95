"""Validation and test of an enhancement run on two ranks: the curve and all tables of one, to the last bit."""

from __future__ import annotations

import csv
import importlib
import os
import random
import shutil
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from ranks import run_ranks
from resuming import Killed, build

from lobes.data.datasets import epoch_clock, examples
from lobes.models.bsrnn import BSRNN
from lobes.training.metric_gan import MetricGan
from lobes.training.shares import ShareOfBatches

RECIPE = Path(__file__).parents[2] / "recipes" / "VoiceBank"
RATE, ITEMS = 16000, {"train": 4, "valid": 3, "test": 3}
WEIGHTS = {"magnitude": 0.9, "phase": 0.3, "complex": 0.1, "time": 0.2, "consistency": 0.1}
TABLES = {f"{of}{ending}" for of in ("per_utterance", "summary") for ending in ("", "_noisy", "_pcs", "_noisy_pcs")}

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="ranks are forked"),
    pytest.mark.usefixtures("forks"),
]


@pytest.fixture
def enhancement(monkeypatch):
    """The Brain of the recipe, which can be killed at its first validation and counts what it separates."""
    monkeypatch.syspath_prepend(RECIPE)
    monkeypatch.delitem(sys.modules, "train", raising=False)
    recipe = importlib.import_module("train")

    class Mortal(recipe.Enhancement):
        dies, validated, tested = False, 0, 0

        def evaluate_batch(self, batch, stage):
            if self.dies:
                raise Killed
            self.validated += 1
            return super().evaluate_batch(batch, stage)

        def separate(self, batch):
            self.tested += 1
            return super().separate(batch)

    yield Mortal
    del sys.modules["train"]  # each recipe has one


def pairs(split):
    """Bursts of harmonics in noise, three quarters of a second each, by speakers of their own."""
    rng, time = np.random.default_rng(len(split)), np.arange(3 * RATE // 4) / RATE
    signals = {}
    for number in range(ITEMS[split]):
        tone = sum(np.sin(2 * np.pi * k * (110 + 30 * number) * time) / k for k in range(1, 12))
        clean = 0.1 * tone * np.clip(np.sin(2 * np.pi * 3 * time), 0, 1)
        noisy = clean + 0.02 * rng.standard_normal(len(time))
        signals[f"{split}{number}"] = noisy.astype(np.float32), clean.astype(np.float32)[:, None]
    rows = [{"ID": ID, "speaker": f"speaker of {ID}"} for ID in signals]
    return examples(rows, lambda ID: signals[ID])


def live(folder, brain_class, metric_start, dies=False, valid_batch_size=1):
    """One life of a run of one epoch: make a Brain, train, validate, test; returns it, dead or not."""
    torch.manual_seed(1)
    np.random.seed(1)
    random.seed(1)
    gan = MetricGan(partial(torch.optim.AdamW, lr=1e-3), metric_start, workers=1, sample_rate=RATE)
    keys = {"objective": "compressed", "loss_weights": WEIGHTS, "compress_power": 0.3, "compress_floor": 1e-9}
    keys |= {"metric_gan": gan, "metric_weight": 1.0, "sample_rate": RATE, "test_metrics": ["si_sdr", "pesq", "stoi"]}
    network = BSRNN(n_channels=8, n_layers=1, norms="local", start="passthrough")
    settings = {"lr": 0.01, "optimizer": torch.optim.Adam, "ckpt_interval_steps": 2, **keys}
    brain = build(folder, brain_class, network, valid_batch_size=valid_batch_size, **settings)
    brain.checkpointer.add_recoverable("metric_gan", gan)
    brain.dies = dies
    with suppress(Killed):
        brain.fit_and_test({split: pairs(split) for split in ITEMS}, epoch_clock())
    return brain


def curve(folder):
    """The row of the epoch, without time and memory, which are of one process."""
    with (folder / "learning_curve.csv").open(newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    return {name: value for name, value in row.items() if name not in ("seconds", "peak_megabytes")}


def tables(folder):
    """File -> the bytes of a table or a summary."""
    found = [*folder.glob("per_utterance*.csv"), *folder.glob("summary*.json")]
    return {path.stem: path.read_bytes() for path in found}


@pytest.mark.parametrize("valid_batch_size", [1, 2])
@pytest.mark.parametrize("metric_start", [None, 1], ids=["no discriminator", "discriminator"])
def test_the_curve_and_all_tables_are_those_of_one_rank(enhancement, tmp_path, metric_start, valid_batch_size):
    live(tmp_path / "one", enhancement, metric_start, dies=True)
    assert not (tmp_path / "one" / "learning_curve.csv").exists()
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    goes_on = {"brain_class": enhancement, "metric_start": metric_start, "valid_batch_size": valid_batch_size}
    live(tmp_path / "one", **goes_on)

    def work(rank):
        brain = live(tmp_path / "two", **goes_on)
        return brain.validated, brain.tested, brain.stopping.best

    (code, first), (other, second) = run_ranks(work, 2)
    assert (code, other) == (0, 0), (first, second)
    shares = [len(ShareOfBatches(3, valid_batch_size, rank, 2)) for rank in range(2)]
    assert [said[:2] for said in (first, second)] == [(share, share) for share in shares]
    assert first[2] == second[2] > 1, "both ranks choose the checkpoint by the same PESQ"
    assert curve(tmp_path / "one") == curve(tmp_path / "two") and "valid_stoi" in curve(tmp_path / "one")
    one, two = tables(tmp_path / "one"), tables(tmp_path / "two")
    assert set(one) == TABLES and one == two
    assert b"speaker of test2" in one["per_utterance_pcs"]
