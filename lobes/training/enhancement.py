"""The Brain of enhancement recipes: PESQ and STOI in validation, the input and PCS scored alongside in the test.

A recipe adds what its method section would mention: `compute_forward` and `compute_objectives`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import speechbrain as sb
import torch

from lobes.evaluation.job import ScoreJob
from lobes.evaluation.results import write_results
from lobes.evaluation.scoring import score_many
from lobes.metrics.pcs import LEAST, RATE, pcs
from lobes.metrics.utterance import INPUT, inputs_of, numbers_of
from lobes.runs.record import named
from lobes.runs.table import columns_of
from lobes.training.brain import SeparationBrain
from lobes.training.memory import peak_megabytes

SIGNAL = "signal"  # the condition that says which signal of a test item is scored
OUTPUT = "enhanced"
ALONGSIDE = ("noisy", "pcs", "noisy_pcs")  # the input, the output after PCS, the input after PCS: a table of each


class EnhancementBrain(SeparationBrain):
    """Train and test an enhancement model `modules.separator` with the model contract, S = 1.

    Validation computes `valid_metrics` of whole utterances in `hparams.scoring_workers` processes; the checkpoint with
    the highest PESQ is kept. The test also scores the noisy input, and both after PCS: a figure with PCS never stands
    alone.
    """

    monitor = "pesq"
    verb = "enhance"
    valid_metrics = ("pesq", "stoi", "si_sdr")

    def on_stage_start(self, stage: sb.Stage, epoch: int | None = None) -> None:
        """Start the list of what is to be scored."""
        super().on_stage_start(stage, epoch)
        if stage != sb.Stage.TRAIN:
            self.waiting: list[ScoreJob] = []

    def on_stage_end(self, stage: sb.Stage, stage_loss: float, epoch: int | None = None) -> None:
        """Score the validation set before the epoch is closed."""
        if stage == sb.Stage.VALID:
            for row in score_many(self.waiting, self.workers_for(len(self.waiting)), progress=False):
                self.meter.add([""], **{name: [row[name]] for name in self._numbers()})
            self.waiting = []
        super().on_stage_end(stage, stage_loss, epoch)

    def count_scores(self, estimates: torch.Tensor, batch: Any) -> None:
        """Keep a batch of a validation for the end of the stage: estimates [B,T,1]."""
        self.waiting += self.jobs(batch, estimates, self.valid_metrics)

    def valid_scores(self) -> dict[str, float]:
        """The loss, the scores, and the most memory so far."""
        scores = {f"valid_{name}": self.meter.mean(name) for name in self._numbers()}
        return {"valid_loss": self.valid_loss, **scores, "peak_megabytes": peak_megabytes(self.device)}

    def scores_in_words(self) -> str:
        """The scores for the log."""
        return ", ".join(named(name, self.meter.mean(name), ".3f") for name in self._numbers())

    def score(self, jobs: Iterator[ScoreJob], items: int) -> list[dict[str, Any]]:
        """Score output and input, each also after PCS."""
        signals = len((OUTPUT, *ALONGSIDE)) if self.hparams.sample_rate == RATE else 2
        return self.rows_of(with_input_and_pcs(jobs), signals * items)

    def report(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Write a table of each signal; the summary has the means of all."""
        folder = Path(self.hparams.output_folder)
        tables = {name: _only(rows, name) for name in (OUTPUT, *ALONGSIDE)}
        tables[OUTPUT] = _with_input(tables[OUTPUT], tables["noisy"])
        means = {name: write_results(tables[name], folder, of=name)["mean"] for name in ALONGSIDE}
        return write_results(tables[OUTPUT], folder, **means, **self.listener())

    def _numbers(self) -> list[str]:
        """The columns that the validation fills: the metrics, and the gain where a metric has one."""
        gains = [f"{name}i" for name in self.valid_metrics if name in ("si_sdr", "sdr")]
        return [name for name in numbers_of(self.valid_metrics) if name in (*self.valid_metrics, *gains)]


def with_input_and_pcs(jobs: Iterator[ScoreJob]) -> Iterator[ScoreJob]:
    """For each job: itself, the same with the noisy input, and both after PCS where that is defined."""
    for job in jobs:
        for name, after_pcs, signals in ((OUTPUT, "pcs", job.estimates), ("noisy", "noisy_pcs", job.mix[:, None])):
            yield replace(job, estimates=signals, conditions={**job.conditions, SIGNAL: name})
            if job.sample_rate == RATE and len(job.mix) >= LEAST and np.isfinite(signals).all():
                stretched = np.stack([pcs(x) for x in signals.T], 1)  # [T,S]
                yield replace(job, estimates=stretched, conditions={**job.conditions, SIGNAL: after_pcs})


def _with_input(rows: list[dict[str, Any]], noisy: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of the output with the numbers of the input, as `lobes.metrics.score` names them."""
    of = {row["id"]: row for row in noisy}
    numbers = inputs_of(columns_of(rows)[1])
    return [{**row, **{name: of[row["id"]].get(name.removesuffix(INPUT)) for name in numbers}} for row in rows]


def _only(rows: list[dict[str, Any]], signal: str) -> list[dict[str, Any]]:
    """The rows of one signal, without the condition that names it."""
    kept = (dict(row) for row in rows if row[SIGNAL] == signal)
    return [{key: value for key, value in row.items() if key != SIGNAL} for row in kept]
