"""Small audio files as bytes, and what reading such bytes gives."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from lobes.data import audio

RATE = 8000


def sound(frames: int = 4000, channels: int = 1, seed: int = 0) -> np.ndarray:
    x = np.random.default_rng(seed).uniform(-0.3, 0.3, (frames, channels)).astype(np.float32)
    return x[:, 0] if channels == 1 else x


@pytest.fixture(scope="session")
def encoded():
    """encoded(container, subtype, frames, rate, channels, seed) -> bytes as libsndfile writes them."""

    def make(container, subtype=None, frames=4000, rate=RATE, channels=1, seed=0, **options):
        file = io.BytesIO()
        sf.write(file, sound(frames, channels, seed), rate, format=container, subtype=subtype, **options)
        return file.getvalue()

    return make


@pytest.fixture
def decoded(tmp_path):
    """decoded(bytes) -> samples by `audio.read`, whose number `audio.probe` must have said."""

    def read(content, name="a.bin"):
        path = tmp_path / name
        path.write_bytes(content)
        samples, rate = audio.read(path)
        info = audio.probe(path)
        assert (info.frames, info.sample_rate) == (len(samples), rate)
        assert audio.duration(path) == len(samples) / rate
        return samples

    return read


@pytest.fixture(scope="session")
def cases(root) -> Path:
    """The folder of cases from public reports; the test is skipped where there is none."""
    folder = root.parent / "shared" / "cases"
    if not folder.is_dir():
        pytest.skip("no folder of cases on this machine")
    return folder


def plainly(content: bytes) -> np.ndarray:
    """What libsndfile reads without help."""
    return sf.read(io.BytesIO(content), dtype="float32")[0]


@pytest.fixture(scope="session")
def plain():
    """plain(bytes) -> what libsndfile reads without help."""
    return plainly
