"""Which files to separate, and where their outputs go: folders are mirrored."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from lobes.data.containers.whole import printable
from lobes.errors import UserError
from lobes.inference.files import targets_of

# What libsndfile reads, and what others read: such files are not passed over in silence
READ = "wav wave flac ogg oga opus mp1 mp2 mp3 aif aiff aifc au snd w64 rf64 caf sd2 voc avr iff svx nist sph".split()
UNREAD = "m4a mp4 aac wma mov webm mkv amr ape wv ac3 dts dsf tta mpc 3gp".split()


class Item(NamedTuple):
    """An input, and the files that are made of it."""

    path: Path
    targets: list[Path]


def items_of(
    paths: Sequence[str | os.PathLike[str]],
    out: Path,
    endings: Sequence[str],
    form: str = "wav",
    recursive: bool = False,
) -> list[Item]:
    """The inputs among files and folders, each with its outputs; a folder's outputs lie as its inputs do.

    Inputs of one name that come to one place get their folder's name in front, see `lobes.inference.files.base_names`.
    Hidden files, files without an extension of audio, and what lies in the output folder are passed over in a folder.

    Raises
    ------
    UserError
        A missing path, a folder without audio files, or an output that would overwrite an input.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     Path(folder, "a").mkdir()
    ...     Path(folder, "a", "b.flac").touch()
    ...     [item] = items_of([folder], Path("out"), ["_s1"], recursive=True)
    >>> item.targets[0].as_posix()
    'out/a/b_s1.wav'
    """
    groups: dict[Path, list[Path]] = defaultdict(list)  # output folder -> inputs
    for path in map(Path, paths):
        if not path.is_dir():
            if not path.exists():
                raise UserError(f"{printable(path)}: no such audio file.")
            groups[out].append(path)
            continue
        for found in _inside(path, out, recursive):
            groups[out / found.parent.relative_to(path)].append(found)
    items = []
    for folder, inputs in groups.items():
        items += [Item(*pair) for pair in zip(inputs, targets_of(inputs, folder, endings, form), strict=True)]
    _refuse_overwriting(items)
    return items


def _inside(folder: Path, out: Path, recursive: bool) -> list[Path]:
    """The audio files of a folder, sorted."""
    known = {f".{ending}" for ending in READ + UNREAD}
    inside = out.resolve()
    every = sorted(folder.rglob("*") if recursive else folder.iterdir())
    named = [path for path in every if path.suffix.lower() in known and path.is_file()]
    found = [
        path
        for path in named
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and (folder.resolve() == inside or inside not in path.resolve().parents)
    ]
    if not found:
        below = not recursive and any(path.suffix.lower() in known for path in folder.rglob("*"))
        hint = "They lie in folders below: give --recursive." if below else "Expected files such as .wav or .flac."
        raise UserError(f"{printable(folder)}: this folder holds no audio files. {hint}")
    return found


def _refuse_overwriting(items: Sequence[Item]) -> None:
    inputs = {item.path.resolve() for item in items}
    for target in (target for item in items for target in item.targets):
        if target.resolve() in inputs:
            raise UserError(f"{target}: is an input file and would be overwritten. Give another output folder.")
