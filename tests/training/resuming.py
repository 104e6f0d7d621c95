"""A training that draws random numbers wherever it can, and its kills at chosen batches."""

from __future__ import annotations

import csv
import logging
import os
import random
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import speechbrain as sb
import torch
from speechbrain.utils.epoch_loop import EpochCounter

from lobes.data.datasets import epoch_clock, examples
from lobes.data.seeding import item_rng
from lobes.objectives.separation import separation_loss
from lobes.runs.checkpointer import SafeCheckpointer as Checkpointer
from lobes.training.brain import SeparationBrain
from lobes.training.budget import Budget
from lobes.training.ranks import join_ranks

ITEMS, EPOCHS = 12, 3


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours catches it."""


class Dropping(torch.nn.Module):
    """mix [B,T] -> [B,T,1]: a filter of five samples, with dropout."""

    num_sources, sample_rate, causal = 1, 8000, False

    def __init__(self):
        super().__init__()
        self.filter = torch.nn.Conv1d(1, 1, 5, padding=2)
        self.dropout = torch.nn.Dropout(0.3)

    def forward(self, mix, lengths=None):
        return self.filter(self.dropout(mix)[:, None]).transpose(1, 2)


class Mortal(SeparationBrain):
    """Draws from the generators of numpy and Python too, and dies before or after a chosen batch of a stage."""

    dies_at: tuple[sb.Stage, int] | None = None  # the stage, and the batch in this life, from 1
    bad_items: frozenset[str] = frozenset()  # whose losses are no numbers

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.done = {}  # stage -> batches in this life

    def compute_forward(self, batch, stage):
        return self.modules.separator(*batch.mix_sig)

    def compute_objectives(self, predictions, batch, stage):
        mix, lengths = batch.mix_sig
        if stage != sb.Stage.TRAIN:
            self.count_scores(predictions, batch)
        loss = separation_loss(predictions, batch.sources_sig.data, lengths, mix, self.hparams.clamp_db).mean()
        if stage == sb.Stage.TRAIN:
            self.count_parts({"drawn": loss * np.random.rand()})
            loss = loss * (1 + 0.1 * np.random.rand() + 0.1 * random.random())
            loss = loss * float("nan") if self.bad_items & set(batch.id) else loss
        return loss

    def fit_batch(self, batch):
        self._count(sb.Stage.TRAIN)
        return super().fit_batch(batch)

    def evaluate_batch(self, batch, stage):
        self._count(stage)
        return super().evaluate_batch(batch, stage)

    def separate(self, batch):
        self._count(sb.Stage.TEST)
        return super().separate(batch)

    def _count(self, stage):
        self.done[stage] = self.done.get(stage, 0) + 1
        if self.dies_at == (stage, self.done[stage]):
            self.on_death()

    def on_death(self):
        raise Killed


def datasets(items=ITEMS):
    """Splits of noise, in training mixed anew in each epoch, and the clock."""
    clock = epoch_clock()
    rows = [{"ID": f"utt{number:02d}"} for number in range(items)]
    train = examples(rows, partial(_item, clock))
    others = {split: examples(rows[:3], partial(_item, None)) for split in ("valid", "test")}
    return {"train": train, **others}, clock


def _item(clock, ID):
    rng = item_rng(1, None if clock is None else int(clock), ID)
    target = rng.standard_normal(300).astype(np.float32)
    return target + 0.3 * rng.standard_normal(300).astype(np.float32), target[:, None]


def build(run, brain_class, network, lr=0.1, epochs=1, optimizer=torch.optim.SGD, **hparams):
    """A Brain with the keys of a recipe, whose run folder is `run`."""
    counter = EpochCounter(epochs)
    run.mkdir(parents=True, exist_ok=True)
    hparams = {
        "epoch_counter": counter, "budget": Budget(epochs), "patience": None, "pretrained_separator": None,
        "pretrained_revision": None,
        "lr_scheduler": None, "lr_scheduler_interval": "epoch", "warmup_steps": 0, "clamp_db": 30.0, "seed": 1,
        "output_folder": str(run), "train_log": str(run / "train_log.txt"), "n_audio_to_save": 0,
        "sample_rate": 8000, "test_metrics": ["si_sdr"], "scoring_workers": 0, "batch_size": 1,
        "valid_batch_size": 1, "num_workers": 0, **hparams,
    }  # fmt: skip
    checkpoints = Checkpointer(run / "save", {"separator": network, "counter": counter})
    options = {"device": "cpu", "noprogressbar": True, "distributed_backend": "gloo"}
    opt_class = partial(optimizer, lr=lr)
    return brain_class({"separator": network}, opt_class, hparams, options, checkpoints)


def live(folder, dies_at=None, cls=Mortal, network=Dropping, max_steps=None, seed=1, **options):
    """One life of a run: make a brain, train and test; returns it, dead or not."""
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)
    options = {"epochs": EPOCHS, "lr": 0.01, "optimizer": torch.optim.Adam, "ckpt_interval_steps": 3, **options}
    budget = Budget(options["epochs"], max_steps)
    brain = build(folder, cls, network(), budget=budget, seed=seed, **options)
    brain.dies_at = dies_at
    with suppress(Killed):
        brain.fit_and_test(*datasets())
    return brain


def live_on(folder, kills=(), **options):
    """As many lives of a run as kills, and the one that reaches its end."""
    for kill in kills:
        brain = live(folder, kill, **options)
        assert brain.done[kill[0]] == kill[1], "the kill has taken place"
    return live(folder, **options)


def weights(brain):
    """All parameters of a network in one vector."""
    return torch.cat([p.detach().flatten() for p in brain.separator.parameters()])


def curve(folder):
    """The rows of the learning curve without the time."""
    with (folder / "learning_curve.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def log(folder):
    """The lines of train_log.txt without the time."""
    return [re.sub(r" \d+ s:", "", line) for line in (folder / "train_log.txt").read_text().splitlines()]


def table(folder):
    """The results of the test."""
    return (folder / "per_utterance.csv").read_bytes() + (folder / "summary.json").read_bytes()


class SignalsAll(Mortal):
    """Sends SIGTERM to all processes of its group, as a scheduler does."""

    def on_death(self):
        subprocess.run(["kill", "-TERM", "--", f"-{os.getpgrp()}"])  # workers obey the main process
        time.sleep(1)  # until workers that obeyed it would have ended


class OfRanks(Mortal):
    """The last of several ranks gets a signal; in place of the test each leaves its weights."""

    def on_death(self):
        if int(os.environ["RANK"]) == int(os.environ["WORLD_SIZE"]) - 1:
            signal.raise_signal(signal.SIGTERM)

    def evaluate(self, *args, **kwargs):
        torch.save(weights(self), Path(self.hparams.output_folder) / f"rank{os.environ['RANK']}.pt")


class OfRanksOneKilled(OfRanks):
    """The last of several ranks is killed once."""

    def on_death(self):
        killed = Path(self.hparams.output_folder) / "killed"
        if int(os.environ["RANK"]) == int(os.environ["WORLD_SIZE"]) - 1 and not killed.exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)


if (
    __name__ == "__main__"
):  # resuming.py FOLDER BATCH [killed]: until a signal in this batch of the training, 0 for none
    when = (sb.Stage.TRAIN, int(sys.argv[2]))
    logging.basicConfig(level=logging.INFO)
    if "RANK" in os.environ:
        join_ranks("gloo")
        live(Path(sys.argv[1]), when, OfRanksOneKilled if "killed" in sys.argv else OfRanks)
    else:
        live(Path(sys.argv[1]), when, SignalsAll, num_workers=2)
