"""Single measures: the oracle's values, and an error with a reason wherever a library would give a false number."""

import math

import numpy as np
import pytest

from lobes.metrics import measures
from lobes.metrics.measures import LIMIT_DB, MetricError

RATE = 8000


@pytest.mark.parametrize("snr_db", [-20, 0, 20])
def test_si_sdr_and_sdr_equal_torchmetrics(voice, snr_db):
    import torch
    from torchmetrics.functional.audio import (
        scale_invariant_signal_noise_ratio,
        signal_distortion_ratio,
    )

    target = voice() + 0.05
    estimate = 2 * target + 10 ** (-snr_db / 20) * voice(seed=1) - 0.3
    pair = torch.from_numpy(estimate), torch.from_numpy(target)
    assert measures.si_sdr(estimate, target) == pytest.approx(scale_invariant_signal_noise_ratio(*pair).item())
    assert measures.sdr(estimate, target) == pytest.approx(signal_distortion_ratio(*pair).item(), abs=1e-6)


@pytest.mark.parametrize("level", [1e-8, 1e-4, 1e4, 1e8])
@pytest.mark.parametrize("name", ["si_sdr", "sdr", "pesq", "stoi"])
def test_level_does_not_matter(voice, name, level):
    target = voice()
    estimate = target + 0.3 * voice(seed=1)
    rate = () if name in ("si_sdr", "sdr") else (RATE,)
    measure = getattr(measures, name)
    assert measure(level * estimate, target, *rate) == pytest.approx(measure(estimate, target, *rate), abs=1e-4)
    assert measure(estimate, level * target, *rate) == pytest.approx(measure(estimate, target, *rate), abs=1e-4)


def test_sdr_forgives_a_filter_and_si_sdr_does_not(voice):
    target = voice()
    estimate = np.convolve(target, [0.2, 1.0, -0.4], "full")[: len(target)]
    assert measures.sdr(estimate, target) > measures.si_sdr(estimate, target) + 20


@pytest.mark.parametrize("gain", [1.0, -0.5, 1e-6])
def test_identical_signals_reach_the_limit(voice, gain):
    """torchmetrics' SDR is NaN there."""
    target = voice()
    assert measures.si_sdr(gain * target, target) == LIMIT_DB
    assert measures.sdr(gain * target, target) == LIMIT_DB


def test_orthogonal_signals_reach_the_lower_limit():
    wave = 2 * np.pi * np.arange(8000) / 100
    assert measures.si_sdr(np.cos(wave), np.sin(wave)) == -LIMIT_DB
    assert measures.si_sdr(np.sin(wave), 0 * wave) == measures.si_sdr(0 * wave, np.sin(wave)) == -LIMIT_DB
    assert measures.to_db(0.0, 0.0) == -LIMIT_DB
    assert measures.to_db(0.0, 1.0) == -LIMIT_DB and measures.to_db(1.0, 0.0) == LIMIT_DB


def test_pesq_orders_and_knows_its_rates(voice):
    target = voice(2)
    good, bad = (measures.pesq(target + gain * voice(2, seed=1), target, RATE) for gain in (0.01, 1.0))
    assert 1 <= bad < good <= 4.55
    wide = voice(2, rate=16000)
    assert measures.pesq(wide, wide, 16000) > 4.5
    with pytest.raises(MetricError, match="44100 Hz"):
        measures.pesq(target, target, 44100)


def test_pesq_is_not_asked_for_what_kills_it():
    """Bursts of 0.5 s over 60 s end the process by a segmentation fault in PESQ 0.0.4."""
    minute = np.random.default_rng(0).standard_normal(60 * RATE) * (np.arange(60 * RATE) // 4000 % 2)
    with pytest.raises(MetricError, match="longer than 20 s"):
        measures.pesq(minute, minute, RATE)


def test_pesq_raises_and_never_returns_minus_one(voice):
    from pesq import PesqError

    short = voice(0.2)
    with pytest.raises(PesqError):
        measures.pesq(short, short, RATE)


@pytest.mark.parametrize("samples", [1, 10, 100, 800, 2000])
def test_stoi_too_short(voice, samples):
    """pystoi warns and returns 1e-5, or fails on its own slices."""
    x = voice()[1000 : 1000 + samples]
    with pytest.raises(MetricError, match="too short"):
        measures.stoi(x + 1e-3, x, RATE)


def test_stoi_of_the_target_is_one_and_falls_with_noise(voice):
    target = voice(2)
    values = [measures.stoi(target + gain * voice(2, seed=1), target, RATE) for gain in (0.0, 0.5, 5.0)]
    assert values[0] == pytest.approx(1.0, abs=1e-6) and values[0] > values[1] > values[2]


@pytest.mark.parametrize("extended", [False, True])
@pytest.mark.parametrize("offsets", [(0, 0), (0.02, 0.02), (0.02, 0), (0, 0.02), (-0.3, 0.1)])
@pytest.mark.parametrize("quiet", [0, 1.0])
def test_stoi_equals_pystoi(voice, extended, offsets, quiet):
    """An offset, also in front of digital silence, decides in pystoi which frames are silent: it stays."""
    from pystoi import stoi

    silence = np.zeros(int(quiet * RATE))
    target = np.concatenate([silence, voice(2)]) + offsets[0]
    estimate = np.concatenate([silence, voice(2) + 0.3 * voice(2, seed=1)]) + offsets[1]
    np.random.seed(0)  # pystoi adds noise in the last bits, which is all there is of silence
    ours = (measures.estoi if extended else measures.stoi)(estimate, target, RATE)
    np.random.seed(0)
    assert ours == pytest.approx(stoi(target, estimate, RATE, extended), abs=1e-5)


@pytest.mark.parametrize("samples", [1, 100, 1023])
def test_sdr_too_short_for_its_filter(voice, samples):
    with pytest.raises(MetricError, match="too short"):
        measures.sdr(voice()[:samples], voice(seed=1)[:samples])


def test_nan_is_an_error():
    for check in (measures.limited, measures.finite):
        with pytest.raises(MetricError, match="not finite"):
            check(math.nan)


def test_at_unit_peak(voice):
    assert not measures.at_unit_peak(np.full(100, 0.1)).any()
    assert not measures.at_unit_peak(np.zeros(1)).any()
    assert np.abs(measures.at_unit_peak(1e-200 * voice() + 1e-203)).max() == 1.0
