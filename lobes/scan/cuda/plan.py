"""How a scan is cut for the Triton kernels: tiles of states, blocks of channels, segments, and steps at a time.

All sizes are constants of the compiled kernels or numbers that they are given; no tensor is looked at. Those that
depend on the GPU stand in `tuning.py`. B batch, L steps, D channels, N state.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from lobes.scan.cuda.tuning import CHUNKS, Tuning, tuning_of

WIDTH = 32  # channels of a program, one for each lane of a warp
MOST_STATES = 16  # of a program: with more, registers would be spilled, and the states are scanned in groups
SUMMARY_LOOK = 4  # steps by which a segment is read ahead where it is summarised
TILE, ADDED = 128, 32  # numbers of a sum that a program adds up, and pieces that it reads at once
JOINED = 8  # segments that are read at once where they are chained


class ScanPlan(NamedTuple):
    """A scan of at most MOST_STATES states as the kernels see it."""

    blocks: int  # of channels
    segment: int  # steps
    segments: int
    pieces: int  # items times segments: there is a program for each block of each piece
    tuning: Tuning
    constants: dict[str, Any]  # of all kernels but `join`


def tile_of(states: int) -> int:
    """The states of a tile: their number or the next power of two, at most MOST_STATES.

    Example
    -------
    >>> tile_of(5), tile_of(16), tile_of(64)
    (8, 16, 16)
    """
    return min(MOST_STATES, 1 << (states - 1).bit_length())


@lru_cache(maxsize=256)
def chunk_steps(states: int) -> int:
    """The number of steps between saved states: with 4 to 32 states the saved ones take at most twice as much as u.

    Example
    -------
    >>> chunk_steps(8) <= chunk_steps(16) <= chunk_steps(32) == chunk_steps(64)
    True
    """
    return next((steps for most, steps in CHUNKS.items() if states <= most), max(CHUNKS.values()))


def saved_shape(rows: Sequence[int], states: int) -> tuple[int, ...]:
    """The shape of what the forward pass saves for rows [B, L, D], [groups, B, chunks, blocks, N, W].

    Example
    -------
    >>> saved_shape((2, 17, 40), 16)
    (1, 2, 3, 2, 16, 32)
    """
    (batch, steps, channels), chunk = rows, chunk_steps(states)
    chunks, blocks = (steps + chunk - 1) // chunk, -(-channels // WIDTH)
    return len(groups_of(states)), batch, chunks, blocks, tile_of(states), WIDTH


def segment_steps(programs: int, steps: int, tuning: Tuning) -> int:
    """The number of steps that a program walks: all, unless so few programs would leave most of the device idle.

    Example
    -------
    >>> tuning = tuning_of(8)._replace(programs=2112, shortest=32)
    >>> segment_steps(4000, 129, tuning) >= 129, segment_steps(8, 16000, tuning)
    (True, 64)
    """
    wanted = -(-tuning.programs // max(programs, 1))
    length = max(tuning.shortest, -(-steps // wanted))
    return -(-length // 16) * 16  # a multiple of every `chunk_steps`


@lru_cache(maxsize=256)
def groups_of(states: int) -> tuple[slice, ...]:
    """The groups in which the states are scanned.

    Example
    -------
    >>> groups_of(24)
    (slice(0, 16, None), slice(16, 24, None))
    """
    return tuple(slice(i, min(i + MOST_STATES, states)) for i in range(0, states, MOST_STATES))


@lru_cache(maxsize=256)
def plan(batch: int, steps: int, channels: int, states: int) -> ScanPlan:
    """Cut a scan.

    Example
    -------
    >>> p = plan(batch=2, steps=1000, channels=40, states=12)
    >>> p.blocks, p.pieces == 2 * p.segments, p.constants["N"]
    (2, True, 16)
    """
    blocks = -(-channels // WIDTH)
    tuning = tuning_of(batch * blocks)
    segment = segment_steps(batch * blocks, steps, tuning)
    segments = max(1, -(-steps // segment))
    pieces, tile = batch * segments, tile_of(states)
    even = channels % WIDTH == 0 and states == tile
    constants = {"STATES": states, "N": tile, "W": WIDTH, "EVEN": even, "num_warps": 1}
    return ScanPlan(blocks, segment, segments, pieces, tuning, constants)
