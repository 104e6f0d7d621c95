"""Sample rates: the one function that changes them. T samples."""

from __future__ import annotations

import numpy as np


def resample(samples: np.ndarray, own_rate: int, rate: int) -> np.ndarray:
    """Change the rate along the first axis with scipy's polyphase filter, in float32; the length is rounded up.

    Example
    -------
    >>> resample(np.zeros((100, 2)), 44100, 16000).shape
    (37, 2)
    """
    if own_rate == rate:
        return samples.astype(np.float32)
    from scipy.signal import resample_poly

    return resample_poly(samples.astype(np.float32), rate, own_rate).astype(np.float32)
