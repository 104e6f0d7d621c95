"""The log-spectral distance equals its formula, written out frame by frame and bin by bin."""

import math

import numpy as np
import pytest

from lobes.data import audio
from lobes.metrics import score
from lobes.metrics.log_spectra import lsd
from lobes.metrics.measures import MetricError


def slow_lsd(estimate, target, rate):
    size = round(0.032 * rate)
    window = [math.sin(math.pi * n / size) ** 2 for n in range(size)]
    transform = np.exp(-2j * np.pi * np.outer(np.arange(size // 2 + 1), np.arange(size)) / size)

    def powers(x):
        starts = range(0, len(x) - size + 1, size // 4)
        return [[abs(z) ** 2 for z in transform @ (np.array(window) * x[start : start + size])] for start in starts]

    clean, processed = powers(target), powers(estimate)
    least = max(max(frame) for frame in clean) / 10**5
    distances = []
    for one, two in zip(clean, processed, strict=True):
        squares = [
            (10 * math.log10(max(a, least)) - 10 * math.log10(max(b, least))) ** 2
            for a, b in zip(one, two, strict=True)
        ]
        distances.append(math.sqrt(sum(squares) / len(squares)))
    return sum(distances) / len(distances)


@pytest.mark.parametrize(("rate", "samples"), [(8000, 3001), (16000, 2048), (44100, 4410)])
def test_the_formula(voice, rate, samples):
    target = voice(1, rate=rate)[:samples]
    estimate = 0.7 * target + 0.2 * voice(1, 1, rate)[:samples]
    assert lsd(estimate, target, rate) == pytest.approx(slow_lsd(estimate, target, rate), rel=1e-9)


def test_the_formula_on_a_real_recording(realdata):
    pair = [audio.read_mono_with_rate(realdata / f"voicebank/{kind}/p287_001.wav")[0] for kind in ("noisy", "clean")]
    noisy, clean = (x[8000:16000].astype(np.float64) for x in pair)
    assert lsd(noisy, clean, 16000) == pytest.approx(slow_lsd(noisy, clean, 16000), rel=1e-9)


def test_level_counts_and_silence_is_as_far_as_the_range(voice):
    target = voice()
    assert lsd(target, target, 8000) == 0
    assert 10 < lsd(10 * target, target, 8000) <= 20
    assert lsd(0 * target, target, 8000) < 50


def test_no_value(voice):
    for wave, reason in ((voice()[:255], "too short"), (np.zeros(8000), "silent target")):
        with pytest.raises(MetricError, match=reason):
            lsd(wave + 1e-3, wave, 8000)


def test_row(scene):
    row = score(*scene(), 8000, ["lsd", "snr"], inputs={})
    assert row["status"] == "ok" and row["lsd"] < row["lsd_in"] and row["snr"] > row["snr_in"]
