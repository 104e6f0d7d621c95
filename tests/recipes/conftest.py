"""For the recipe tests: a miniature corpus, made once, and a call of a recipe's main."""

import importlib
import logging
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from lobes.errors import exit_on_user_error
from lobes.polsess.corpus import make_corpus


def _voices(folder, speakers, rng):
    """Speakers as bursts of harmonics: enough for a recipe test, quick to make."""
    time = np.arange(16000) / 8000
    for speaker in range(speakers):
        (folder / f"t{speaker}").mkdir(parents=True)
        for utterance in range(2):
            pitch = 90 + 25 * speaker + 10 * rng.random()
            envelope = np.clip(np.sin(2 * np.pi * (2 + rng.random()) * time), 0, 1)
            wave = sum(np.sin(2 * np.pi * k * pitch * time) / k for k in range(1, 12))
            soundfile.write(folder / f"t{speaker}" / f"u{utterance}.wav", 0.1 * envelope * wave, 8000)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    """A PolSESS folder of 8, 4 and 4 examples of one second."""
    root = tmp_path_factory.mktemp("corpus")
    _voices(root / "speech", speakers=8, rng=np.random.default_rng(0))
    counts = {"train": 8, "val": 4, "test": 4}
    return make_corpus(root, "mini", speech=root / "speech", counts=counts, seconds=1.0, seed=1)


@pytest.fixture(scope="session")
def smallest_data(tmp_path_factory):
    """Recipe -> a data folder with two, one and one examples of half a second."""
    root, rng = tmp_path_factory.mktemp("smallest"), np.random.default_rng(0)
    _voices(root / "speech", speakers=6, rng=rng)
    counts = {"train": 2, "val": 1, "test": 1}
    mixtures = make_corpus(root, "mini", speech=root / "speech", counts=counts, seconds=0.5, seed=1)
    for folder, names in (("trainset_28spk_wav", ("p226_1", "p228_1", "p228_2")), ("testset_wav", ("p232_1",))):
        for kind in ("clean", "noisy"):
            (root / "voicebank" / f"{kind}_{folder}").mkdir(parents=True)
            for name in names:
                path = root / "voicebank" / f"{kind}_{folder}" / f"{name}.wav"
                soundfile.write(path, 0.1 * rng.standard_normal(8000), 16000)
    ready = {name: make_ready(root / name, name, rng) for name in LAYOUTS}
    return {"PolSESS": mixtures, "VoiceBank": root / "voicebank", **ready}


@pytest.fixture(scope="session")
def learnable(tmp_path_factory, corpus):
    """Recipe -> a data folder that a network learns from in some 60 steps."""
    root, rng = tmp_path_factory.mktemp("learnable"), np.random.default_rng(0)
    for split, items in (("train", 24), ("valid", 4), ("test", 6)):
        for number in range(items):
            _write_parts(root / "custom" / split, f"{number:02d}", _halves(rng))
    time = np.arange(8000) / 16000
    for folder, names in (
        ("trainset_28spk_wav", [f"p{226 + n // 6}_{n}" for n in range(18)]),
        ("testset_wav", ["p232_1"]),
    ):
        for name in names:
            clean = (
                0.1 * np.sign(np.sin(2 * np.pi * (100 + 60 * rng.random()) * time)) * (np.sin(2 * np.pi * 4 * time) > 0)
            )
            signals = {f"clean_{folder}": clean, f"noisy_{folder}": clean + 0.05 * rng.standard_normal(8000)}
            _write_parts(root / "voicebank", name, signals, 16000)
    return {"PolSESS": corpus, "custom": root / "custom", "VoiceBank": root / "voicebank"}


def _halves(rng):
    """A noise that is source 1 up to about its middle and source 2 from there on.

    Only time distinguishes the sources: without a memory, or with the targets shuffled, no mask gains anything.
    """
    mix, middle = 0.1 * rng.standard_normal(4000), int(rng.integers(1500, 2500))
    first = np.where(np.arange(4000) < middle, mix, 0)
    return {"mix": mix, "s1": first, "s2": mix - first}


def _write_parts(folder, name, signals, rate=8000):
    for part, signal in signals.items():
        (folder / part).mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / part / f"{name}.wav", signal, rate)


# Recipe -> folder of the splits, split -> (folder, stems), part -> folder. Speakers are in the stems.
LAYOUTS = {
    "LibriMix": (
        "wav8k/min",
        {
            "train-360": ("103-1-01_40-2-02", "103-1-03_60-2-04"),
            "dev": ("200-1-01_201-2-02",),
            "test": ("300-1-01_301-2-02",),
        },
        {"mix": "mix_clean", "s1": "s1", "s2": "s2"},
    ),
    "WSJ0Mix": (
        "wav8k/min",
        {
            "tr": ("050a0501_1.7_22go010u_-1.7", "050a0502_1.0_23go010u_-1.0"),
            "cv": ("050a0503_0.7_22go0102_-0.7",),
            "tt": ("440a0501_0.5_441o0102_-0.5",),
        },
        {"mix": "mix", "s1": "s1", "s2": "s2"},
    ),
    "custom": ("", {"train": ("a", "b"), "valid": ("c",), "test": ("d",)}, {"mix": "mix", "s1": "s1", "s2": "s2"}),
}


def make_ready(root, name, rng):
    """Mixtures of two noises, half a second each, in a data set's layout."""
    below, splits, parts = LAYOUTS[name]
    for split, stems in splits.items():
        for stem in stems:
            sources = 0.1 * rng.standard_normal((2, 4000))
            signals = {"mix": sources.sum(0), "s1": sources[0], "s2": sources[1]}
            for part, folder in parts.items():
                path = root / below / split / folder / f"{stem}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, signals[part], 8000)
    return root


@pytest.fixture
def recipe_module(monkeypatch):
    """recipe_module("VoiceBank", "voicebank_prepare"): a module of a recipe's folder, as its train.py imports it."""

    def load(recipe, name):
        monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "recipes" / recipe))
        monkeypatch.delitem(sys.modules, name, raising=False)
        return importlib.import_module(name)

    return load


@pytest.fixture
def train(recipe_module, monkeypatch):
    """train("PolSESS", *arguments): a recipe's main as its last lines call it; the session's logging is put back."""
    handlers = list(logging.getLogger().handlers)

    def call(recipe, *arguments):
        monkeypatch.chdir(Path(__file__).parents[2] / "recipes" / recipe)
        module = recipe_module(recipe, "train")
        with exit_on_user_error():
            module.main([str(argument) for argument in arguments])

    yield call
    logging.getLogger().handlers[:] = handlers


@pytest.fixture
def second_tests(monkeypatch):
    """second_tests(recipe): a stand-in for the second test of its realdata module; returns the folders tested."""

    def replace(module, maker):
        folders = []

        def test(run, manifest, device=None):
            out = run / "out_of_domain"
            out.mkdir(exist_ok=True)
            lines = ["id,speaker,speech,si_sdr,si_sdr_in,si_sdri,pesq,pesq_in,stoi,stoi_in,status"]
            lines += [f"u{n},s{n % 4},digits,{4 + n},{3 + n},1,2.5,2.{n % 2},0.75,0.5,ok" for n in range(8)]
            (out / "per_utterance.csv").write_text("\n".join(lines) + "\n")
            folders.append(run)
            return out

        monkeypatch.setattr(module.out_of_domain, "test", test)
        monkeypatch.setattr(module.out_of_domain, "sizes", lambda manifest: {"pairs": 8, "speakers": 4})
        monkeypatch.setattr(maker, "make_manifest", lambda *_: Path("test.csv"))
        return folders

    return replace
