"""Audio files in and out of a separator: one channel, the file's own rate, its level. T samples."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lobes.data.rates import resample
from lobes.errors import UserError
from lobes.inference.writing import suffix_for
from lobes.metrics.pcs import LEAST, RATE, pcs_at_level

# File systems allow 255 bytes; the longest of what comes behind the base name while a file is written.
LONGEST = 255 - len("_enhanced_pcs.aiff.partial")


def stretched(x: np.ndarray, rate: int) -> np.ndarray:
    """Perceptual contrast stretching of [T, C] at any rate, level kept; what is too short for it stays as it is."""
    signals = resample(x, rate, RATE)
    if len(signals) < LEAST:
        return x
    columns = [resample(pcs_at_level(signal), RATE, rate)[: len(x)] for signal in signals.T]
    return np.stack(columns, 1)


def targets_of(
    paths: Sequence[str | os.PathLike[str]], out: Path, endings: Sequence[str], form: str = "wav"
) -> list[list[Path]]:
    """The files to write for each input, `<name><ending>.<form>`; an input is never overwritten.

    `form` is one of `lobes.inference.writing.FORMATS`, or `same`.

    Raises
    ------
    UserError
        If one of them is an input.
    """
    named = zip(base_names(paths), (suffix_for(form, path) for path in paths), strict=True)
    targets = [[out / f"{name}{ending}.{suffix}" for ending in endings] for name, suffix in named]
    inputs = {Path(path).resolve() for path in paths}
    for target in (target for group in targets for target in group):
        if target.resolve() in inputs:
            raise UserError(f"{target}: is an input file and would be overwritten. Give another output folder.")
    return targets


def base_names(paths: Sequence[str | os.PathLike[str]]) -> list[str]:
    """Choose a base name for each input file, all different.

    The file's stem; if several inputs share it, the parent folder's name goes in front; what still collides
    gets -2, -3 ... in the order given. Names that differ only in case count as the same, as some file
    systems hold.

    Example
    -------
    >>> base_names(["a/mix.wav", "b/mix.wav", "b/mix.flac", "b/other.wav"])
    ['a-mix', 'b-mix', 'b-mix-2', 'other']
    """
    stems = Counter(_key(Path(path).stem) for path in paths)
    taken: set[str] = set()
    names = []
    for path in map(Path, paths):
        shared = stems[_key(path.stem)] > 1
        name = _free(f"{path.absolute().parent.name}-{path.stem}" if shared else path.stem, taken)
        taken.add(_key(name))
        names.append(name)
    return names


def _free(wanted: str, taken: set[str]) -> str:
    """The wanted name, cut to a legal length, with the first number behind it that makes it new."""
    name, number = _cut(wanted, LONGEST), 1
    while _key(name) in taken:
        number += 1
        name = _cut(wanted, LONGEST - len(f"-{number}")) + f"-{number}"
    return name


def _cut(name: str, longest: int) -> str:
    while len(os.fsencode(name)) > longest:
        name = name[:-1]
    return name


def _key(name: str) -> str:
    return name.casefold()
