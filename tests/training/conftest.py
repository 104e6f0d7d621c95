"""For the tests of a Brain: data in memory, and a Brain of a network of one weight that trains in milliseconds."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import speechbrain as sb

from lobes.data.datasets import examples
from lobes.objectives.separation import separation_loss
from lobes.training.brain import SeparationBrain


def _importable(name):
    """A module of this folder, so that the tests can import it."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


resuming, ranks = _importable("resuming"), _importable("ranks")


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

    def make(brain_class, network, *args, folder=".", **options):
        return resuming.build(tmp_path / folder, brain_class, network, *args, **options)

    return make


@pytest.fixture
def lives(tmp_path):
    """lives(folder, kills, **hparams): the last of as many lives as kills and one more, in a folder of its own."""

    def run(folder, kills=(), **options):
        return resuming.live_on(tmp_path / folder, kills, **options)

    return run


@pytest.fixture(scope="module")
def forks(request):
    """Ranks that can train. Where an earlier test has taken that from this process, a new one runs the whole file."""
    if not ranks.trains_in_a_fork():
        command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", str(request.path)]
        done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
        assert done.returncode == 0, done.stdout
        pytest.skip("ran in a process of its own: this one cannot train in a fork any more")
