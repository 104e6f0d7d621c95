"""The Brain of enhancement recipes: PESQ and STOI in validation, and a table and a curve of every epoch.

A recipe adds what its method section would mention: `compute_forward` and `compute_objectives`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import speechbrain as sb
import torch
from speechbrain.utils.distributed import if_main_process

from lobes.evaluation.results import with_audio, write_results
from lobes.evaluation.scoring import ScoreJob, score_many
from lobes.metrics.pcs import LEAST, RATE, pcs
from lobes.training.brain import SeparationBrain
from lobes.training.memory import peak_megabytes
from lobes.training.testing import jobs_of

VALID = ("pesq", "stoi", "si_sdr", "si_sdri")
PARTS = ("magnitude", "phase", "complex", "time", "consistency", "published", "metric", "discriminator")
# What a test scores beside the output: the noisy input, and both after PCS. Each gets a table of its own.
BESIDE = ("noisy", "pcs", "noisy_pcs")


class EnhancementBrain(SeparationBrain):
    """Train and test an enhancement model `modules.separator` with the model contract, S = 1.

    Validation computes PESQ, STOI and SI-SDR of whole utterances in `hparams.scoring_workers` processes; the checkpoint
    with the highest PESQ is kept. `metrics.csv` has a row for every epoch, `metrics.png` shows them. The test also
    scores the noisy input, and both after PCS: a figure with PCS never stands alone.
    """

    monitor = "pesq"
    curve_file = "metrics.csv"
    curve_columns = (
        "step", "seconds", "epoch", "train_loss", *(f"train_{name}" for name in PARTS), "valid_loss",
        *(f"valid_{name}" for name in VALID), "grad_norm", "skipped", "lr", "peak_megabytes",
    )  # fmt: skip

    def on_stage_start(self, stage: sb.Stage, epoch: int | None = None) -> None:
        """Start the sums of the losses, or the list of what is to be scored."""
        super().on_stage_start(stage, epoch)
        if stage == sb.Stage.TRAIN:
            self.parts: dict[str, list[float]] = defaultdict(list)
        else:
            self.jobs: list[ScoreJob] = []

    def on_stage_end(self, stage: sb.Stage, stage_loss: float, epoch: int | None = None) -> None:
        """Score the validation set before the epoch is closed."""
        if stage == sb.Stage.VALID:
            self._valid_loss = stage_loss
            for row in score_many(self.jobs, workers=self.hparams.scoring_workers, progress=False):
                self.meter.add([row["variant"]], **{name: [row[name]] for name in VALID})
            self.jobs = []
        super().on_stage_end(stage, stage_loss, epoch)
        if stage == sb.Stage.VALID and if_main_process():
            self.curve.plot(("train_loss", "valid_loss", "valid_pesq", "valid_stoi", "valid_si_sdr"))

    def count_scores(self, estimates: torch.Tensor, batch: Any) -> None:
        """Keep a batch of a validation for the end of the stage: estimates [B,T,1]."""
        metrics = ("pesq", "stoi", "si_sdr")
        self.jobs += jobs_of(batch, estimates, self.improves(batch), self.hparams.sample_rate, metrics)

    def count_parts(self, parts: dict[str, torch.Tensor]) -> None:
        """Add the parts of a training loss to their means over the epoch."""
        for name, value in parts.items():
            self.parts[name].append(float(value.detach().mean()))

    def valid_scores(self) -> dict[str, float]:
        """What the row holds beside the loss: its parts, the scores, and the most memory so far."""
        parts = {f"train_{name}": sum(values) / len(values) for name, values in self.parts.items()}
        scores = {f"valid_{name}": self.meter.mean(name) for name in VALID}
        return {**parts, "valid_loss": self._valid_loss, **scores, "peak_megabytes": peak_megabytes(self.device)}

    def scores_in_words(self) -> str:
        """The scores for the log."""
        pesq, stoi, si_sdr, gain = (self.meter.mean(name) for name in VALID)
        missing = f", {self.meter.missing} numbers missing" if self.meter.missing else ""
        return f"PESQ {pesq:.3f}, STOI {stoi:.3f}, SI-SDR {si_sdr:.2f} dB (gain {gain:.2f}){missing}"

    def report(self, jobs: Iterator[ScoreJob]) -> dict[str, Any]:
        """Score output and input, each also after PCS: a table of each; the summary has the means of all."""
        h, folder = self.hparams, Path(self.hparams.output_folder)
        jobs = with_audio(jobs, folder / "audio", h.n_audio_to_save)
        rows = score_many(beside_input_and_pcs(jobs), workers=h.scoring_workers)
        tables = {k: [{**row, "variant": "all"} for row in rows if row["variant"] == k] for k in ("enhanced", *BESIDE)}
        means = {name: write_results(tables[name], folder, f"_{name}")["mean"] for name in BESIDE}
        return write_results(tables["enhanced"], folder, beside=means)


def beside_input_and_pcs(jobs: Iterator[ScoreJob]) -> Iterator[ScoreJob]:
    """For each job: itself, the same with the noisy input, and both after PCS where that is defined."""
    for job in jobs:
        for name, signals in (("enhanced", job.estimates), ("noisy", job.mix[:, None])):
            yield replace(job, variant=name, estimates=signals)
            if job.sample_rate == RATE and len(job.mix) >= LEAST and np.isfinite(signals).all():
                variant = "pcs" if name == "enhanced" else f"{name}_pcs"
                yield replace(job, variant=variant, estimates=np.stack([pcs(x) for x in signals.T], 1))  # [T,S]
