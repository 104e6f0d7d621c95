"""Log-spectral distance: how far two power spectra are apart in dB. L frames, F bins, T samples."""

from __future__ import annotations

import numpy as np

from lobes.metrics.measures import MetricError, finite

SECONDS, OVERLAP = 0.032, 4  # of a frame, under a periodic Hann window; frames a quarter of that apart
RANGE_DB = 50.0  # below the target's loudest bin all is taken to be equally quiet


def lsd(estimate: np.ndarray, target: np.ndarray, sample_rate: int) -> float:
    """Log-spectral distance in dB, 0 or more, lower is better; the level of the estimate counts.

    The mean over frames of the root mean square over bins of `10 log10 max(|X|^2, d) - 10 log10 max(|Y|^2, d)`, where X
    is the target, Y the estimate and d lies 50 dB below the largest |X|^2.

    Arguments
    ---------
    estimate, target : array [T]
    sample_rate : int
        In Hz.

    Raises
    ------
    MetricError
        For less than one frame of 32 ms, or a silent target.

    Example
    -------
    >>> x = np.random.default_rng(0).standard_normal(16000)
    >>> lsd(x, x, 16000), round(lsd(x / 10, x, 16000))
    (0.0, 20)

    Source: Gray and Markel 1976, "Distance measures for speech processing"; limited to 50 dB as in Cohen and Gannot
    2008, "Spectral enhancement methods", Springer Handbook of Speech Processing.
    """
    clean, processed = (power_spectrum(x, sample_rate) for x in (target, estimate))
    least = clean.max(initial=0.0) * 10 ** (-RANGE_DB / 10)
    if not least > 0:
        raise MetricError("too short" if not clean.size else "silent target")
    difference = 10 * np.log10(np.maximum(clean, least) / np.maximum(processed, least))  # [L,F]
    return finite(float(np.sqrt(np.square(difference).mean(1)).mean()))


def power_spectrum(x: np.ndarray, sample_rate: int) -> np.ndarray:
    """Power [L,F] of the whole frames of a signal [T]; none where it is shorter than a frame."""
    size = round(SECONDS * sample_rate)
    if len(x) < size:
        return np.empty((0, size // 2 + 1))
    frames = np.lib.stride_tricks.sliding_window_view(np.asarray(x, np.float64), size)[:: size // OVERLAP]  # [L,size]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    return np.square(np.abs(np.fft.rfft(frames * window)))  # [L,F]
