"""The first result: files, figures, and what the screen says of them."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest

from lobes.data import audio
from lobes.errors import UserError
from lobes.metrics.measures import si_sdr

SCRIPT = Path(__file__).parents[2] / "recipes" / "hello.py"
FILES = {"mixture.wav", *(f"voice{n}_{kind}.wav" for n in (1, 2) for kind in ("separated", "true"))}


@pytest.fixture
def hello():
    spec = importlib.util.spec_from_file_location("hello", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def gains(screen):
    """In the mixture and after separation, as printed for each voice."""
    return [tuple(map(float, row)) for row in re.findall(r"voice \d: +(-?\d+\.\d) in .*?, +(-?\d+\.\d) after", screen)]


def test_the_files_are_what_the_screen_says(hello, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    hello.main(["--steps", "2"])
    folder, screen = tmp_path / "results" / "hello", capsys.readouterr().out
    assert {path.name for path in folder.iterdir()} == FILES and "in results/hello/" in screen.replace("\\", "/")
    assert f"{hello.NETWORK}, 2 steps in" in screen and "knows these two voices only" in screen
    signals = {path.stem: audio.read_mono(path, 8000) for path in folder.iterdir()}
    assert np.allclose(signals["voice1_true"] + signals["voice2_true"], signals["mixture"], atol=1e-3)
    for number, (before, after) in enumerate(gains(screen), 1):
        true = signals[f"voice{number}_true"]
        assert abs(si_sdr(signals["mixture"], true) - before) < 0.1
        assert abs(si_sdr(signals[f"voice{number}_separated"], true) - after) < 0.2


def test_the_test_has_other_sentences_than_the_training(hello, monkeypatch):
    said = []
    monkeypatch.setattr(hello, "speak", lambda lines: (said.append(lines), ([np.ones(100)] * len(lines), 8000))[1])
    for split in ("train", "test"):
        assert len(hello.make_voices(split)) == 2
    heard, unheard = ({line.text for line in lines} for lines in said)
    assert len(heard) == 30 and unheard and not heard & unheard
    assert all(len({line.voice for line in lines}) == 2 for lines in said)


def test_each_voice_gets_its_own_estimate(hello, tmp_path):
    rng = np.random.default_rng(0)
    sources = 0.05 * rng.standard_normal((8000, 2))
    estimates = (sources + 0.005 * rng.standard_normal((8000, 2)))[:, ::-1]
    for found in (estimates, estimates[:, ::-1]):
        scores = hello.write(tmp_path, sources, found)
        assert all(abs(before) < 1 and 18 < after < 22 for before, after in scores)
        assert si_sdr(audio.read_mono(tmp_path / "voice2_separated.wav", 8000), sources[:, 1]) > 18


def test_a_mistake_is_one_line(hello):
    with pytest.raises(UserError, match="--step. Did you mean '--steps'"):
        hello.main(["--step", "2"])


@pytest.mark.slow
def test_it_learns(hello, tmp_path, capsys):
    hello.main(["--output", str(tmp_path)])
    assert all(after - before > 4 for before, after in gains(capsys.readouterr().out))
