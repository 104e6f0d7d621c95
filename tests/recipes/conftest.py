"""A miniature corpus for the recipe tests, made once."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from lobes.data.corpus import make_corpus


def _voices(folder, talkers, rng):
    """Talkers as bursts of harmonics: enough for a recipe test, quick to make."""
    time = np.arange(16000) / 8000
    for talker in range(talkers):
        (folder / f"t{talker}").mkdir(parents=True)
        for utterance in range(2):
            pitch = 90 + 25 * talker + 10 * rng.random()
            envelope = np.clip(np.sin(2 * np.pi * (2 + rng.random()) * time), 0, 1)
            wave = sum(np.sin(2 * np.pi * k * pitch * time) / k for k in range(1, 12))
            soundfile.write(folder / f"t{talker}" / f"u{utterance}.wav", 0.1 * envelope * wave, 8000)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    """A PolSESS folder of 8, 4 and 4 examples of one second."""
    root = tmp_path_factory.mktemp("corpus")
    _voices(root / "speech", talkers=8, rng=np.random.default_rng(0))
    counts = {"train": 8, "val": 4, "test": 4}
    return make_corpus(root, "mini", speech=root / "speech", counts=counts, seconds=1.0, seed=1)


@pytest.fixture(scope="session")
def smallest_data(tmp_path_factory):
    """Recipe -> a data folder with two, one and one examples of half a second."""
    root, rng = tmp_path_factory.mktemp("smallest"), np.random.default_rng(0)
    _voices(root / "speech", talkers=6, rng=rng)
    counts = {"train": 2, "val": 1, "test": 1}
    mixtures = make_corpus(root, "mini", speech=root / "speech", counts=counts, seconds=0.5, seed=1)
    for folder, names in (("trainset_28spk_wav", ("p226_1", "p228_1", "p228_2")), ("testset_wav", ("p232_1",))):
        for kind in ("clean", "noisy"):
            (root / "voicebank" / f"{kind}_{folder}").mkdir(parents=True)
            for name in names:
                path = root / "voicebank" / f"{kind}_{folder}" / f"{name}.wav"
                soundfile.write(path, 0.1 * rng.standard_normal(8000), 16000)
    return {"PolSESS": mixtures, "VoiceBank": root / "voicebank"}


@pytest.fixture
def recipe_module(monkeypatch):
    """recipe_module("VoiceBank", "voicebank_prepare"): a module of a recipe's folder, as its train.py imports it."""

    def load(recipe, name):
        monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "recipes" / recipe))
        monkeypatch.delitem(sys.modules, name, raising=False)
        return importlib.import_module(name)

    return load
