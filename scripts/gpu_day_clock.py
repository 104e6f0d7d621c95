"""Times of a piece of work on the device: by the clock on the wall, and without the host in a replayed CUDA graph."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch

Work = Callable[[], object]


class Effort(NamedTuple):
    """How often a piece of work is done."""

    warm: int  # calls that are not counted: kernels are compiled, clocks rise
    repeats: int


FULL = Effort(20, 100)  # what is published
QUICK = Effort(5, 25)  # what is compared
DRY = Effort(0, 1)


def times(works: Sequence[Work], effort: Effort, device: str) -> dict[str, Any]:
    """Milliseconds of a call, the median over many.

    Arguments
    ---------
    works : sequence of callable
        The same work on different inputs, which take turns, so that none is still in a cache of the device.
    effort : Effort
        How often.
    device : str
        "cuda" or "cpu".

    Returns
    -------
    times : dict
        `wall_ms`, with the wait for the device, and `device_ms`: None where no graph can be captured, with `why_not`.
    """
    found: dict[str, Any] = {"wall_ms": wall(works, effort, device), "device_ms": None}
    if device == "cpu":
        return {**found, "why_not": "on a CPU"}
    try:
        found["device_ms"] = replayed(works, effort)
    except Exception as error:  # some work cannot be captured; the times on the wall stand
        torch.cuda.synchronize()
        found["why_not"] = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return found


def wall(works: Sequence[Work], effort: Effort, device: str) -> float:
    """Milliseconds of a call, from its start to the device's end of it."""
    synchronize = torch.cuda.synchronize if device != "cpu" else lambda: None
    seconds = []
    for turn in range(effort.warm + effort.repeats):
        synchronize()
        begin = time.perf_counter()
        works[turn % len(works)]()
        synchronize()
        seconds.append(time.perf_counter() - begin)
    return round(1e3 * statistics.median(seconds[effort.warm :]), 5)


def replayed(works: Sequence[Work], effort: Effort) -> float:
    """Milliseconds of a call on the device: a graph holds one call of each work, and events stand around its replay."""
    graph = captured(works)
    pairs = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(effort.repeats)]
    for _ in range(effort.warm):
        graph.replay()
    for start, end in pairs:
        start.record()
        graph.replay()
        end.record()
    torch.cuda.synchronize()
    return round(statistics.median(start.elapsed_time(end) for start, end in pairs) / len(works), 5)


def captured(works: Sequence[Work]) -> torch.cuda.CUDAGraph:
    """A graph of all works, one after the other; they run before on a stream of their own, as PyTorch asks for."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for work in works:
            work()
    torch.cuda.current_stream().wait_stream(stream)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for work in works:
            work()
    return graph
