"""Speakers keep their outputs: the order of each chunk's estimates. T samples, V of an overlap, S sources.

A network gives its sources in any order, and another one in each chunk. The overlap of two chunks says which estimate
goes on in which, for every source that is heard in it. What it leaves open, as after a pause, the voices decide.
"""

from __future__ import annotations

from itertools import permutations

import numpy as np

from lobes.inference.voice import FRAME_S, Voice, spectral_voice

QUIET = 1e-4  # of the power of the loudest chunk so far: an overlap below it is a pause
CLOSE = 0.1  # orders whose correlation in the overlap differs by less are left to the voices
HEARD_S = 0.5  # of a speaker in a chunk, to know the voice
UNKNOWN = 1.0  # distance of a voice from one that has not been heard yet


class SpeakerOrder:
    """The order of the estimates, chunk by chunk.

    Arguments
    ---------
    sample_rate : int
        In Hz.
    voice : callable
        What describes a voice, see `lobes.inference.voice`.

    Example
    -------
    >>> first = np.random.default_rng(0).standard_normal((8000, 2))
    >>> order = SpeakerOrder(8000)
    >>> order.next(None, first[:0], first)
    (0, 1)
    >>> order.next(first[-2000:], first[-2000:, ::-1], np.concatenate([first[-2000:, ::-1], first[:, ::-1]]))
    (1, 0)
    """

    def __init__(self, sample_rate: int, voice: Voice | None = None) -> None:
        self.sample_rate, self.voice = sample_rate, voice or spectral_voice
        self.loudest = 0.0  # power of a chunk
        self.known: dict[int, tuple[np.ndarray, float]] = {}  # source -> its voice, and from how many seconds

    def next(self, before: np.ndarray | None, after: np.ndarray, chunk: np.ndarray) -> tuple[int, ...]:
        """Find the order of a chunk.

        Arguments
        ---------
        before : np.ndarray or None
            Estimates [V,S] of the chunk before in the overlap, in order; None for the first chunk.
        after : np.ndarray
            Estimates [V,S] of this chunk in the overlap.
        chunk : np.ndarray
            All estimates [T,S] of this chunk.

        Returns
        -------
        tuple of int
            For each source the column of its estimate.
        """
        sources = chunk.shape[1]
        if sources == 1:
            return (0,)
        self.loudest = max(self.loudest, float(np.square(chunk, dtype=np.float64).sum(1).mean()))
        voices = self._voices(chunk)
        order = tuple(range(sources))
        if before is not None:
            order = self._by_voice(self._by_overlap(before, after), voices)
        for source, estimate in enumerate(order):
            self._remember(source, voices[estimate])
        return order

    def _by_overlap(self, before: np.ndarray, after: np.ndarray) -> list[tuple[int, ...]]:
        """The orders that the overlap allows, the best first; all of them, as they come, where it is a pause."""
        orders = list(permutations(range(before.shape[1])))
        powers = [float(np.square(x, dtype=np.float64).sum()) for x in (before, after)]
        if min(powers) <= QUIET * self.loudest * len(before):
            return orders
        products = before.astype(np.float64).T @ after / np.sqrt(powers[0] * powers[1])  # [S,S]
        fits = [sum(products[source, estimate] for source, estimate in enumerate(order)) for order in orders]
        ranked = sorted(range(len(orders)), key=lambda place: -fits[place])
        return [orders[place] for place in ranked if fits[place] >= fits[ranked[0]] - CLOSE]

    def _by_voice(
        self, orders: list[tuple[int, ...]], voices: list[tuple[np.ndarray, float] | None]
    ) -> tuple[int, ...]:
        """The order in which the voices are nearest to those that are known; the first of equals."""
        if len(orders) == 1:
            return orders[0]

        def distance(source: int, estimate: int) -> float:
            known, heard = self.known.get(source), voices[estimate]
            return UNKNOWN if known is None or heard is None else float(np.linalg.norm(known[0] - heard[0]))

        return min(orders, key=lambda order: round(sum(distance(*pair) for pair in enumerate(order)), 9))

    def _remember(self, source: int, heard: tuple[np.ndarray, float] | None) -> None:
        if heard is None:
            return
        mean, seconds = self.known.get(source, (0.0, 0.0))
        total = seconds + heard[1]
        self.known[source] = ((mean * seconds + heard[0] * heard[1]) / total, total)

    def _voices(self, chunk: np.ndarray) -> list[tuple[np.ndarray, float] | None]:
        """Each estimate's voice and the seconds that it was heard, from frames in which it is the loudest."""
        size = round(FRAME_S * self.sample_rate)
        frames = chunk[: len(chunk) // size * size].reshape(-1, size, chunk.shape[1])  # [M, T', S]
        power = np.square(frames, dtype=np.float64).mean(1)  # [M, S]
        leads = power.argmax(1)
        loud = power.max(1) > QUIET * self.loudest
        voices = []
        for estimate in range(chunk.shape[1]):
            spoken = frames[(leads == estimate) & loud, :, estimate].reshape(-1)
            seconds = len(spoken) / self.sample_rate
            voices.append((self.voice(spoken, self.sample_rate), seconds) if seconds >= HEARD_S else None)
        return voices
