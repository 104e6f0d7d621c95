"""What a network costs: parameters, operations by kind, and time and memory by the length of a recording."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import log
from typing import TYPE_CHECKING, Any

from lobes.errors import UserError

if TYPE_CHECKING:
    from torch import nn

SECONDS = (1.0, 10.0, 60.0, 600.0)
THREADS = (1, 2)
LEAST_S = 2  # pieces of a second that a stream gets at least before its state counts as full
MOST_S = 120

Row = dict[str, Any]
Measure = Callable[[float, int], Mapping[str, Any]]  # seconds, threads -> rtf, cpu_rtf, peak_mb, over_mb, or failed
Pieces = Callable[[float], tuple[int, float]]  # seconds -> in how many chunks, and the seconds of one


@dataclass(frozen=True)
class CostLimits:
    """What one measurement may take: seconds of wall time, and bytes of memory.

    Example
    -------
    >>> CostLimits(seconds=60).seconds
    60
    """

    seconds: float = 300.0
    memory: float = float("inf")


@dataclass(frozen=True)
class Profile:
    """The costs of one network.

    `macs` are multiply-accumulates for one second of audio by kind, see `lobes.evaluation.kinds`, or None with the
    reason in `uncounted`. `parameters` is None where nothing says how many there are. `latency_ms` and `state_bytes`
    are None for networks that run in no stream. A row has `seconds` and `threads`, and `rtf`, `cpu_rtf`, `peak_mb` and
    `over_mb`, or `failed` or `skipped` with a reason.

    Example
    -------
    >>> Profile("x", 8000, 2, 10, {"linear": 100, "scan": 20, "stft": 5}, "", "-", None, None).total
    120
    """

    name: str
    sample_rate: int
    num_sources: int
    parameters: int | None
    macs: dict[str, int] | None
    uncounted: str
    receptive_field: str
    latency_ms: float | None
    state_bytes: int | None
    rows: list[Row] = field(default_factory=list)

    @property
    def total(self) -> int | None:
        """The sum over the kinds, which leaves Fourier transforms out, as the model table does."""
        from lobes.evaluation.kinds import LEFT_OUT

        return None if self.macs is None else sum(n for kind, n in self.macs.items() if kind not in LEFT_OUT)


def profile(
    model: nn.Module,
    measure: Measure | None = None,
    seconds: Sequence[float] = SECONDS,
    threads: Sequence[int] = THREADS,
    name: str = "model",
    receptive_field: str = "-",
    pieces: Pieces = lambda seconds: (1, seconds),
    limits: CostLimits | None = None,
) -> Profile:
    """Count what a network costs, and measure it at several lengths.

    Arguments
    ---------
    model : nn.Module
        A network under the model contract, mixtures [B,T] to [B,T,S].
    measure : callable, optional
        Measures one length with so many threads; without it nothing is measured. `lobes.inference.measuring.measured`
        does it in a process of its own.
    seconds, threads : sequence
        What is measured: all lengths with each number of threads.
    name, receptive_field : str
        For the table.
    pieces : callable
        How a length is cut, for the estimates; by default not at all.
    limits : CostLimits, optional
        A length that would take more is skipped, with what is expected of it.

    Returns
    -------
    Profile

    Raises
    ------
    UserError
        As `lobes.evaluation.complexity.count`.

    Example
    -------
    >>> from lobes.models import get_model
    >>> found = profile(get_model("convtasnet_tiny"), lambda seconds, threads: {"rtf": 0.1}, seconds=[1], threads=[1])
    >>> found.parameters, found.rows
    (236312, [{'seconds': 1, 'threads': 1, 'rtf': 0.1}])
    """
    from lobes.evaluation.complexity import parameters_of

    latency, state = streamed(model)
    macs, uncounted = _counted(model)
    rows: list[Row] = []
    if measure is not None:
        for number in threads:
            rows += measure_lengths(measure, sorted(seconds), number, pieces, limits or CostLimits())
    facts = int(model.sample_rate), int(getattr(model, "num_sources", 0))  # type: ignore[arg-type]
    return Profile(
        name, *facts, parameters_of(model) or None, macs, uncounted, receptive_field, latency, state, rows
    )  # fmt: skip


def streamed(model: Any) -> tuple[float | None, int | None]:
    """Latency of a network's stream in ms, and the most bytes that one keeps; None, None where it runs in none.

    The stream gets noise, a second at a time, until it keeps no more than before.

    Example
    -------
    >>> from lobes.models import get_model
    >>> model = get_model("convtasnet_cumulative", N=16, B=8, H=8, X=2, R=1)
    >>> streamed(model)[0], streamed(get_model("convtasnet_tiny"))
    (2.0, (None, None))
    """
    import torch

    if not (getattr(model, "causal", False) and hasattr(model, "stream")):
        return None, None
    training, parameter = model.training, next(model.parameters())
    stream = model.eval().stream()
    samples = -(-stream.sample_rate // stream.latency) * stream.latency  # whole windows, so that all pieces are alike
    noise, most = torch.Generator().manual_seed(0), 0
    for second in range(MOST_S):
        x = torch.randn(1, samples, generator=noise).to(parameter)
        stream.feed(0.1 * x)
        if stream.state_bytes <= most and second >= LEAST_S:
            break
        most = max(most, stream.state_bytes)
    model.train(training)
    return stream.latency_ms, most


def measure_lengths(
    measure: Measure, seconds: Sequence[float], threads: int, pieces: Pieces, limits: CostLimits
) -> list[Row]:
    """Measure lengths from the shortest to the longest, and skip those that are expected to take too much.

    Example
    -------
    >>> slow = lambda seconds, threads: {"rtf": 9.0, "cpu_rtf": 9.0, "peak_mb": None, "over_mb": None}
    >>> rows = measure_lengths(slow, [1, 100], 1, lambda seconds: (1, seconds), CostLimits(seconds=60))
    >>> rows[1]["skipped"]
    'about 15 min expected, more than 1 min (--minutes)'
    """
    rows: list[Row] = []
    for length in seconds:
        facts = {"seconds": length, "threads": threads}
        failed = next((row["seconds"] for row in rows if "failed" in row), None)
        if failed is not None:
            reason = f"{failed:g} s failed"
        else:
            reason = too_much([row for row in rows if "rtf" in row], length, pieces, limits)
        rows.append({**facts, "skipped": reason} if reason else {**facts, **measure(length, threads)})
    return rows


def too_much(done: Sequence[Row], seconds: float, pieces: Pieces, limits: CostLimits) -> str:
    """Why a length is not measured, or nothing.

    Expected is what the longest one measured took, grown as it grew from the one before, from linearly to with the
    square; where recordings are cut, this holds for one chunk, and the chunks follow each other.
    """
    if not done:
        return ""
    chunks, length = pieces(seconds)
    lengths = [pieces(row["seconds"]) for row in done]
    took = [(one, row["rtf"] * row["seconds"] / n) for row, (n, one) in zip(done, lengths, strict=True)]
    work = chunks * grown(took, length)
    if work > limits.seconds:
        return f"about {_minutes(work)} expected, more than {_minutes(limits.seconds)} (--minutes)"
    if done[-1].get("over_mb") is None:
        return ""
    held = [(one, row["over_mb"]) for row, (_, one) in zip(done, lengths, strict=True)]
    peak = done[-1]["peak_mb"] - done[-1]["over_mb"] + grown(held, length)
    if peak > limits.memory / 2**20:
        return f"about {peak:,.0f} MB expected, more than the {limits.memory / 2**20:,.0f} MB that are free"
    return ""


def grown(points: Sequence[tuple[float, float]], at: float) -> float:
    """The value at a length, from (length, value) of shorter ones: a power from 1 to 2 through the last two.

    Example
    -------
    >>> grown([(1, 1.0)], 10), grown([(1, 1.0), (10, 100.0)], 100), grown([(1, 1.0), (10, 5.0)], 5)
    (10.0, 10000.0, 5.0)
    """
    longest, value = max(points)
    if at <= longest:
        return value
    before = [point for point in points if point[0] < longest and point[1] > 0]
    power = 1.0
    if before and value > 0:
        length, less = max(before)
        power = min(max(log(value / less) / log(longest / length), 1.0), 2.0)
    return value * (at / longest) ** power


def _counted(model: nn.Module) -> tuple[dict[str, int] | None, str]:
    """The counts, or why there are none: code of others may do what no tensor without values can."""
    from lobes.evaluation.kinds import macs_by_kind

    try:
        return macs_by_kind(model), ""
    except UserError:
        raise
    except Exception as error:
        if type(model).__module__.startswith("lobes.models."):
            raise
        reason = str(error).strip().splitlines() or [""]
        return None, f"not counted, its code needs values: {type(error).__name__}: {reason[0]}"


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 60 else f"{seconds / 60:.0f} min"
