"""The width at which a network with another mixer is as large, or costs as much, as the preset it is compared with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, sqrt
from typing import Any

from lobes.errors import UserError, did_you_mean

WITHIN = 0.02  # of what is matched
MATCHED = ("parameters", "macs")
WITH_HEADS = ("mamba2", "xlstm", "attention")
HEADS = (4, 2, 1)  # tried in this order: the width is a multiple of them, so that fewer allow finer steps
SAMPLES = (1, 8, 16)  # widths, in steps, from which the growth with the width is found


@dataclass(frozen=True)
class Match:
    """A size of a network: `wanted` and `found` are parameters, or multiply-accumulates for a second of audio.

    Example
    -------
    >>> match = Match("spmamba_tiny", {"mixer": "lstm", "mixer_width": 40}, "parameters", 1000, 1010)
    >>> f"{match.difference:+.1%}", match.command_line
    ('+1.0%', '--mixer lstm --mixer_width 40')
    """

    preset: str
    options: dict[str, Any]  # of the preset, with the values that match
    matched: str  # parameters or macs
    wanted: int
    found: int

    @property
    def difference(self) -> float:
        """How much more than wanted, as a share of it."""
        return self.found / self.wanted - 1

    @property
    def command_line(self) -> str:
        """The options as they are typed after a recipe's train.py, or after another command that takes them."""
        return " ".join(f"--{key} {value}" for key, value in self.options.items())


def matching_size(preset: str, mixer: str, match: str = "parameters", **options: Any) -> Match:
    """Find the width at which a preset with another mixer matches the preset itself.

    Only `mixer_width` changes, and where 4 heads give too coarse steps `mixer_heads`: the frame stays the same.

    Arguments
    ---------
    preset : str
        A name from `lobes.models.list_models` of a network that can change its mixer.
    mixer : str
        One of `lobes.nnet.mixers.MIXERS`.
    match : str
        `parameters`, or `macs` as `lobes.evaluation.complexity.count` gives them.
    **options
        Further options of the preset, the same for both networks, such as `n_layers`.

    Returns
    -------
    Match

    Raises
    ------
    UserError
        For a preset that cannot change its mixer, for unknown names, and if no width comes within 2 %.

    Example
    -------
    >>> found = matching_size("tf_gridnet_mini", "mamba", n_layers=1)
    >>> sorted(found.options), abs(found.difference) < 0.02
    (['mixer', 'mixer_width', 'n_layers'], True)
    """
    _check(preset, mixer, match, options)
    count = _counter(preset, match)
    wanted = count(**options)
    best: Match | None = None
    for heads in HEADS if mixer in WITH_HEADS else (1,):
        more = {"mixer_heads": heads} if mixer in WITH_HEADS else {}
        changed = {**options, "mixer": mixer, **more}
        width, found = nearest_width(_by_width(count, changed), wanted, heads)
        one = Match(preset, {**changed, "mixer_width": width}, match, wanted, found)
        best = one if best is None or abs(one.difference) < abs(best.difference) else best
        if abs(best.difference) <= WITHIN:
            return best
    assert best is not None
    raise UserError(
        f"{preset}: no width of mixer: {mixer} comes within {WITHIN:.0%} of {wanted:,} {match}; the nearest, "
        f"{best.command_line}, has {best.found:,} ({best.difference:+.1%}). Take a larger preset or other options"
    )


def nearest_width(count: Callable[[int], int], wanted: int, step: int = 1) -> tuple[int, int]:
    """Find the width, a multiple of `step`, whose count comes nearest to `wanted`; both are returned.

    Counts grow with the width and its square, so that three of them say where to look.

    Example
    -------
    >>> nearest_width(lambda width: 3 * width**2 + 5 * width + 7, 30_000, step=2)
    (100, 30507)
    """
    known: dict[int, int] = {}

    def at(number: int) -> int:
        if number not in known:
            known[number] = count(number * step)
        return known[number]

    number = max(ceil(_root([(n, at(n)) for n in SAMPLES], wanted)), 1)
    while at(number) < wanted:  # where the growth is not quite that of a square
        number += 1
    while number > 1 and at(number - 1) >= wanted:
        number -= 1
    best = min(known, key=lambda one: abs(known[one] - wanted))
    return best * step, known[best]


def _root(points: list[tuple[int, int]], wanted: float) -> float:
    """Where the parabola through three points, which rises, reaches a value."""
    (a, fa), (b, fb), (c, fc) = points
    slope = (fb - fa) / (b - a)
    square = ((fc - fb) / (c - b) - slope) / (c - a)
    linear, constant = slope - square * (a + b), fa - slope * a + square * a * b
    if abs(square) < 1e-9:
        return (wanted - constant) / linear
    return (-linear + sqrt(max(linear**2 - 4 * square * (constant - wanted), 0.0))) / (2 * square)


def _counter(preset: str, match: str) -> Callable[..., int]:
    """What counts the preset with some options."""
    from lobes.evaluation.complexity import count, parameters_of
    from lobes.models import get_model

    def counted(**options: Any) -> int:
        model = get_model(preset, **options)
        return parameters_of(model) if match == "parameters" else count(model).total

    return counted


def _by_width(count: Callable[..., int], options: dict[str, Any]) -> Callable[[int], int]:
    return lambda width: count(**options, mixer_width=width)


def _check(preset: str, mixer: str, match: str, options: dict[str, Any]) -> None:
    from lobes.config import read_preset
    from lobes.nnet.mixers import chosen_mixer

    if match not in MATCHED:
        raise UserError(f"match: expected {' or '.join(MATCHED)}, got {match!r}.{did_you_mean(str(match), MATCHED)}")
    if "mixer" not in read_preset(preset).options:
        raise UserError(
            f"{preset}: its sequence model cannot be exchanged. SPMamba, TF-GridNet, DPMamba, DPRNN, SepFormer, "
            "Mamba-TasNet, BSRNN, BS-BiMamba and MBS-Net have the key mixer"
        )
    chosen_mixer(mixer, mixer)
    if sought := [key for key in ("mixer", "mixer_width", "mixer_heads") if key in options]:
        raise UserError(f"{sought[0]}: this is what is sought; leave it out")
