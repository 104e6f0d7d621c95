"""DNSMOS P.835 and P.808: what listeners are predicted to say of a signal, without a reference.

The networks come with the package `speechmos` (MIT), whose own code needs librosa. This is written from its definition
and equal to it to 1e-4. T samples, L frames, F bins, K bands.

Source: Reddy et al. 2021, "DNSMOS", arXiv:2010.15258; Reddy et al. 2022, "DNSMOS P.835", arXiv:2110.01763.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from lobes.metrics.measures import finite
from lobes.metrics.onnx_models import at_rate, file_of, remembering, session

RATE = 16000  # Hz
SECONDS = 9.01  # that the networks hear at once; the next time one second later
SAMPLES = int(SECONDS * RATE)
FRAME, HOP, BANDS = 321, 160, 120  # of the spectrogram for P.808
RANGE_DB = 80.0  # of that spectrogram, below its loudest bin
LEAST_POWER = 1e-10
# From the network's scale to that of listeners, highest power first.
POLYNOMIALS = {
    "dnsmos_sig": (-0.08397278, 1.22083953, 0.0052439),
    "dnsmos_bak": (-0.13166888, 1.60915514, -0.39604546),
    "dnsmos_ovrl": (-0.06766283, 1.11546468, 0.04602535),
}


@remembering
def dnsmos(x: np.ndarray, sample_rate: int) -> dict[str, float]:
    """Predicted opinions of a signal, about 1 to 5, as means over stretches of 9.01 s that start a second apart.

    A shorter signal is repeated. A signal beyond full scale is taken at a peak of one, as the package refuses it.

    Arguments
    ---------
    x : array [T]
        At the level at which it would be heard: the networks are not indifferent to it.
    sample_rate : int
        In Hz; other rates than 16 kHz are resampled.

    Returns
    -------
    dict
        dnsmos_sig, dnsmos_bak and dnsmos_ovrl (P.835: speech, background, both), dnsmos_p808 (P.808).

    Raises
    ------
    MetricError
        Silence, a rate below 8 kHz, or a package that is not installed.

    Example
    -------
    >>> found = dnsmos(0.1 * np.sin(np.arange(16000) / 5).astype(np.float32), 16000)
    >>> list(found), 1 < found["dnsmos_ovrl"] < 3
    (['dnsmos_sig', 'dnsmos_bak', 'dnsmos_ovrl', 'dnsmos_p808'], True)
    """
    p835, p808 = (
        session(file_of("speechmos", "dnsmos_models", name)) for name in ("sig_bak_ovr.onnx", "model_v8.onnx")
    )
    x = at_rate(x, sample_rate, RATE)
    x = x / max(1.0, float(np.abs(x).max()))
    places = [start % len(x) for start in starts(len(x))]  # of a signal that repeats, stretches may be equal
    scores = {}
    for start in dict.fromkeys(places):
        part = np.take(x, np.arange(start, start + SAMPLES), mode="wrap")  # [SAMPLES]
        raw = p835.run(None, {"input_1": part[None]})[0][0]
        mapped = [np.polyval(POLYNOMIALS[name], value) for name, value in zip(POLYNOMIALS, raw, strict=True)]
        bands = spectrogram(part[:-HOP]).astype(np.float32)
        scores[start] = [*mapped, p808.run(None, {"input_1": bands[None]})[0][0][0]]
    means = np.array([scores[start] for start in places], np.float64).mean(0)
    return {name: finite(float(value)) for name, value in zip((*POLYNOMIALS, "dnsmos_p808"), means, strict=True)}


def of_estimate(estimate: np.ndarray, target: np.ndarray, sample_rate: int) -> dict[str, float]:
    """`dnsmos` of the estimate [T] alone, called as all measures are."""
    return dnsmos(estimate, sample_rate)


def starts(samples: int) -> list[int]:
    """The first sample of each stretch that counts, of a signal of so many samples.

    The package doubles a signal until it is long enough, and counts stretches by whole seconds. It takes the end of a
    stretch as `int((n + 9.01) * 16000)`, which for some n rounding makes a sample too early; those it leaves out.

    Example
    -------
    >>> starts(5 * 16000), starts(12 * 16000)
    ([0], [0, 16000, 32000])
    >>> 7 * 16000 in starts(20 * 16000)
    False
    """
    while samples < SAMPLES:
        samples *= 2
    hops = int(samples // RATE - SECONDS) + 1
    return [hop * RATE for hop in range(hops) if int((hop + SECONDS) * RATE) - hop * RATE >= SAMPLES]


def spectrogram(x: np.ndarray) -> np.ndarray:
    """Mel spectrogram [L,K] of a signal [T] in units of 40 dB, at most one, as librosa makes it for the package."""
    padded = np.pad(x.astype(np.float64), FRAME // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::HOP]  # [L,FRAME]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FRAME) / FRAME)
    power = np.square(np.abs(np.fft.rfft(frames * window))) @ mel_bands().T  # [L,K]
    level = 10 * np.log10(np.maximum(power, LEAST_POWER))
    level -= level.max()
    return (np.maximum(level, -RANGE_DB) + 40) / 40


@lru_cache(maxsize=1)
def mel_bands() -> np.ndarray:
    """Triangles [K,F] on Slaney's mel scale from 0 to 8 kHz, each of area one.

    Source: Slaney 1998, "Auditory toolbox", technical report 1998-010: linear below 1 kHz, logarithmic above.
    """
    least, step = 1000.0, np.log(6.4) / 27
    mels = np.linspace(0, 15 + np.log(RATE / 2 / least) / step, BANDS + 2)
    edges = np.where(mels < 15, mels * 200 / 3, least * np.exp(step * np.maximum(mels - 15, 0)))  # [K + 2] in Hz
    bins = np.fft.rfftfreq(FRAME, 1 / RATE)  # [F]
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    triangles = np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre))
    return np.maximum(triangles, 0) * 2 / (high - low)
