"""Part 2: other constants of the kernels. Which of them are best depends on how many programs a scan has.

At each shape three questions are asked, one after the other, with all else as `lobes/scan/cuda/tuning.py` has it: how
sequences are cut, how the forward loop goes, how the backward loop goes and how often states are saved. The answers are
put together for small and for large scans, and compared once more with what was there. `gpu_day_constants.py` writes
them into the code.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
from gpu_day_check import AGREED, Shape, drawn, largest_error
from gpu_day_check import shapes as small_shapes
from gpu_day_clock import DRY, QUICK
from gpu_day_rows import FAILED, PartFile, Row, Settings, in_a_line, path_of
from gpu_day_scan import KINDS, SETS, ours_of, timed
from scan import SHAPES

from lobes.errors import UserError
from lobes.scan.cuda import plan, tuning
from lobes.scan.cuda.plan import MOST_STATES, WIDTH
from lobes.scan.cuda.tuning import CHUNKS, TUNED, Tuning

TITLE = "Constants of the kernels"
SECONDS = 150.0  # the first row compiles all variants
WHOLE = 1  # programs wanted: sequences are never cut
CUTS = [{"programs": WHOLE}]
CUTS += [{"programs": p, "shortest": s} for p, s in itertools.product((1056, 2112, 4224), (32, 64, 128))]
AHEAD = [
    {"look": look, "turn": turn, "registers": registers}
    for look, turn, registers in itertools.product((0, 2, 4), (4, 8), (None, 128, 112))
]
BACK = [{"turn_back": turn, "chunk": chunk} for turn, chunk in itertools.product((2, 4), (4, 8, 16))]
QUESTIONS = {"cut": (CUTS, KINDS[1]), "ahead": (AHEAD, KINDS[0]), "back": (BACK, KINDS[1])}
GATE = (32, 256, 129, 16), 64.0  # B, D, L, N, and the most MB over the inputs, forward with backward
LEAST = 0.97  # of the time: a gain below 3 % does not change a constant, and no second row of the table is worth less
Choice = dict[str, Any]


def rows(settings: Settings) -> dict[str, Callable[[], Row]]:
    """Each shape, and the answers put together."""
    shapes = dict(list(small_shapes(settings).items())[:2]) if settings.dry else SHAPES
    work: dict[str, Callable[[], Row]] = {name: partial(ask, settings, shape) for name, shape in shapes.items()}
    return {**work, "together": partial(together, settings, shapes)}


def programs(shape: Shape) -> int:
    """The programs of a scan before its sequences are cut.

    Example
    -------
    >>> programs((64, 256, 129, 16))
    512
    """
    return shape[0] * -(-shape[1] // WIDTH)


@contextlib.contextmanager
def trying(*changes: Choice) -> Iterator[None]:
    """Let the kernels have other constants: one row for each change, and the chunk of 16 states of the last."""
    before, chunk = tuning.TUNED, CHUNKS[MOST_STATES]
    try:
        tuning.TUNED = tuple(changed(change) for change in changes)
        CHUNKS[MOST_STATES] = changes[-1].get("chunk", chunk)
        plan.plan.cache_clear()
        yield
    finally:
        tuning.TUNED, CHUNKS[MOST_STATES] = before, chunk
        plan.plan.cache_clear()


def changed(change: Choice) -> Tuning:
    """A row of the table that is the last one of the code but for a change."""
    return TUNED[-1]._replace(**{name: value for name, value in change.items() if name in Tuning._fields})


def ask(settings: Settings, shape: Shape) -> Row:
    """The time of each variant of each question, and as it is now."""
    row: Row = {"shape": shape, "programs": programs(shape)}
    works = [ours_of(settings, drawn(shape, seed)) for seed in range(SETS)]
    now = {kind: variant(settings, works, kind, {}) for kind in KINDS}
    for name, (variants, kind) in QUESTIONS.items():
        first = variants[: 2 if settings.dry else None]
        found = [{**change, "ms": variant(settings, works, kind, change)} for change in first]
        row[name] = {"now_ms": now[kind], "variants": found}
    return row


def variant(settings: Settings, works: list[Any], kind: str, change: Choice) -> float | str:
    """Milliseconds on the device, or on the wall where there is no graph; what went wrong if a variant cannot run."""
    try:
        with trying(change):
            found = timed(settings, [work(kind) for work in works], DRY if settings.dry else QUICK)
    except Exception as error:  # too many registers wanted, for one; a device that no longer answers ends the part
        if not settings.dry:
            torch.cuda.synchronize()
        return in_a_line(error)
    return found["device_ms"] or found["wall_ms"]  # type: ignore[no-any-return]


# ------------------------------------------------------------------ from times to constants
def together(settings: Settings, shapes: Mapping[str, Shape]) -> Row:
    """The constants that the times speak for, checked, and their times next to those of the present ones."""
    known = PartFile(path_of(settings.out, 2)).rows
    shapes = {name: shape for name, shape in shapes.items() if name in known and FAILED not in known[name]}
    if not shapes:
        raise UserError("no shape was measured: nothing to put together")
    choices = choose([known[name] for name in shapes])
    with trying(*choices):
        errors = {name: right(settings, small_shapes(settings)[name]) for name in shapes}
        megabytes = None if settings.dry else memory(settings)
    times = {name: compare(settings, shape, choices) for name, shape in shapes.items()}
    gains = [t["now_ms"] / t["ms"] for t in times.values()]
    gain = math.exp(sum(map(math.log, gains)) / len(gains))
    keep = not wrong(errors) and (megabytes or 0) <= GATE[1] and gain > 1 / LEAST
    found = {"choices": json_of(choices), "errors": errors, "megabytes": megabytes, "times": times}
    return {**found, "gain": round(gain, 3), "keep": keep}


def choose(asked: list[Row]) -> list[Choice]:
    """One or two sets of constants, the first for scans with fewer programs, with `below` in each.

    The border between them is where the times of all shapes together are least; two sets need a gain over one.
    """
    chunk = best(asked, "back").get("chunk", CHUNKS[MOST_STATES])
    borders = sorted({row["programs"] for row in asked})[1:]
    divided = [([r for r in asked if r["programs"] < b], [r for r in asked if r["programs"] >= b], b) for b in borders]
    one = cost(asked, chunk)
    split = min(divided, key=lambda parts: cost(parts[0], chunk) + cost(parts[1], chunk), default=None)
    if split is None or cost(split[0], chunk) + cost(split[1], chunk) - one > len(asked) * math.log(LEAST):
        return [{**answers(asked, chunk), "below": math.inf}]
    few, many, border = split
    return [{**answers(few, chunk), "below": border}, {**answers(many, chunk), "below": math.inf}]


def answers(asked: list[Row], chunk: int) -> Choice:
    """The best variant of each question, all with the same chunk."""
    return {**best(asked, "cut"), **best(asked, "ahead"), **best(asked, "back", chunk)}


def cost(asked: list[Row], chunk: int) -> float:
    """The sum over shapes of the logarithms of time over time now, if each question gets its best answer."""
    return sum(score(asked, name, best(asked, name, chunk if name == "back" else None)) for name in QUESTIONS)


def best(asked: list[Row], name: str, chunk: int | None = None) -> Choice:
    """The variant of a question with the least time over some shapes; none where it gains too little."""
    found = [_without_time(v) for v in asked[0][name]["variants"] if chunk is None or v.get("chunk") == chunk]
    scores = [(score(asked, name, change), i) for i, change in enumerate(found)]
    least, i = min(scores, default=(math.inf, 0))
    if least < len(asked) * math.log(LEAST):
        return found[i]
    return {"turn_back": TUNED[-1].turn_back, "chunk": chunk} if chunk else {}


def score(asked: Iterable[Row], name: str, change: Choice) -> float:
    """The sum over shapes of log(time of a variant / time now); infinite if it fails at one of them."""
    total = 0.0
    for row in asked:
        found = [v["ms"] for v in row[name]["variants"] if _without_time(v) == change]
        now = row[name]["now_ms"]
        if not found:
            continue  # the constants as they are
        if isinstance(found[0], str) or isinstance(now, str):
            return math.inf
        total += math.log(found[0] / now)
    return total


def _without_time(variant: Choice) -> Choice:
    return {key: value for key, value in variant.items() if key != "ms"}


# ------------------------------------------------------------------ once more
def right(settings: Settings, shape: Shape) -> float:
    """The error at a shape, with lengths."""
    return max(largest_error(settings, shape, 7, reverse, True) for reverse in (False, True))


def wrong(errors: Mapping[str, float]) -> list[str]:
    """The shapes at which the constants give something else."""
    return [name for name, error in errors.items() if not error <= AGREED]


def compare(settings: Settings, shape: Shape, choices: list[Choice]) -> dict[str, float]:
    """Forward with backward, now and with the choices, in turns; the least of three."""
    works = [ours_of(settings, drawn(shape, seed)) for seed in range(SETS)]
    row = tuning_row(programs(shape), choices)
    turns = range(1 if settings.dry else 3)
    pairs = [(variant(settings, works, KINDS[1], {}), variant(settings, works, KINDS[1], row)) for _ in turns]
    now, new = (min(float(value) for value in values) for values in zip(*pairs, strict=True))
    return {"now_ms": now, "ms": new}


def tuning_row(count: int, choices: list[Choice]) -> Choice:
    """The choice for a number of programs; it alone makes the table, for all scans."""
    found = next((choice for choice in choices if count < choice["below"]), choices[-1])
    return {**found, "below": math.inf}


def memory(settings: Settings) -> float:
    """Peak over the inputs at the shape of the gate, in MB."""
    work = ours_of(settings, drawn(GATE[0], 0))(KINDS[1])
    work()
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    work()
    return round((torch.cuda.max_memory_allocated() - before) / 2**20, 1)


def json_of(choices: list[Choice]) -> list[Choice]:
    """Choices as JSON has them: no number is infinite there."""
    return [{**json.loads(json.dumps(c)), "below": None if c["below"] == math.inf else c["below"]} for c in choices]
