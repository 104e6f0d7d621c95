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
def saved_item(tmp_path):
    """A run folder whose test saved one item: noise as the target, a noisier and a less noisy version of it."""
    rng = np.random.default_rng(0)
    target, noise = 0.1 * rng.standard_normal((2, 8000)).astype(np.float32)
    for name, signal in {"s1": target, "mix": target + noise, "s1_hat": target + 0.1 * noise}.items():
        audio.write(tmp_path / "audio" / "a" / f"{name}.wav", signal, 8000)
    return tmp_path


def test_figure_is_drawn_from_a_run(make_figure, saved_item):
    signals, rate = make_figure.read_item(saved_item, 0)
    before, after, _ = make_figure.titles(signals, rate)
    assert re.fullmatch(r"mixture: SI-SDR -?0\.\d dB", before) and re.fullmatch(
        r"enhanced: SI-SDR (19|20)\.\d dB", after
    )
    make_figure.main([str(saved_item), "--output", str(saved_item / "figure.png"), "--samples", str(saved_item)])
    assert (saved_item / "figure.png").read_bytes()[:4] == b"\x89PNG"
    for made, saved in {"mixture": "mix", "enhanced": "s1_hat"}.items():
        (heard, rate), (wave, _) = (
            audio.read(saved_item / f"{made}.flac"),
            audio.read(saved_item / "audio" / "a" / f"{saved}.wav"),
        )
        assert rate == 8000 and np.array_equal(heard, wave)


def test_figure_of_an_item_that_was_not_saved(make_figure, saved_item):
    with pytest.raises(UserError, match="holds 1 test items"):
        make_figure.read_item(saved_item, 1)


def test_samples_are_what_the_readme_says(make_figure):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    seconds, kilohertz = map(int, re.search(r"\*(\d+) s at (\d+) kHz", text).groups())
    assert sorted(path.name for path in make_figure.SAMPLES.iterdir()) == sorted(
        f"{name}.flac" for name in make_figure.HEARD
    )
    waves = []
    for name in make_figure.HEARD:
        path = make_figure.SAMPLES / f"{name}.flac"
        found = audio.probe(path)
        assert (found.seconds, found.sample_rate, found.channels) == (seconds, 1000 * kilohertz, 1)
        assert path.stat().st_size < 100_000 and f"docs/samples/{name}.flac" in text
        waves.append(audio.read(path)[0])
    mixture, enhanced = waves
    gain = enhanced @ mixture / (enhanced @ enhanced)
    assert abs(gain - 1) < 0.02  # at the level that fits the mixture
    assert (
        0.3 < enhanced.std() / mixture.std() < 1 and np.abs(enhanced).max() < 0.99
    )  # noise is gone, and nothing clips


def test_figures_are_small():
    images = list((ROOT / "docs" / "images").iterdir())
    assert images and all(path.stat().st_size < 200_000 for path in images)
