"""The figure and the sound samples of the README: made from what a test saved, small, and as the README says."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest

from lobes.data import audio
from lobes.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def make_figure():
    spec = importlib.util.spec_from_file_location("make_figure", ROOT / "docs" / "make_figure.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def hello(tmp_path):
    """What make hello leaves: noise as the first voice, a noisier and a less noisy version of it."""
    rng = np.random.default_rng(0)
    target, noise = 0.1 * rng.standard_normal((2, 8000)).astype(np.float32)
    signals = {"voice1_true": target, "mixture": target + noise, "voice1_separated": target + 0.1 * noise}
    for name, signal in signals.items():
        audio.write(tmp_path / f"{name}.wav", signal, 8000)
    return tmp_path


def test_figure_and_samples_are_made_from_what_hello_leaves(make_figure, hello):
    signals, rate = make_figure.read_signals(hello)
    before, after, _ = make_figure.titles(signals, rate)
    assert re.fullmatch(r"two voices: SI-SDR -?0\.\d dB", before)
    assert re.fullmatch(r"the first, separated: SI-SDR (19|20)\.\d dB", after)
    make_figure.main([str(hello), "--output", str(hello / "figure.png"), "--samples", str(hello / "samples")])
    assert (hello / "figure.png").read_bytes()[:4] == b"\x89PNG"
    for name, signal in zip(make_figure.HEARD, signals, strict=False):
        heard, rate = audio.read(hello / "samples" / f"{name}.flac")
        assert rate == 8000 and np.array_equal(heard, signal)


def test_figure_without_what_hello_leaves(make_figure, tmp_path):
    with pytest.raises(UserError, match="there is no mixture.wav, voice1_separated.wav, voice1_true.wav"):
        make_figure.read_signals(tmp_path)


def test_samples_are_what_the_readme_says(make_figure):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    seconds, kilohertz = re.search(r"\*([\d.]+) s at (\d+) kHz", text).groups()
    assert sorted(path.name for path in make_figure.SAMPLES.iterdir()) == sorted(
        f"{name}.flac" for name in make_figure.HEARD
    )
    waves = []
    for name in make_figure.HEARD:
        path = make_figure.SAMPLES / f"{name}.flac"
        found = audio.probe(path)
        assert (f"{found.seconds:.1f}", found.sample_rate, found.channels) == (seconds, 1000 * int(kilohertz), 1)
        assert path.stat().st_size < 100_000 and f"docs/samples/{name}.flac" in text
        waves.append(audio.read(path)[0])
    mixture, separated = waves
    assert 0.4 < separated.std() / mixture.std() < 1 and np.abs(waves).max() < 0.99  # one of two voices; nothing clips


def test_figures_are_small():
    images = list((ROOT / "docs" / "images").iterdir())
    assert images and all(path.stat().st_size < 200_000 for path in images)
