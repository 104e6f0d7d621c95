"""Single measures of one estimate against one target: a true number, or a `MetricError` with the reason.

All take two finite numpy vectors of T samples, the target not silent, and import their library when first
called. Legend: T samples.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

TINY = float(np.finfo(np.float64).tiny)
LIMIT_DB = 100.0  # dB values are kept within +-100: beyond, they measure rounding, and JSON has no infinity
FILTER_LENGTH = 512  # taps of the distortion filter that BSS-eval's SDR allows
PESQ_MODES = {8000: "nb", 16000: "wb"}
PESQ_RATES = {"nb": (8000, 16000), "wb": (16000,)}
PESQ_SECONDS = 20.0
STOI_TOO_SHORT = 1e-5  # what pystoi returns instead of raising
QUIETEST = 1e-3  # of the peaks that pystoi gets as they are
COMPOSITE_SECONDS = 0.05  # one frame of 30 ms and two hops, rounded up


class MetricError(Exception):
    """This metric has no value for this item; the message is the reason, fit for a status column."""


def si_sdr(estimate: np.ndarray, target: np.ndarray) -> float:
    """Scale-invariant SDR in dB, both signals at zero mean, kept within -100 (also where one is silent) and 100.

    Example
    -------
    >>> target = np.sin(np.arange(8000.0))
    >>> round(si_sdr(target + 0.1 * np.cos(np.arange(8000.0)), target))
    20

    Source: Le Roux et al. 2019, "SDR - half-baked or well done?", eq. 5.
    """
    estimate, target = at_unit_peak(estimate), at_unit_peak(target)
    part = estimate @ target / max(target @ target, TINY) * target
    rest = estimate - part
    return to_db(part @ part, rest @ rest)


def sdr(estimate: np.ndarray, target: np.ndarray) -> float:
    """SDR of BSS-eval in dB, which forgives a filter of 512 taps; means are left in. By torchmetrics.

    Source: Vincent et al. 2006; Scheibler 2021, "SDR - medium rare with fast computations".
    """
    if len(target) < 2 * FILTER_LENGTH:
        raise MetricError("too short")  # the filter would explain anything
    import torch
    from torchmetrics.functional.audio import signal_distortion_ratio

    if si_sdr(estimate, target) >= LIMIT_DB:
        return LIMIT_DB  # a gain is a filter, so SDR is no lower; torchmetrics gives NaN for identical signals
    # torchmetrics takes norms below 1e-6 for silence and returns a number all the same: give it unit peaks
    pair = [torch.from_numpy(x / np.abs(x).max()) for x in (estimate, target)]
    return limited(float(signal_distortion_ratio(pair[0], pair[1], filter_length=FILTER_LENGTH)))


def snr(estimate: np.ndarray, target: np.ndarray) -> float:
    """SNR in dB: the energy of the target by that of the difference, means left in, kept within -100 and 100.

    The level of the estimate counts, and so does its sign.

    Example
    -------
    >>> target = np.sin(np.arange(8000.0))
    >>> round(snr(0.9 * target, target), 6)
    20.0
    """
    estimate, target = (np.asarray(x, np.float64) / max(float(np.abs(target).max()), TINY) for x in (estimate, target))
    rest = target - estimate
    return to_db(float(target @ target), float(rest @ rest))


def pesq(estimate: np.ndarray, target: np.ndarray, sample_rate: int) -> float:
    """PESQ as MOS-LQO: narrow band (P.862.1) at 8 kHz, wide band (P.862.2) at 16 kHz."""
    if sample_rate not in PESQ_MODES:
        raise MetricError(f"not defined at {sample_rate} Hz")
    return _pesq(estimate, target, sample_rate, PESQ_MODES[sample_rate])


def pesq_nb(estimate: np.ndarray, target: np.ndarray, sample_rate: int) -> float:
    """Narrow-band PESQ (P.862.1), of signals at 8 or 16 kHz."""
    return _pesq(estimate, target, sample_rate, "nb")


def pesq_wb(estimate: np.ndarray, target: np.ndarray, sample_rate: int) -> float:
    """Wide-band PESQ (P.862.2), of signals at 16 kHz alone."""
    return _pesq(estimate, target, sample_rate, "wb")


def _pesq(estimate: np.ndarray, target: np.ndarray, sample_rate: int, mode: str) -> float:
    if sample_rate not in PESQ_RATES[mode]:
        raise MetricError(f"not defined at {sample_rate} Hz")
    if len(target) > PESQ_SECONDS * sample_rate:
        # The C code has room for 50 stretches of speech and kills the process when there are more (seen
        # from 60 s on). A stretch and its pause take 0.4 s at least, so 20 s are safe.
        raise MetricError(f"longer than {PESQ_SECONDS:g} s")
    from pesq import PesqError
    from pesq import pesq as mos

    levelled = [(x / np.abs(x).max()).astype(np.float32) for x in (target, estimate)]
    # the other setting, RETURN_VALUES, returns -1 as if it were a score
    rule = PesqError.RAISE_EXCEPTION
    return finite(float(mos(sample_rate, levelled[0], levelled[1], mode, on_error=rule)))


def stoi(estimate: np.ndarray, target: np.ndarray, sample_rate: int) -> float:
    """Short-time objective intelligibility, about 0 to 1: pystoi's value, with means left in.

    An offset in the target decides which of its frames count as silent, as in pystoi and the published code.

    Source: Taal et al. 2011.
    """
    return _intelligibility(estimate, target, sample_rate, extended=False)


def estoi(estimate: np.ndarray, target: np.ndarray, sample_rate: int) -> float:
    """Extended STOI, which is also right for maskers that come and go, about 0 to 1; otherwise as `stoi`.

    pystoi adds noise from numpy's global generator in the last bits, which digital silence makes audible (0.003).

    Source: Jensen and Taal 2016.
    """
    return _intelligibility(estimate, target, sample_rate, extended=True)


def ssnr(estimate: np.ndarray, target: np.ndarray, sample_rate: int) -> float:
    """Segmental SNR in dB: the mean over frames of 30 ms, each kept within -10 and 35."""
    from lobes.metrics import composite

    _long_enough(target, sample_rate)
    return finite(composite.ssnr(estimate, target, sample_rate))


def composites(estimate: np.ndarray, target: np.ndarray, sample_rate: int) -> dict[str, float]:
    """CSIG, CBAK and COVL in both scalings of `lobes.metrics.composite`, which take this PESQ."""
    from lobes.metrics.composite import composite

    _long_enough(target, sample_rate)
    quality = pesq(estimate, target, sample_rate)
    endings: dict[Any, str] = {"loizou": "", "float": "_float"}
    return {
        name + ending: finite(value)
        for scale, ending in endings.items()
        for name, value in composite(estimate, target, sample_rate, quality, scale).items()
    }


def _long_enough(target: np.ndarray, sample_rate: int) -> None:
    if len(target) < COMPOSITE_SECONDS * sample_rate:
        raise MetricError("too short")


def _intelligibility(estimate: np.ndarray, target: np.ndarray, sample_rate: int, extended: bool) -> float:
    from pystoi import stoi as intelligibility

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        try:
            value = float(intelligibility(_scaled(target), _scaled(estimate), sample_rate, extended))
        except IndexError as error:  # fewer samples than one frame
            raise MetricError("too short") from error
    if value == STOI_TOO_SHORT:
        raise MetricError("too short")
    return finite(value)


def _scaled(x: np.ndarray) -> np.ndarray:
    """Scale an extreme level to a peak of one, since pystoi adds constants to energies; fp64, and the mean stays."""
    x = np.asarray(x, np.float64)
    peak = np.abs(x).max()
    return x if peak == 0 or QUIETEST < peak < 1 / QUIETEST else x / peak


def at_unit_peak(x: np.ndarray) -> np.ndarray:
    """Remove the mean and scale the peak to one, in fp64; a constant gives zeros."""
    x = np.asarray(x, np.float64)
    centred = x - x.mean()
    peak = np.abs(centred).max()
    rounding = 1e-12 * np.abs(x).max()
    return centred / peak if peak > rounding else np.zeros_like(x)


def to_db(signal: float, noise: float) -> float:
    """Ratio of two energies in dB, kept within -100 and 100."""
    if signal <= 0:
        return -LIMIT_DB  # also for nothing over nothing: a silent estimate is no perfect one
    return limited(10 * math.log10(signal / noise)) if noise > 0 else LIMIT_DB


def limited(value: float) -> float:
    """Keep a dB value within -100 and 100; NaN is an error."""
    if math.isnan(value):
        raise MetricError("not finite")
    return min(max(value, -LIMIT_DB), LIMIT_DB)


def finite(value: float) -> float:
    """Pass a finite value; anything else is an error."""
    if not math.isfinite(value):
        raise MetricError("not finite")
    return value
