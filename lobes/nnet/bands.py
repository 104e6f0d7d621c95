"""Widths of the bands of a spectrum. F bins, K bands."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import groupby

from lobes.errors import UserError, did_you_mean

FIXED = (2, *[3] * 10, *[8] * 12, *[16] * 7, 17)  # 257 bins in 31 bands


def _bark(hz: float) -> float:
    return 26.81 * hz / (1960 + hz) - 0.53  # Traunmüller 1990


def _erb(hz: float) -> float:
    return 21.4 * math.log10(1 + 0.00437 * hz)  # Glasberg and Moore 1990


def _mel(hz: float) -> float:
    return 2595 * math.log10(1 + hz / 700)


_SCALES: dict[str, Callable[[float], float]] = {"bark": _bark, "erb": _erb, "mel": _mel}
SPLITS = ("fixed", *_SCALES)


def band_widths(split: str = "fixed", n_bins: int = 257, sample_rate: int = 16000, n_bands: int = 31) -> list[int]:
    """Return the number of bins of each band, from the lowest to the highest.

    `fixed` is the published split of the band-split models: three zones of equal widths (0-1, 1-4 and 4-8 kHz at 16 kHz
    with a window of 512). It is sometimes called psychoacoustic, but a band of the lowest zone spans 2.6 ERB at 100 Hz
    and 0.6 at 1 kHz. The other splits cut a perceptual scale into equal parts, with at least one bin for each band.

    Arguments
    ---------
    split : str
        "fixed", "bark", "erb" or "mel".
    n_bins : int
        Bins F; 257 for "fixed".
    sample_rate : int
        In Hz.
    n_bands : int
        Bands K; 31 for "fixed".

    Returns
    -------
    list of int
        K widths in bins; their sum is F.

    Raises
    ------
    UserError
        For an unknown split, or for sizes that the split does not support.

    Example
    -------
    >>> sum(band_widths()), len(band_widths()), band_widths("bark", n_bands=20)[:4]
    (257, 31, [3, 3, 3, 4])
    """
    if split not in SPLITS:
        raise UserError(f"bands: unknown split {split}.{did_you_mean(split, SPLITS)} Known: {', '.join(SPLITS)}")
    if split == "fixed":
        if (n_bins, n_bands) != (sum(FIXED), len(FIXED)):
            raise UserError(
                f"bands: the fixed split has {sum(FIXED)} bins in {len(FIXED)} bands, got n_bins={n_bins}, "
                f"n_bands={n_bands}; use n_fft 512 and 31 bands, or the split bark, erb or mel"
            )
        return list(FIXED)
    if not 1 <= n_bands <= n_bins:
        raise UserError(f"bands: expected between 1 and {n_bins} bands of at least one bin, got n_bands={n_bands}")
    return _equal_parts(_SCALES[split], n_bins, sample_rate, n_bands)


def _equal_parts(scale: Callable[[float], float], n_bins: int, sample_rate: int, n_bands: int) -> list[int]:
    """Assign each bin to the part of the scale that its centre lies in; an empty part takes the next bin."""
    low, high = scale(0), scale(sample_rate / 2)
    part = [
        min(int((scale(k * sample_rate / 2 / (n_bins - 1)) - low) / (high - low) * n_bands), n_bands - 1)
        for k in range(n_bins)
    ]
    edges = [0]
    for band in range(1, n_bands):
        wanted = sum(p < band for p in part)
        edges.append(min(max(wanted, edges[-1] + 1), n_bins - n_bands + band))
    return [stop - start for start, stop in zip(edges, [*edges[1:], n_bins], strict=True)]


def runs(keys: Sequence[object]) -> list[slice]:
    """Find stretches of equal neighbours, which can be computed together.

    Example
    -------
    >>> runs([2, 3, 3, 8])
    [slice(0, 1, None), slice(1, 3, None), slice(3, 4, None)]
    """
    slices, start = [], 0
    for _, group in groupby(keys):
        stop = start + len(list(group))
        slices.append(slice(start, stop))
        start = stop
    return slices
