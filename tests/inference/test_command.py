"""`lobes separate` and `lobes enhance` with their options: exit codes, pipes, level."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from lobes import cli
from lobes.data import audio

RATE = 8000
MODEL = "lobes_command_test:make"
SOURCE = """
import torch

class Model:
    sample_rate = 8000
    def __init__(self, sources): self.num_sources = sources
    def __call__(self, mix): return torch.stack([9 * mix / (n + 2) for n in range(self.num_sources)])

def make(sources="2"): return Model(int(sources))
"""


@pytest.fixture
def lobes(monkeypatch: pytest.MonkeyPatch, capsys, tmp_path: Path) -> Callable[..., tuple[int, str, str]]:
    (tmp_path / "lobes_command_test.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)

    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["lobes", *map(str, words)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        return int(caught.value.code or 0), *capsys.readouterr()

    return call


def put(path: Path, samples: int = 4000) -> np.ndarray:
    x = np.random.default_rng(samples).uniform(-0.3, 0.3, samples)
    audio.write(path, x, RATE)
    return audio.read(path)[0]


def test_T2_17_a_folder_then_the_same_again(lobes, tmp_path):
    for name in ("in/a.wav", "in/b/c.wav"):
        put(tmp_path / name)
    words = ("separate", MODEL, "in", "-o", "out", "--recursive", "--format", "flac", "--device", "cpu")
    code, out, err = lobes(*words)
    assert code == 0 and err.endswith("2 files done\n")
    assert sorted(out.split()) == [f"out/{name}_s{n}.flac" for name in ("a", "b/c") for n in (1, 2)]
    assert lobes(*words)[1:] == ("", "0 files done, 2 finished before and skipped\n")
    (tmp_path / "in/bad.wav").write_text("hello")
    code, out, err = lobes(*words)
    assert code == 1 and not out and "1 failed:\n  in/bad.wav: is not a readable audio file" in err


def test_level_and_chunks(lobes, tmp_path):
    x = put(tmp_path / "a.wav", 20000)
    for more, gain in (((), 1.0), (("--level", "model"), 7.5), (("--chunk_s", "1"), 1.0)):
        code, out, _ = lobes("separate", MODEL, "a.wav", "-o", "out", "--device", "cpu", *more)
        assert code == 0
        total = sum(audio.read(tmp_path / name)[0] for name in out.split())
        assert np.abs(total - gain * x).max() < 1e-4 * gain
    code, _, err = lobes("separate", MODEL, "a.wav", "-o", "out", "--level", "loud")
    assert code == 2 and err.startswith("error: level: expected mixture or model, got 'loud'")


def test_strength(lobes, tmp_path):
    x = put(tmp_path / "a.wav")
    code, out, _ = lobes("enhance", f"{MODEL}=1", "a.wav", "-o", "out", "--strength", "0", "--device", "cpu")
    assert code == 0 and np.array_equal(audio.read(tmp_path / out.strip())[0], x)
    code, _, err = lobes("enhance", f"{MODEL}=1", "a.wav", "-o", "out", "--strength", "2")
    assert code == 2 and "--strength 2: expected 0" in err


def test_pipe(lobes, tmp_path, monkeypatch):
    x = put(tmp_path / "a.wav")
    result = io.BytesIO()

    class Standard:
        def __init__(self, buffer):
            self.buffer = buffer

    monkeypatch.setattr(sys, "stdin", Standard(io.BytesIO((tmp_path / "a.wav").read_bytes())))
    monkeypatch.setattr("lobes.inference.pipes._standard_output", lambda: result)
    code, _, _ = lobes("separate", MODEL, "-", "--device", "cpu")
    y, rate = sf.read(io.BytesIO(result.getvalue()))
    assert code == 0 and rate == RATE and y.shape == (len(x), 2)
    assert np.abs(y.sum(1) - x).max() < 1e-4
    code, _, err = lobes("separate", MODEL, "-", "-o", "out")
    assert code == 2 and "standard output" in err
    code, _, err = lobes("separate", MODEL, "a.wav")
    assert code == 2 and "--out" in err
