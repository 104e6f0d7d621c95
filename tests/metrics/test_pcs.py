"""PCS: the published tables, the formula, and what it does to the measures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lobes.data.audio import read_mono
from lobes.errors import UserError
from lobes.metrics.measures import pesq, si_sdr
from lobes.metrics.pcs import band_gains, pcs

REAL = Path(__file__).parents[3] / "shared" / "realdata" / "voicebank"


def test_the_tables_are_the_published_ones():
    first, later = band_gains(512), band_gains(400)
    marks = {0: 1.0, 2: 1.0, 3: 1.0702, 8: 1.1825, 11: 1.2877, 12: 1.4, 137: 1.4, 138: 1.3228, 199: 1.2386, 240: 1.1614}
    assert {k: round(float(first[k]), 4) for k in marks} == marks
    marks = {0: 1.0, 2: 1.0, 3: 1.0702, 7: 1.1825, 9: 1.2877, 10: 1.4, 109: 1.4, 110: 1.3228, 159: 1.2386, 189: 1.1614}
    assert {k: round(float(later[k]), 4) for k in marks} == marks
    assert first.shape == (257,) and later.shape == (201,) and first[256] == 1 and later[200].round(4) == 1.0772


def test_the_formula_by_numpy(voice):
    x = voice(0.2, rate=16000)
    window = 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(400) / 400)
    padded = np.pad(x, 200, mode="reflect")
    total, weight = np.zeros(len(padded)), np.zeros(len(padded))
    for start in range(0, len(padded) - 400 + 1, 100):
        spectrum = np.fft.rfft(padded[start : start + 400] * window)
        magnitude = np.expm1(band_gains(400) * np.log1p(np.abs(spectrum)))
        frame = np.fft.irfft(magnitude * np.exp(1j * np.angle(spectrum)), 400)
        total[start : start + 400] += window * frame
        weight[start : start + 400] += window**2
    expected = (total / weight)[200 : 200 + len(x)]
    assert np.allclose(pcs(x), expected / np.abs(expected).max(), atol=1e-9)


def test_silence_and_short_signals():
    assert not pcs(np.zeros(1000)).any()
    with pytest.raises(UserError, match="more than 200 samples"):
        pcs(np.zeros(100))
    with pytest.raises(UserError, match="512 or 400 samples, got 256"):
        pcs(np.zeros(1000), 256)


@pytest.mark.parametrize("n_fft", [400, 512])
def test_it_loses_si_sdr(voice, n_fft):
    clean = voice(1.0, rate=16000)
    noisy = clean + 0.01 * np.random.default_rng(1).standard_normal(len(clean))
    assert si_sdr(pcs(noisy, n_fft), clean) < si_sdr(noisy, clean)


@pytest.mark.skipif(not REAL.is_dir(), reason="no real recordings on this machine")
def test_real_noisy_speech_that_nobody_enhanced_gains_pesq_and_loses_si_sdr():
    """PESQ rises for every file; SI-SDR falls in the mean, though not where noise is as loud as speech."""
    pesq_gains, si_sdr_gains = [], []
    for path in sorted((REAL / "clean").glob("*.wav")):
        clean, noisy = (read_mono(REAL / kind / path.name, 16000) for kind in ("clean", "noisy"))
        pesq_gains.append(pesq(pcs(noisy), clean, 16000) - pesq(noisy, clean, 16000))
        si_sdr_gains.append(si_sdr(pcs(noisy), clean) - si_sdr(noisy, clean))
    assert min(pesq_gains) > 0 and np.mean(pesq_gains) > 0.2
    assert np.mean(si_sdr_gains) < -1
