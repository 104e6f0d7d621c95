"""The constants of the Triton kernels that only a measurement on a GPU can settle.

Part 2 of `scripts/gpu_day.py` measures them, and `scripts/gpu_day_constants.py` puts them here. Until a GPU has, they
are estimates of a latency model.
"""

from __future__ import annotations

from typing import NamedTuple


class Tuning(NamedTuple):
    """The way of the kernels through scans of some size."""

    below: float  # programs of these scans, before sequences are cut: items times blocks of channels
    programs: int  # that are wanted: with fewer, sequences are cut into segments
    shortest: int  # steps of a segment
    look: int  # steps by which the forward pass reads B and C ahead; from 4 on they wait in shared memory
    turn: int  # steps that a turn of the forward loop takes
    turn_back: int  # the same of the backward loop
    registers: int | None  # that a lane of the forward pass may take at most


# By number of programs, the last row for all others. 2112 programs are four warps for each scheduler of an H100.
TUNED = (
    Tuning(below=float("inf"), programs=2112, shortest=32, look=4, turn=4, turn_back=4, registers=None),
)  # fmt: skip
# Most states -> steps between saved states; the last one also counts for more states.
CHUNKS = {8: 4, 16: 8, 32: 16}


def tuning_of(programs: int) -> Tuning:
    """The row for a scan with so many programs.

    Example
    -------
    >>> tuning_of(4000).programs >= 1
    True
    """
    return next((row for row in TUNED if programs < row.below), TUNED[-1])
