"""Tasks and variants of PolSESS, and the parts of a mixture that each of them keeps.

A variant names the layers that are kept in addition to speech: S scene, E event, R reverb; C (clean) keeps none. Rows
indoors have reverb and the variants SER SR ER R C, rows outdoors have SE S E C. All targets are dry.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lobes.errors import UserError, did_you_mean

TASKS = ("ES", "EB", "SB")  # enhance one speaker, enhance both, separate both
OUTDOOR_PARTS = ("s1", "s2", "scene", "event")
INDOOR_PARTS = (*OUTDOOR_PARTS, "sp1_reverb", "sp2_reverb", "ev_reverb")
INDOOR_VARIANTS = ("SER", "SR", "ER", "R", "C")
OUTDOOR_VARIANTS = ("SE", "S", "E", "C")
ALL_VARIANTS = ("SER", "SR", "ER", "R", "SE", "S", "E", "C")

_EVENT = ("event", "ev_reverb")
_SPEAKER_2 = ("s2", "sp2_reverb")
DROPPED = {
    "SER": (),
    "SR": _EVENT,
    "ER": ("scene",),
    "R": ("scene", *_EVENT),
    "SE": (),
    "S": ("event",),
    "E": ("scene",),
    "C": ("scene", *_EVENT, "sp1_reverb", "sp2_reverb"),
}
_TARGETS = {"ES": (("s1",),), "EB": (("s1", "s2"),), "SB": (("s1",), ("s2",))}


def num_sources(task: str) -> int:
    """Return how many targets a task has.

    Example
    -------
    >>> [num_sources(task) for task in TASKS]
    [1, 1, 2]
    """
    return len(target_parts(task))


def target_parts(task: str) -> tuple[tuple[str, ...], ...]:
    """Return, for each target of a task, the dry parts whose sum it is.

    Example
    -------
    >>> target_parts("EB"), target_parts("SB")
    ((('s1', 's2'),), (('s1',), ('s2',)))
    """
    if task not in _TARGETS:
        raise UserError(f"Unknown task {task!r}, expected one of {list_names(TASKS)}.{did_you_mean(str(task), TASKS)}")
    return _TARGETS[task]


def variants_for(indoor: bool, allowed: Sequence[str] | None = None) -> tuple[str, ...]:
    """Return the variants that a row can take, in a fixed order; empty when `allowed` has none for it.

    Without `allowed` that is all variants of indoor rows (which have reverb files) or of outdoor rows.

    Raises
    ------
    UserError
        `allowed` is empty, not a list, or holds an unknown name.

    Example
    -------
    >>> variants_for(indoor=True, allowed=["C", "SER", "SE"])
    ('SER', 'C')
    """
    mine = INDOOR_VARIANTS if indoor else OUTDOOR_VARIANTS
    if allowed is None:
        return mine
    wanted = check_variants(allowed)
    return tuple(variant for variant in mine if variant in wanted)


def compatible(indoor: bool, allowed: Sequence[str] | None = None) -> bool:
    """Return whether a row can take at least one of the allowed variants; filter the rows by this.

    Example
    -------
    >>> compatible(indoor=False, allowed=["SER", "R"])
    False
    """
    return bool(variants_for(indoor, allowed))


def check_variants(allowed: Sequence[str]) -> tuple[str, ...]:
    """Return `allowed` as a tuple, or raise a UserError that names the mistake and the nearest known variant."""
    if isinstance(allowed, str) or not isinstance(allowed, Iterable):
        raise UserError(f"Variants: expected a list such as [SER, SE], got {allowed!r}.")
    names = tuple(allowed)
    if not names:
        raise UserError(f"Variants: expected at least one of {list_names(ALL_VARIANTS)}, got an empty list.")
    for name in names:
        if name not in ALL_VARIANTS:
            hint = did_you_mean(str(name).upper(), ALL_VARIANTS)
            raise UserError(f"Unknown variant {name!r}, expected some of {list_names(ALL_VARIANTS)}.{hint}")
    return names


def kept_parts(task: str, variant: str, indoor: bool) -> tuple[str, ...]:
    """Return the parts whose sum is the input. ES also leaves speaker 2 and its reverb out.

    Raises
    ------
    UserError
        Unknown task or variant, or a variant that this kind of row does not have.

    Example
    -------
    >>> kept_parts("SB", "SR", indoor=True)
    ('s1', 's2', 'scene', 'sp1_reverb', 'sp2_reverb')
    """
    target_parts(task)
    if not variants_for(indoor, [variant]):
        kind, known = ("indoor", INDOOR_VARIANTS) if indoor else ("outdoor", OUTDOOR_VARIANTS)
        raise UserError(f"Variant {variant!r} does not fit an {kind} row, which knows {list_names(known)}.")
    dropped = DROPPED[variant] + (_SPEAKER_2 if task == "ES" else ())
    return tuple(part for part in all_parts(indoor) if part not in dropped)


def in_improvement_mean(task: str, variant: str) -> bool:
    """Return whether a variant's SI-SDRi may enter a mean: not C of ES and EB, whose input equals the target.

    Example
    -------
    >>> in_improvement_mean("ES", "C"), in_improvement_mean("SB", "C"), in_improvement_mean("ES", "R")
    (False, True, True)
    """
    target_parts(task)
    return variant != "C" or task == "SB"


def all_parts(indoor: bool) -> tuple[str, ...]:
    """Return every part of a row, in the manifest's order.

    Example
    -------
    >>> all_parts(indoor=False)
    ('s1', 's2', 'scene', 'event')
    """
    return INDOOR_PARTS if indoor else OUTDOOR_PARTS


def describe_task(task: str) -> str:
    """A task in words, for the card of a model.

    Example
    -------
    >>> describe_task("ES")
    'enhancement: one speaker in noise and reverberation in, the dry speech out'
    """
    return {
        "ES": "enhancement: one speaker in noise and reverberation in, the dry speech out",
        "EB": "enhancement: two speakers in noise and reverberation in, the sum of their dry speech out",
        "SB": "separation: two speakers in noise and reverberation in, the dry speech of each out",
    }[task]


def list_names(names: Iterable[str]) -> str:
    """Join names for an error message."""
    return ", ".join(names)
