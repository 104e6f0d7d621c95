"""MM-IPC: from one PolSESS row and its stored layers to the input and targets of a task and variant.

Mix Modification by Inverted Phase Cancellation: subtracting a stored layer from the mix cancels it, and adding the
kept layers gives the same. Tasks and variants are explained in `variants.py`. Only numpy is imported, so that
training starts quickly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from lobes.data.seeding import crc
from lobes.errors import UserError
from lobes.polsess.variants import all_parts, kept_parts, list_names, target_parts, variants_for


class Plan(NamedTuple):
    """The stored files that make the input: sum of `add` minus sum of `subtract`. `add` may hold "mix"."""

    add: tuple[str, ...]
    subtract: tuple[str, ...] = ()


def plan(task: str, variant: str, indoor: bool) -> Plan:
    """Choose between adding the kept parts and subtracting the dropped ones: whichever reads fewer files.

    The count includes the targets, which are read in any case. A tie is settled by adding, because a sum of parts
    holds no trace of the limiter that may have acted when the mix was made. Arguments and errors are those of
    `variants.kept_parts`.

    Example
    -------
    >>> plan("SB", "ER", indoor=True)
    Plan(add=('mix',), subtract=('scene',))
    >>> plan("ES", "C", indoor=True)
    Plan(add=('s1',), subtract=())
    """
    kept = kept_parts(task, variant, indoor)
    adding = Plan(kept)
    subtracting = Plan(("mix",), tuple(part for part in all_parts(indoor) if part not in kept))
    return min(adding, subtracting, key=lambda choice: len(files_read(task, choice)))


def files_read(task: str, choice: Plan) -> tuple[str, ...]:
    """Return the parts that a plan and the task's targets read, each once."""
    targets = [part for parts in target_parts(task) for part in parts]
    return tuple(dict.fromkeys([*choice.add, *choice.subtract, *targets]))


def render(task: str, variant: str, indoor: bool, read: Callable[[str], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Make input [T] and targets [T,S], float32, from stored files, reading as few as possible and each once.

    Arguments
    ---------
    task, variant, indoor
        As in `variants.kept_parts`.
    read : callable
        read(part) -> float32 [T]; part is "mix", "s1", "scene" ... (the manifest column without "_wav").

    Raises
    ------
    UserError
        As `variants.kept_parts`, or files of unequal length.

    Example
    -------
    >>> mix, sources = render("SB", "SER", True, read=lambda part: np.ones(8, np.float32))
    >>> mix.shape, sources.shape
    ((8,), (8, 2))
    """
    choice = plan(task, variant, indoor)
    return _combine(task, choice, {part: read(part) for part in files_read(task, choice)})


def render_parts(task: str, variant: str, parts: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Make input [T] and targets [T,S] from parts in memory (dynamic mixing), by adding; "mix" is not needed.

    Task and variant are those of `variants.kept_parts`; the row counts as indoor when `parts` has "sp1_reverb".

    Raises
    ------
    UserError
        As `variants.kept_parts`, a kept part is absent, or unequal lengths.

    Example
    -------
    >>> parts = {part: np.ones(8, np.float32) for part in all_parts(indoor=False)}
    >>> mix, sources = render_parts("ES", "S", parts)
    >>> mix.tolist()[0], sources.shape
    (2.0, (8, 1))
    """
    choice = Plan(kept_parts(task, variant, indoor="sp1_reverb" in parts))
    absent = [part for part in files_read(task, choice) if part not in parts]
    if absent:
        raise UserError(
            f"Task {task}, variant {variant}: needs the parts {list_names(absent)}, got {list_names(parts)}."
        )
    return _combine(task, choice, parts)


def draw_variant(rng: np.random.Generator, indoor: bool, allowed: Sequence[str] | None = None) -> str:
    """Draw uniformly among the variants that fit the row (training).

    Example
    -------
    >>> draw_variant(np.random.default_rng(0), indoor=True, allowed=["R", "SE"])
    'R'
    """
    options = _options(indoor, allowed)
    return options[int(rng.integers(len(options)))]


def fixed_variant(ID: str, indoor: bool, allowed: Sequence[str] | None = None) -> str:
    """Choose the variant by crc32 of the ID alone (valid and test): it never depends on seed, order or rank.

    Example
    -------
    >>> fixed_variant("a", indoor=False), fixed_variant("a", indoor=True, allowed=["SER"])
    ('C', 'SER')
    """
    options = _options(indoor, allowed)
    return options[crc(ID) % len(options)]


def _combine(task: str, choice: Plan, parts: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    lengths = {part: len(parts[part]) for part in files_read(task, choice)}
    if len(set(lengths.values())) > 1:
        raise UserError(f"The parts of an example must have equal lengths (samples), got {lengths}.")
    mix = _sum(parts, choice.add)
    for part in choice.subtract:
        mix -= parts[part]
    sources = np.stack([_sum(parts, target) for target in target_parts(task)], axis=-1)  # [T,S]
    return mix, sources


def _sum(parts: Mapping[str, np.ndarray], names: Sequence[str]) -> np.ndarray:
    total = np.array(parts[names[0]], np.float32)
    for name in names[1:]:
        total += parts[name]
    return total


def _options(indoor: bool, allowed: Sequence[str] | None) -> tuple[str, ...]:
    options = variants_for(indoor, allowed)
    if not options:
        kind = "indoor" if indoor else "outdoor"
        raise UserError(
            f"None of the variants {list_names(allowed or ())} fits an {kind} row; "
            "leave such rows out (variants.compatible)."
        )
    return options
