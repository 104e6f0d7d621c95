"""The test of an enhancement run: tables of the output and of the input, each also after PCS."""

import csv
import json

import numpy as np
import pytest
import speechbrain as sb
import torch

from lobes.metrics.measures import si_sdr
from lobes.metrics.pcs import pcs
from lobes.training.enhancement import EnhancementBrain

RATE = 16000


class Smooth(torch.nn.Module):
    """mix [B,T] -> the mean of neighbours [B,T,1]."""

    num_sources, sample_rate, causal = 1, RATE, True

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(0.5))

    def forward(self, mix, lengths=None):
        return (self.weight * (mix + mix.roll(1, 1)))[..., None]


class Enhancement(EnhancementBrain):
    def compute_forward(self, batch, stage):
        return self.modules.separator(*batch.mix_sig)


def column(path, name):
    with path.open(newline="") as file:
        return [float(row[name]) for row in csv.DictReader(file)]


def test_each_table_holds_the_scores_of_its_own_signals(tiny_brain, noises, tmp_path):
    data = noises([4000])
    brain = tiny_brain(Enhancement, Smooth(), sample_rate=RATE)
    brain.checkpointer.save_checkpoint({"pesq": 1.0, "step": 1})
    summary = brain.evaluate(data)
    mix, target = data[0]["mix_sig"].numpy(), data[0]["sources_sig"][:, 0].numpy()
    smooth = 0.5 * (mix + np.roll(mix, 1))
    signals = {"": smooth, "_noisy": mix, "_pcs": pcs(smooth), "_noisy_pcs": pcs(mix)}
    for ending, signal in signals.items():
        expected = si_sdr(signal, target)
        assert column(tmp_path / f"per_utterance{ending}.csv", "si_sdr") == [pytest.approx(expected, abs=1e-3)], ending
    assert len({round(si_sdr(signal, target), 2) for signal in signals.values()}) == 4
    assert summary["pcs"]["si_sdr"] == pytest.approx(si_sdr(pcs(smooth), target), abs=1e-3)
    assert json.loads((tmp_path / "summary.json").read_text()) == summary


class KilledInTheSave(Enhancement):
    def save_checkpoint(self, end_of_epoch, **options):
        raise InterruptedError


def test_the_picture_is_drawn_before_the_checkpoint_of_the_epoch(tiny_brain, tmp_path):
    brain = tiny_brain(KilledInTheSave, Smooth(), sample_rate=RATE)
    brain.init_optimizers()
    brain.budget.steps = 1
    brain.on_stage_start(sb.Stage.VALID, 1)
    with pytest.raises(InterruptedError):
        brain.on_stage_end(sb.Stage.VALID, 0.0, 1)
    assert (tmp_path / "learning_curve.png").is_file()  # a kill now loses neither: the next start makes the epoch again
