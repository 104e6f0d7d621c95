"""Names for output files: one base name per input, never twice the same, the same on every call."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

# File systems allow 255 bytes; "_s99.wav" comes behind the base name.
LONGEST = 255 - len("_s99.wav")


def base_names(paths: Sequence[str | os.PathLike[str]]) -> list[str]:
    """Choose a base name for each input file.

    The file's stem; if several inputs share it, the parent folder's name goes in front; what still collides
    gets -2, -3 ... in the order given. Names that differ only in case count as the same, as some file
    systems hold.

    Arguments
    ---------
    paths : sequence of str or PathLike

    Returns
    -------
    list of str
        As long as `paths`, all different.

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
