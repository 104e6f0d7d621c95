"""Sample rates: the one way to change them, whole or in blocks. T samples."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

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
    _check(own_rate, rate)
    if own_rate == rate:
        return samples.astype(np.float32)
    return _filtered(samples, own_rate, rate)


def resample_blocks(blocks: Iterable[np.ndarray], own_rate: int, rate: int) -> Iterator[np.ndarray]:
    """Change the rate of a stream of blocks [n] or [n, C]: what `resample` makes of them together, a second at a time.

    Raises
    ------
    UserError
        A rate outside 1 to 768 kHz.

    Example
    -------
    >>> x = np.random.default_rng(0).standard_normal(100000).astype(np.float32)
    >>> parts = list(resample_blocks(np.array_split(x, 7), 44100, 16000))
    >>> bool(np.allclose(np.concatenate(parts), resample(x, 44100, 16000), atol=1e-6))
    True
    """
    _check(own_rate, rate)
    if own_rate == rate:
        yield from (block.astype(np.float32) for block in blocks)
        return
    divisor = math.gcd(own_rate, rate)
    up, down = rate // divisor, own_rate // divisor
    # scipy's filter reaches 10 * max(up, down) steps of the common rate to each side
    # multiples of `down`, so that outputs fall on the same places
    context = -(-(10 * max(up, down) + up) // (up * down)) * down
    group = -(-own_rate // down) * down
    held = np.zeros(0, np.float32)
    before = 0  # samples at the start of `held` that have been resampled and are context now
    for block in blocks:
        held = np.concatenate([held, block]) if len(held) else block
        while len(held) >= before + group + context:
            part = _filtered(held[: before + group + context], own_rate, rate)
            yield part[before // down * up : (before + group) // down * up]
            drop = before + group - context if before + group > context else 0
            held, before = held[drop:], before + group - drop
    if len(held) > before:
        yield _filtered(held, own_rate, rate)[before // down * up :]


def _check(own_rate: int, rate: int) -> None:
    for value in (own_rate, rate):
        if not LOWEST_RATE <= value <= HIGHEST_RATE:
            raise UserError(f"sample rate: expected {LOWEST_RATE} to {HIGHEST_RATE} Hz, got {value} Hz.")


def _filtered(samples: np.ndarray, own_rate: int, rate: int) -> np.ndarray:
    from scipy.signal import resample_poly

    return resample_poly(samples.astype(np.float32), rate, own_rate).astype(np.float32)
