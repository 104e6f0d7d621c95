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
def run(tmp_path):
    """A run that saved three items: noise as the speech, and noise on it that the network lowers by 6, 40 and 20 dB."""
    rng = np.random.default_rng(0)
    target, noise = 0.1 * rng.standard_normal((2, 8000)).astype(np.float32)
    for item, share in (("a", 0.5), ("b", 0.01), ("c", 0.1)):
        for name, signal in {"s1": target, "mix": target + noise, "s1_hat": target + share * noise}.items():
            audio.write(tmp_path / "audio" / item / f"{name}.wav", signal, 8000)
    return tmp_path


def test_figure_and_samples_are_those_of_the_median_item(make_figure, run):
    signals, rate = make_figure.median_item(run)
    before, after, _ = make_figure.titles(signals, rate)
    assert re.fullmatch(r"speech in noise: SI-SDR -?0\.\d dB", before)
    assert re.fullmatch(r"enhanced: SI-SDR (19|20)\.\d dB", after)
    make_figure.main([str(run), "--output", str(run / "figure.png"), "--samples", str(run / "samples")])
    assert (run / "figure.png").read_bytes()[:4] == b"\x89PNG"
    for name, signal in zip(make_figure.HEARD, signals, strict=False):
        heard, rate = audio.read(run / "samples" / f"{name}.flac")
        assert rate == 8000 and np.array_equal(heard, signal)


def test_figure_without_what_the_demo_leaves(make_figure, tmp_path):
    with pytest.raises(UserError, match="expected what `make demo` leaves, and there is no test item"):
        make_figure.median_item(tmp_path)


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
    mixture, enhanced = waves
    assert 0.4 < enhanced.std() / mixture.std() < 1 and np.abs(waves).max() < 0.99  # less noise; nothing clips


def test_figures_are_small():
    images = list((ROOT / "docs" / "images").iterdir())
    assert images and all(path.stat().st_size < 200_000 for path in images)
