"""Which files to separate, and where their outputs go: folders are mirrored."""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from lobes.data.containers.whole import printable
from lobes.errors import UserError
from lobes.inference.files import targets_of

# What libsndfile reads, and what others read: such files are not passed over in silence
READ = "wav wave flac ogg oga opus mp1 mp2 mp3 aif aiff aifc au snd w64 rf64 caf sd2 voc avr iff svx nist sph".split()
UNREAD = "m4a mp4 aac wma mov webm mkv amr ape wv ac3 dts dsf tta mpc 3gp".split()
KNOWN = {f".{ending}" for ending in READ + UNREAD}

logger = logging.getLogger(__name__)


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
    made: Collection[Path] = (),
) -> list[Item]:
    """The inputs among files and folders, each with its outputs; a folder's outputs lie as its inputs do.

    Inputs of one name that come to one place get their folder's name in front, see `lobes.inference.files.base_names`.
    Passed over in a folder are hidden files, files without an extension of audio, an output folder that lies in it, and
    the files of `made`, which an earlier call wrote. Links to folders are followed.

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
    groups: dict[Path, dict[str, Path]] = defaultdict(dict)  # output folder -> inputs, each once
    for path in map(Path, paths):
        if not path.is_dir():
            if not path.exists():
                raise UserError(f"{printable(path)}: no such audio file.")
            groups[out].setdefault(os.path.abspath(path), path)
            continue
        for found in _inside(path, out, recursive, made):
            groups[out / found.parent.relative_to(path)].setdefault(os.path.abspath(found), found)
    items = []
    for folder, named in groups.items():
        inputs = list(named.values())
        items += [Item(*pair) for pair in zip(inputs, targets_of(inputs, folder, endings, form), strict=True)]
    _refuse_overwriting(items)
    return items


def _inside(folder: Path, out: Path, recursive: bool, made: Collection[Path]) -> list[Path]:
    """The audio files of a folder, sorted."""
    here, outputs = folder.resolve(), out.resolve()
    below = here in outputs.parents  # else the folder lies in that of the outputs, or elsewhere
    every = [path for path in _files(folder, recursive) if path.suffix.lower() in KNOWN and path.is_file()]
    places = [(path, path.resolve()) for path in every]
    found = [path for path, place in places if place not in made and not (below and outputs in place.parents)]
    if not found:
        inner = not recursive and any(path.suffix.lower() in KNOWN for path in _files(folder, True))
        hint = "They lie in folders below: give --recursive." if inner else "Expected files such as .wav or .flac."
        hint = "Those that it holds are the outputs of an earlier call." if every else hint
        raise UserError(f"{printable(folder)}: this folder holds no audio files. {hint}")
    return found


def _files(folder: Path, recursive: bool, above: frozenset[str] = frozenset()) -> Iterator[Path]:
    """The files of a folder that are not hidden, and of those in it, in order; `above` are the folders that hold it."""
    real = os.path.realpath(folder)
    if real in above:  # a link back to a folder that holds it
        return
    try:
        entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except PermissionError as error:
        if not above:
            raise
        logger.warning("%s: passed over (%s)", printable(folder), error.strerror)
        return
    for path in entries:
        if not path.is_dir():
            yield path
        elif recursive:
            yield from _files(path, True, above | {real})


def _refuse_overwriting(items: Sequence[Item]) -> None:
    inputs = {item.path.resolve() for item in items}
    for target in (target for item in items for target in item.targets):
        if target.resolve() in inputs:
            raise UserError(f"{target}: is an input file and would be overwritten. Give another output folder.")
