"""The composite measures of speech enhancement: CSIG, CBAK, COVL, and what they are made of.

Source: Hu and Loizou 2008, "Evaluation of objective quality measures for speech enhancement", in the form of Loizou's
composite.m, which published tables follow. Frames are 30 ms long, 7.5 ms apart, under a Hann window. Legend: T samples,
M frames, W samples of a frame, P order.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

Scale = Literal["loizou", "float"]
KEPT = 0.95  # LLR and WSS are means over this share of the frames, the best ones
EPS = float(np.finfo(np.float64).eps)
LOWEST_SNR, HIGHEST_SNR = -10.0, 35.0  # dB, of a frame
LEAST_ENERGY = 1e-10
GLOBAL_PEAK, LOCAL_PEAK = 20.0, 1.0  # Klatt's constants of the spectral distance
# Centre and width in Hz of the critical bands.
CENTRES = (
    50.0, 120.0, 190.0, 260.0, 330.0, 400.0, 470.0, 540.0, 617.372, 703.378, 798.717, 904.128, 1020.38, 1148.30,
    1288.72, 1442.54, 1610.70, 1794.16, 1993.93, 2211.08, 2446.71, 2701.97, 2978.04, 3276.17, 3597.63,
)  # fmt: skip
WIDTHS = (
    70.0, 70.0, 70.0, 70.0, 70.0, 70.0, 70.0, 77.3724, 86.0056, 95.3398, 105.411, 116.256, 127.914, 140.423, 153.823,
    168.154, 183.457, 199.776, 217.153, 235.631, 255.255, 276.072, 298.126, 321.465, 346.136,
)  # fmt: skip


def composite(
    estimate: np.ndarray, target: np.ndarray, sample_rate: int, pesq: float, wss_scale: Scale = "loizou"
) -> dict[str, float]:
    """CSIG, CBAK and COVL, each between 1 and 5.

    Arguments
    ---------
    estimate, target : array [T]
        With a full scale of 1.
    sample_rate : int
        In Hz.
    pesq : float
        PESQ of the estimate.
    wss_scale : str
        "loizou": as defined. "float": as computed by a tool that many papers of 2022 to 2025 used, which divides the
        samples by 32768 once more; it flatters CSIG, CBAK and COVL by about 0.1.

    Returns
    -------
    dict
        csig, cbak, covl.

    Example
    -------
    >>> x = np.random.default_rng(0).standard_normal(16000) / 10
    >>> composite(x, x, 16000, pesq=4.64)
    {'csig': 5.0, 'cbak': 5.0, 'covl': 5.0}
    """
    estimate, target = (np.asarray(x, np.float64) + EPS for x in (estimate, target))
    llr = best_mean(log_likelihood_ratios(estimate, target, sample_rate))
    shrink = {"loizou": 1.0, "float": 32768.0}[wss_scale]
    wss = best_mean(spectral_slope_distances(estimate / shrink, target / shrink, sample_rate))
    ssnr = float(segmental_snrs(estimate, target, sample_rate).mean())
    values = {
        "csig": 3.093 - 1.029 * llr + 0.603 * pesq - 0.009 * wss,
        "cbak": 1.634 + 0.478 * pesq - 0.007 * wss + 0.063 * ssnr,
        "covl": 1.594 + 0.805 * pesq - 0.512 * llr - 0.007 * wss,
    }
    return {name: float(np.clip(value, 1.0, 5.0)) for name, value in values.items()}


def ssnr(estimate: np.ndarray, target: np.ndarray, sample_rate: int) -> float:
    """Segmental SNR in dB: the mean over frames, each kept within -10 and 35.

    Example
    -------
    >>> x = np.random.default_rng(0).standard_normal(16000)
    >>> round(ssnr(0.9 * x, x, 16000), 3)
    20.0
    """
    estimate, target = (np.asarray(x, np.float64) + EPS for x in (estimate, target))
    return float(segmental_snrs(estimate, target, sample_rate).mean())


def best_mean(distances: np.ndarray) -> float:
    """Mean of the smallest 95 %."""
    return float(np.sort(distances)[: round(KEPT * len(distances))].mean())


def frames_of(x: np.ndarray, sample_rate: int) -> np.ndarray:
    """Frames [M, W] under the window; none where `x` [T] is shorter than two hops and a frame."""
    size = round(30 * sample_rate / 1000)
    hop = size // 4
    count = int(len(x) / hop - size / hop)
    if count < 1:
        return np.empty((0, size))
    window = 0.5 * (1 - np.cos(2 * np.pi * np.arange(1, size + 1) / (size + 1)))
    return np.lib.stride_tricks.sliding_window_view(x, size)[: count * hop : hop] * window


def segmental_snrs(estimate: np.ndarray, target: np.ndarray, sample_rate: int) -> np.ndarray:
    """SNR in dB of each frame [M]."""
    clean, processed = (frames_of(x, sample_rate) for x in (target, estimate))
    signal, noise = np.square(clean).sum(1), np.square(clean - processed).sum(1)
    return np.clip(10 * np.log10(signal / (noise + EPS) + EPS), LOWEST_SNR, HIGHEST_SNR)


def log_likelihood_ratios(estimate: np.ndarray, target: np.ndarray, sample_rate: int) -> np.ndarray:
    """For each frame [M] the log of how much worse the estimate's predictor fits the clean frame than its own."""
    order = 10 if sample_rate < 10000 else 16
    clean, processed = (autocorrelations(frames_of(x, sample_rate), order) for x in (target, estimate))  # [M, P + 1]
    lags = np.abs(np.subtract.outer(np.arange(order + 1), np.arange(order + 1)))

    def error(predictor: np.ndarray) -> np.ndarray:
        return np.einsum("mi,mij,mj->m", predictor, clean[:, lags], predictor)

    return np.log(error(predictors(processed)) / error(predictors(clean)))


def autocorrelations(frames: np.ndarray, order: int) -> np.ndarray:
    """Autocorrelation of frames [M, W] at the lags 0 .. order: [M, P + 1]."""
    size = frames.shape[1]
    return np.stack([(frames[:, : size - k] * frames[:, k:]).sum(1) for k in range(order + 1)], 1)


def predictors(correlations: np.ndarray) -> np.ndarray:
    """Levinson and Durbin's recursion: autocorrelations [M, P + 1] to prediction filters [1, -a1 .. -aP]."""
    count, order = correlations.shape[0], correlations.shape[1] - 1
    a, error = np.zeros((count, order)), correlations[:, 0].copy()
    for i in range(order):
        past = a[:, :i].copy()
        reflection = (correlations[:, i + 1] - (past * correlations[:, i:0:-1]).sum(1)) / error
        a[:, i] = reflection
        a[:, :i] = past - reflection[:, None] * past[:, ::-1]
        error = (1 - np.square(reflection)) * error
    return np.concatenate((np.ones((count, 1)), -a), 1)


def spectral_slope_distances(estimate: np.ndarray, target: np.ndarray, sample_rate: int) -> np.ndarray:
    """Klatt's weighted spectral slope distance of each frame [M]."""
    clean, processed = (band_energies(frames_of(x, sample_rate), sample_rate) for x in (target, estimate))
    slopes = [np.diff(energies, axis=1) for energies in (clean, processed)]  # [M, 24]
    weights = (slope_weights(clean, slopes[0]) + slope_weights(processed, slopes[1])) / 2
    return (weights * np.square(slopes[0] - slopes[1])).sum(1) / weights.sum(1)


def band_energies(frames: np.ndarray, sample_rate: int) -> np.ndarray:
    """Energy of frames [M, W] in the 25 critical bands in dB: [M, 25]."""
    half = 2 ** int(np.ceil(np.log2(2 * frames.shape[1]))) // 2
    centres, widths = (np.array(x)[:, None] / (sample_rate / 2) * half for x in (CENTRES, WIDTHS))
    distances = (np.arange(half) - np.floor(centres)) / widths
    shapes = np.exp(-11 * np.square(distances)) * (WIDTHS[0] / np.array(WIDTHS))[:, None]
    shapes = np.where(shapes > np.exp(-30 / (2 * 2.303)), shapes, 0)  # [25, half]
    power = np.square(np.abs(np.fft.rfft(frames, 2 * half)[:, :half]))
    return 10 * np.log10(np.maximum(power @ shapes.T, LEAST_ENERGY))


def slope_weights(energies: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    """Weight of each slope [M, 24]: large near the highest peak and near the peak that the slope leads to."""
    below_highest = energies.max(1, keepdims=True) - energies[:, :-1]
    below_nearest = nearest_peaks(energies, slopes) - energies[:, :-1]
    return GLOBAL_PEAK / (GLOBAL_PEAK + below_highest) * LOCAL_PEAK / (LOCAL_PEAK + below_nearest)


def nearest_peaks(energies: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    """Energy of the peak that each slope leads to: upwards where it rises, downwards where it falls [M, 24].

    On the way up composite.m stops one band before the peak. So does this, since the weights of published figures do.
    """
    peaks, bands = np.empty_like(slopes), slopes.shape[1]
    above = energies[:, bands - 1]  # where a rise to the last band ends
    for i in range(bands - 1, -1, -1):
        if i < bands - 1:
            above = np.where(slopes[:, i + 1] > 0, above, energies[:, i])
        peaks[:, i] = above
    below = energies[:, 0]
    for i in range(bands):
        if i > 0:
            below = np.where(slopes[:, i - 1] <= 0, below, energies[:, i])
        peaks[:, i] = np.where(slopes[:, i] > 0, peaks[:, i], below)
    return peaks
