"""The figure of the README: drawn from what a test saved, and small."""

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
    make_figure.main([str(saved_item), "--output", str(saved_item / "figure.png")])
    assert (saved_item / "figure.png").read_bytes()[:4] == b"\x89PNG"


def test_figure_of_an_item_that_was_not_saved(make_figure, saved_item):
    with pytest.raises(UserError, match="holds 1 test items"):
        make_figure.read_item(saved_item, 1)


def test_figures_are_small():
    images = list((ROOT / "docs" / "images").iterdir())
    assert images and all(path.stat().st_size < 200_000 for path in images)
