"""How many speakers a folder of mixtures holds: by its folders, by the names of its files, by its own name."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lobes.data.folders import sound_files
from lobes.data.manifest import SOURCE, SPLITS
from lobes.data.tables import read_table
from lobes.errors import UserError

SOURCE_FOLDER = re.compile(r"s(\d+)(?:_(?:anechoic|reverb))?")
DATA_SET = re.compile(r"(?:^|[^a-z0-9])([1-9])[ _-]?speakers?|libri([2-9])mix|wsj0?[ _-]?([2-9])mix", re.IGNORECASE)


def sources_in(folder: Path) -> list[str]:
    """Return the folders s1, s2 ... in which there is sound, sorted by their numbers.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as root:
    ...     for part in ("s2", "s1", "s3", "noise"):
    ...         Path(root, part).mkdir()
    ...     Path(root, "s2", "a.wav").touch(); Path(root, "s1", "a.wav").touch()
    ...     sources_in(Path(root))
    ['s1', 's2']
    """
    found = [(int(match[1]), path.name) for path in folder.iterdir() if (match := SOURCE_FOLDER.fullmatch(path.name))]
    return [name for _, name in sorted(found) if sound_files(folder / name)]


def refuse_other_number(
    splits: Mapping[str, Mapping[str, Path]],
    data_folder: str | os.PathLike[str],
    speakers: Callable[[str], Sequence[str]] = lambda stem: (),
) -> None:
    """Raise a UserError if mixtures have more speakers than there are parts s1, s2 ...

    Fewer are another matter: a folder s1, s2 ... is missing then, and whoever reads it finds that. Where all are there,
    they count, whatever the names say.

    Arguments
    ---------
    splits : mapping
        Split -> part -> folder; the folders of a split lie next to each other.
    data_folder : str or PathLike
        The data set's folder, whose name may say the number: Libri3Mix, 2speakers.
    speakers : callable
        Returns the speakers of a file's stem; () where the name does not say.
    """
    for parts in splits.values():
        num_spks = sum(part[0] == "s" and part[1:].isdigit() for part in parts)
        _refuse_other_folders(parts["mix"].parent, num_spks)
        stems = (Path(name).stem for name in sound_files(parts["mix"]))
        other = next((stem for stem in stems if len(speakers(stem)) > num_spks), None)
        if other:
            _refuse(
                len(speakers(other)), num_spks, f"{parts['mix']}: {other} is a name of {len(speakers(other))} speakers"
            )
    named = [int(n) for match in DATA_SET.finditer(Path(data_folder).name) for n in match.groups() if n]
    if named and named[0] > num_spks:
        _refuse(named[0], num_spks, f"data_folder {data_folder} is a name of {named[0]} speakers")


def refuse_other_sources(save_folder: str | os.PathLike[str], num_spks: int) -> None:
    """Raise a UserError if manifests that are trusted (skip_prep) have another number of sources than `num_spks`."""
    for path in (Path(save_folder, f"{split}.csv") for split in SPLITS):
        row = read_table(path).rows[0] if path.is_file() else {}
        sources = [column for column in row if SOURCE.fullmatch(column) and row[column]]
        if row and len(sources) != num_spks:
            _refuse(len(sources), num_spks, f"{path} has {', '.join(sources)}")


def _refuse_other_folders(folder: Path, num_spks: int) -> None:
    sources = sources_in(folder) if folder.is_dir() else []
    numbers = [int(name.partition("_")[0][1:]) for name in sources]
    if max(numbers, default=0) > num_spks:
        _refuse(max(numbers), num_spks, f"{folder} holds {', '.join(sources)}")


def _refuse(found: int, num_spks: int, why: str) -> None:
    single = ", or take mixtures of one speaker (--mixtures single, where there are any)" if num_spks == 1 else ""
    raise UserError(f"{why}: mixtures of {found} speakers, num_spks is {num_spks}. Set --num_spks {found}{single}.")
