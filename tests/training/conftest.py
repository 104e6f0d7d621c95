"""For the tests of a Brain: data in memory, and a Brain of a network of one weight that trains in milliseconds."""

from __future__ import annotations

import numpy as np
import pytest
import speechbrain as sb
import torch
from speechbrain.utils.checkpoints import Checkpointer
from speechbrain.utils.epoch_loop import EpochCounter

from lobes.data.datasets import examples
from lobes.objectives.separation import separation_loss
from lobes.training.brain import SeparationBrain
from lobes.training.budget import Budget


class SeparatorBrain(SeparationBrain):
    """The method of the recipes for separation."""

    def compute_forward(self, batch, stage):
        return self.modules.separator(*batch.mix_sig)

    def compute_objectives(self, predictions, batch, stage):
        mix, lengths = batch.mix_sig
        if stage != sb.Stage.TRAIN:
            self.count_scores(predictions, batch)
        return separation_loss(predictions, batch.sources_sig.data, lengths, mix, self.hparams.clamp_db).mean()


@pytest.fixture
def separator_brain():
    return SeparatorBrain


@pytest.fixture
def noises():
    """noises([T, T ...]): a dataset of so many items, each a target at an offset and itself in noise at 20 dB."""

    def make(lengths, offset=0.0):
        rng = np.random.default_rng(0)
        signals = {f"utt{number}": rng.standard_normal((2, n)).astype(np.float32) for number, n in enumerate(lengths)}

        def item(ID):
            target = signals[ID][0] + np.float32(offset)
            return target + 0.1 * signals[ID][1], target[:, None]

        return examples([{"ID": ID} for ID in signals], item)

    return make


@pytest.fixture
def tiny_brain(tmp_path):
    """tiny_brain(class, network, lr, epochs, folder, **hparams): a Brain whose run folder is in the test's own."""

    def make(brain_class, network, lr=0.1, epochs=1, folder=".", **hparams):
        counter, run = EpochCounter(epochs), tmp_path / folder
        run.mkdir(exist_ok=True)
        hparams = {
            "epoch_counter": counter, "budget": Budget(epochs), "patience": None, "pretrained_separator": None,
            "pretrained_revision": None,
            "lr_scheduler": None, "lr_scheduler_interval": "epoch", "warmup_steps": 0, "clamp_db": 30.0, "seed": 1,
            "output_folder": str(run), "train_log": str(run / "train_log.txt"), "n_audio_to_save": 0,
            "sample_rate": 8000, "test_metrics": ["si_sdr"], "scoring_workers": 0, **hparams,
        }  # fmt: skip
        checkpoints = Checkpointer(run / "save", {"separator": network, "counter": counter})
        options = {"device": "cpu", "noprogressbar": True}
        sgd = lambda groups: torch.optim.SGD(groups, lr)  # noqa: E731
        return brain_class({"separator": network}, sgd, hparams, options, checkpoints)

    return make
