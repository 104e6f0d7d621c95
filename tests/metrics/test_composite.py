"""CSIG, CBAK, COVL and SSNR against the definition written out frame by frame, lag by lag and band by band."""

from __future__ import annotations

import cmath
import math

import numpy as np
import pytest

from lobes.metrics import composite as fast

RATE = 16000
EPS = 2.220446049250313e-16


def frames(x, rate):
    """Frames of 30 ms every 7.5 ms under a Hann window that does not touch zero."""
    size = int(30 * rate / 1000)
    hop = size // 4
    window = [0.5 * (1 - math.cos(2 * math.pi * (i + 1) / (size + 1))) for i in range(size)]
    count = math.floor(len(x) / hop - size / hop)
    return [[x[m * hop + i] * window[i] for i in range(size)] for m in range(count)]


def predictor(frame, order):
    """Autocorrelation, and the prediction filter by solving the normal equations."""
    r = [sum(frame[i] * frame[i + lag] for i in range(len(frame) - lag)) for lag in range(order + 1)]
    matrix = np.array([[r[abs(i - j)] for j in range(order)] for i in range(order)])
    return r, [1.0, *(-np.linalg.solve(matrix, np.array(r[1:])))]


def llr(clean, processed, order):
    r, own = predictor(clean, order)
    _, other = predictor(processed, order)

    def error(a):
        return sum(a[i] * r[abs(i - j)] * a[j] for i in range(order + 1) for j in range(order + 1))

    return math.log(error(other) / error(own))


def bands(frame, rate):
    """Energies in dB in 25 bands, from a discrete Fourier transform of twice the frame, filled to a power of two."""
    half = 1
    while half < len(frame):
        half *= 2
    spectrum = np.abs(np.fft.fft(np.array([*frame, *[0.0] * (2 * half - len(frame))]))) ** 2
    energies = []
    for centre, width in zip(fast.CENTRES, fast.WIDTHS, strict=True):
        total = 0.0
        for k in range(half):
            distance = (k - math.floor(centre / (rate / 2) * half)) / (width / (rate / 2) * half)
            weight = math.exp(-11 * distance**2 + math.log(70.0) - math.log(width))
            if weight > math.exp(-30 / (2 * 2.303)):
                total += weight * spectrum[k]
        energies.append(10 * math.log10(max(total, 1e-10)))
    return energies


def slope_weights(energies):
    slopes = [energies[i + 1] - energies[i] for i in range(24)]
    weights = []
    for i in range(24):
        n = i
        if slopes[i] > 0:
            while n < 24 and slopes[n] > 0:
                n += 1
            peak = energies[n - 1]
        else:
            while n >= 0 and slopes[n] <= 0:
                n -= 1
            peak = energies[n + 1]
        weights.append(20 / (20 + max(energies) - energies[i]) * 1 / (1 + peak - energies[i]))
    return slopes, weights


def wss(clean, processed, rate):
    (s1, w1), (s2, w2) = (slope_weights(bands(frame, rate)) for frame in (clean, processed))
    weights = [(a + b) / 2 for a, b in zip(w1, w2, strict=True)]
    return sum(w * (a - b) ** 2 for w, a, b in zip(weights, s1, s2, strict=True)) / sum(weights)


def best(values):
    return sum(sorted(values)[: round(0.95 * len(values))]) / round(0.95 * len(values))


def slow(estimate, target, rate, pesq, divide):
    target, estimate = [x + EPS for x in target], [x + EPS for x in estimate]
    pairs = list(zip(frames(target, rate), frames(estimate, rate), strict=True))
    likelihood = best([llr(c, p, 16 if rate >= 10000 else 10) for c, p in pairs])
    scaled = [([x / divide for x in c], [x / divide for x in p]) for c, p in pairs]
    slopes = best([wss(c, p, rate) for c, p in scaled])
    snrs = []
    for c, p in pairs:
        noise = sum((a - b) ** 2 for a, b in zip(c, p, strict=True))
        snrs.append(min(35.0, max(-10.0, 10 * math.log10(sum(a * a for a in c) / (noise + EPS) + EPS))))
    snr = sum(snrs) / len(snrs)
    values = {
        "csig": 3.093 - 1.029 * likelihood + 0.603 * pesq - 0.009 * slopes,
        "cbak": 1.634 + 0.478 * pesq - 0.007 * slopes + 0.063 * snr,
        "covl": 1.594 + 0.805 * pesq - 0.512 * likelihood - 0.007 * slopes,
    }
    return {name: min(5.0, max(1.0, value)) for name, value in values.items()}, snr


def voice(rate, seconds=0.4, seed=0):
    """Something with a pitch and formants at the scale of 16 bits."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(rate * seconds)) / rate
    x = sum(np.sin(2 * np.pi * 120 * k * t + k) / (1 + abs(cmath.rect(k, 0) - 6)) for k in range(1, 25))
    x = x * (1.1 + np.sin(2 * np.pi * 4 * t)) + 0.02 * rng.standard_normal(len(t))
    return np.round(8000 * x / np.abs(x).max()) / 32768


@pytest.mark.parametrize("rate", [16000, 8000])
@pytest.mark.parametrize("scale, divide", [("loizou", 1.0), ("float", 32768.0)])
def test_the_definition_written_out(rate, scale, divide):
    target = voice(rate)
    estimate = np.round((0.7 * target + 0.02 * np.random.default_rng(1).standard_normal(len(target))) * 32768) / 32768
    expected, snr = slow(estimate.tolist(), target.tolist(), rate, 2.5, divide)
    got = fast.composite(estimate, target, rate, 2.5, scale)
    assert got == pytest.approx(expected, abs=1e-5)
    assert fast.ssnr(estimate, target, rate) == pytest.approx(snr, abs=1e-5)
    assert all(1 < value < 5 for value in got.values())


def test_the_other_scaling_flatters():
    target = voice(RATE, 1.0)
    estimate = target + 0.01 * np.random.default_rng(1).standard_normal(len(target))
    right, flattering = (fast.composite(estimate, target, RATE, 2.0, scale) for scale in ("loizou", "float"))
    assert all(flattering[name] > right[name] for name in right)


def test_clean_against_clean_is_five():
    target = voice(RATE, 1.0)
    assert fast.composite(target, target, RATE, 4.64) == {"csig": 5.0, "cbak": 5.0, "covl": 5.0}
    assert fast.ssnr(target, target, RATE) == 35.0


def test_values_stay_between_one_and_five():
    noise = np.random.default_rng(0).standard_normal(RATE)
    assert fast.composite(10 * noise, voice(RATE, 1.0), RATE, 1.0) == {"csig": 1.0, "cbak": 1.0, "covl": 1.0}


def test_digital_silence_inside_is_no_trouble():
    target = voice(RATE, 1.0)
    estimate = 0.9 * target
    target[4000:8000] = estimate[4000:8000] = 0
    values = fast.composite(estimate, target, RATE, 3.0)
    assert all(math.isfinite(value) for value in values.values())
