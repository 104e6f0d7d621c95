"""How much of an enhancement is applied: estimate and input, sample by sample. T samples, C channels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np


class Taker:
    """Takes as many samples as one wants from a stream of blocks.

    Example
    -------
    >>> taker = Taker(iter([np.arange(3), np.arange(3, 5)]))
    >>> taker.take(2).tolist(), taker.take(3).tolist()
    ([0, 1], [2, 3, 4])
    """

    def __init__(self, blocks: Iterator[np.ndarray]) -> None:
        self.blocks, self.held = blocks, np.zeros(0)

    def take(self, count: int) -> np.ndarray:
        """The next `count` samples; fewer at the end of the stream."""
        parts, have = [self.held] if len(self.held) else [], len(self.held)
        while have < count and (block := next(self.blocks, None)) is not None:
            parts.append(block)
            have += len(block)
        both = np.concatenate(parts) if parts else self.held
        self.held = both[count:]
        return both[:count]


def applied(
    estimates: Iterator[np.ndarray], inputs: Sequence[Iterator[np.ndarray]], share: float
) -> Iterator[np.ndarray]:
    """Mix estimates with their input: `share` of the estimate, the rest of the input.

    Arguments
    ---------
    estimates : iterator of np.ndarray
        Blocks [n,1,C].
    inputs : sequence of iterators
        For each channel blocks [n] of any lengths.
    share : float
        1 gives the estimates, 0 the input, both bit for bit.

    Yields
    ------
    np.ndarray
        [n,1,C]

    Example
    -------
    >>> [block[:, 0, 0].tolist() for block in applied(iter([np.zeros((2, 1, 1))]), [iter([np.ones(2)])], 0.25)]
    [[0.75, 0.75]]
    """
    if share == 1:
        yield from estimates
        return
    takers = [Taker(blocks) for blocks in inputs]
    for block in estimates:
        mix = np.stack([taker.take(len(block)) for taker in takers], 1)[:, None]  # [n,1,C]
        yield mix if share == 0 else share * block + (1 - share) * mix
