"""How a long mixture is cut: chunks that overlap, and the places where one fades into the next. All in samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from lobes.errors import UserError
from lobes.inference.capacity import bytes_of, frame_step, longest_mixture, receptive_field

WHOLE_S = 30.0  # shorter mixtures are never cut, where positions allow it
LONGEST_S, SHORTEST_S = 30.0, 4.0  # of a chunk; the shorter is what most networks are trained on
MEMORY = 3 * 2**28  # bytes that a network's tensors may take
PROBES_S = (1.0, 3.0)  # lengths at which that is measured, for the part that grows with the square of the length


@dataclass(frozen=True)
class ChunkPlan:
    """Which mixtures stay whole, and how the others are cut.

    Chunk k starts at k * (length - overlap). Where two overlap, the outer `margin` on each side belongs to the chunk
    that sees further there, and one fades into the other between the margins.

    Arguments
    ---------
    whole : int or None
        The longest mixture that is not cut; None: none is.
    length, overlap, margin : int

    Example
    -------
    >>> plan = ChunkPlan(whole=100, length=100, overlap=20, margin=5)
    >>> plan.spans(230)
    [(0, 100), (80, 180), (130, 230)]
    """

    whole: int | None
    length: int
    overlap: int
    margin: int
    step: int = 1

    @property
    def hop(self) -> int:
        """From the place where a chunk's own part begins to that of the next."""
        return self.length - self.overlap

    def cuts(self, samples: int) -> bool:
        """Whether a mixture of so many samples is cut."""
        return self.whole is not None and samples > self.whole

    def spans(self, samples: int) -> list[tuple[int, int]]:
        """Start and end of what the network sees in each chunk.

        The last is as long as the others, and so begins earlier than its own part: a network wants its context.
        """
        ends = [min(start + self.length, samples) for start in range(0, samples, self.hop)]
        count = next(number for number, end in enumerate(ends, 1) if end == samples)
        return [(self._start(number, samples), end) for number, end in enumerate(ends[:count])]

    def _start(self, number: int, samples: int) -> int:
        if number * self.hop + self.length <= samples:
            return number * self.hop
        return min(max(samples - self.length, 0) // self.step * self.step, number * self.hop)

    def fade(self) -> np.ndarray:
        """Weights [overlap] of the chunk that begins, in the overlap with the one that ends."""
        inner = self.overlap - 2 * self.margin
        rise = np.sin(0.5 * np.pi * (np.arange(inner) + 0.5) / max(inner, 1)) ** 2
        return np.concatenate([np.zeros(self.margin), rise, np.ones(self.margin)]).astype(np.float32)


def plan_chunks(
    parts: nn.Module | dict[str, nn.Module],
    fitting: Callable[[], int],
    sample_rate: int,
    samples: int,
    chunk_s: float | None = None,
) -> ChunkPlan:
    """Choose how to cut a mixture of so many samples.

    A mixture stays whole up to 30 s, and beyond where the network's tensors need at most 0.75 GiB for it, which is
    measured. Otherwise a chunk has what fits, at most 30 s. Positional encodings that reach less far shorten both.

    Arguments
    ---------
    parts : nn.Module or dict
        As in `lobes.inference.capacity.longest_mixture`.
    fitting : callable
        Measures the longest mixture that memory allows, as `fitting_samples` does.
    sample_rate : int
        In Hz.
    samples : int
        Of the mixture; a short one makes all measuring unnecessary.
    chunk_s : float, optional
        The length of a chunk in seconds, in place of the choice; 0: nothing is cut.

    Raises
    ------
    UserError
        If `chunk_s` is too long for the network's positions, or too short for its receptive field.
    """
    model = parts if isinstance(parts, nn.Module) else None
    limit = longest_mixture(parts)
    step = frame_step(model) if model is not None else 1
    if chunk_s is None:
        whole, length = _choose(fitting, sample_rate, samples, limit)
    else:
        whole = length = _asked(chunk_s, sample_rate, limit)
    field = receptive_field(model) if model is not None else None
    return _laid_out(whole, length, step, field, sample_rate, chunk_s is not None)


def _choose(fitting: Callable[[], int], sample_rate: int, samples: int, limit: int | None) -> tuple[int, int]:
    longest = int(WHOLE_S * sample_rate)
    if samples > longest and (limit is None or limit > longest):
        most = fitting()
        whole = max(most, longest)
        length = min(max(most, int(SHORTEST_S * sample_rate)), int(LONGEST_S * sample_rate))
    else:
        whole = length = longest
    return (whole, length) if limit is None else (min(whole, limit), min(length, limit))


def fitting_samples(run: Callable[[Tensor], Tensor], sample_rate: int) -> int:
    """The longest mixture for which a network's tensors need at most `MEMORY`, from what two short ones need.

    Example
    -------
    >>> fitting_samples(lambda mix: mix[..., None] * 2, 8000) > 8000 * 3600
    True
    """
    short, long = (int(seconds * sample_rate) for seconds in PROBES_S)
    low, high = bytes_of(run, short), bytes_of(run, long)
    square = max((high / long - low / short) / (long - short), 0.0)
    line = max(high / long - square * long, 1e-9)  # of the longer: short ones are not cut into slices
    if square * MEMORY < 1e-9 * line**2:
        return int(MEMORY / line)
    return int(((line**2 + 4 * square * MEMORY) ** 0.5 - line) / (2 * square))


def _asked(chunk_s: float, sample_rate: int, limit: int | None) -> int:
    if not 0 <= chunk_s < 1e6:
        raise UserError(f"--chunk_s {chunk_s:g}: expected seconds, or 0 to cut nothing.")
    if limit is not None and chunk_s * sample_rate > limit:
        reach = limit / sample_rate
        raise UserError(f"--chunk_s {chunk_s:g}: this network's positional encodings reach {reach:.0f} s. Give less.")
    return int(chunk_s * sample_rate)


def _laid_out(whole: int | None, length: int, step: int, field: int | None, sample_rate: int, asked: bool) -> ChunkPlan:
    if length == 0:
        return ChunkPlan(None, 0, 0, 0)
    if field is None:
        overlap = length // 8 // step * step
        margin = overlap // 8
    else:
        margin = field
        overlap = -(-max(2 * field + sample_rate // 50, length // 8) // step) * step
    least = max(2 * overlap + step, 8 * step)
    length = (length if asked else max(length, least)) // step * step
    if overlap < 1 or length < 2 * overlap:
        seconds = length / sample_rate
        raise UserError(f"--chunk_s {seconds:g}: expected at least {least / sample_rate:.3g} s.")
    return ChunkPlan(whole, length, overlap, margin, step)


def silent_or(run: Callable[[np.ndarray], np.ndarray], mix: np.ndarray, sources: int) -> np.ndarray:
    """What `run` makes of [T], [T,S], but zeros for digital silence, whatever a network makes of it.

    Example
    -------
    >>> silent_or(lambda mix: 1 / mix, np.zeros(4, np.float32), 2).shape
    (4, 2)
    """
    return run(mix) if mix.any() else np.zeros((len(mix), sources), np.float32)


def cut(blocks: Iterator[np.ndarray], spans: list[tuple[int, int]]) -> Iterator[np.ndarray]:
    """Cut a stream of blocks [n] into the spans, which may overlap; no more than a span is kept.

    Example
    -------
    >>> blocks = iter([np.arange(4), np.arange(4, 9)])
    >>> [part.tolist() for part in cut(blocks, [(0, 5), (3, 9)])]
    [[0, 1, 2, 3, 4], [3, 4, 5, 6, 7, 8]]
    """
    held, begin = np.zeros(0, np.float32), 0
    for start, end in spans:
        parts = [held[start - begin :]] if start - begin < len(held) else []
        have = begin + len(held)
        while have < end:
            block = next(blocks)
            have += len(block)
            parts.append(block)
        held, begin = np.concatenate(parts), start
        yield held[: end - start]
