"""Sample rates: the one function that changes them. T samples."""

from __future__ import annotations

import numpy as np

from lobes.errors import UserError

# A filter has some 20 taps per Hz of the larger rate where the two share no factor: a rate from a damaged header
# (1 Hz, 1.4 GHz) would take all memory.
LOWEST_RATE, HIGHEST_RATE = 1000, 768000


def resample(samples: np.ndarray, own_rate: int, rate: int) -> np.ndarray:
    """Change the rate along the first axis with scipy's polyphase filter, in float32; the length is rounded up.

    Raises
    ------
    UserError
        A rate outside 1 to 768 kHz.

    Example
    -------
    >>> resample(np.zeros((100, 2)), 44100, 16000).shape
    (37, 2)
    """
    for value in (own_rate, rate):
        if not LOWEST_RATE <= value <= HIGHEST_RATE:
            raise UserError(f"sample rate: expected {LOWEST_RATE} to {HIGHEST_RATE} Hz, got {value} Hz.")
    if own_rate == rate:
        return samples.astype(np.float32)
    from scipy.signal import resample_poly

    return resample_poly(samples.astype(np.float32), rate, own_rate).astype(np.float32)
