"""Manifests: one CSV per split, with the same contract for every data set, checked when it is read.

The columns are `ID,duration,mix_wav,s1_wav[,s2_wav...][,noise_wav]`, then any others. A column of paths ends in `_wav`,
and `$data_root` in a path stands for the data folder. Durations are in seconds; an empty cell means absent.
"""

from __future__ import annotations

import csv
import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lobes.data.files import replacing
from lobes.data.paths import absolute
from lobes.data.shards.member import member_of
from lobes.data.tables import TextTable, read_table
from lobes.errors import UserError, did_you_mean

DATA_ROOT = "$data_root"
SPLITS = ("train", "valid", "test")  # a recipe's manifests are <split>.csv
REQUIRED = ("ID", "duration", "mix_wav", "s1_wav")
SOURCE = re.compile(r"s(\d+)_wav")
SPEAKER = re.compile(r"(speaker|spk)(s|_?id)?_?\d*", re.IGNORECASE)
TEXT = re.compile(r"text|s\d+_text")  # what is said, for word error rates
ORDER = ("ID", "duration", "mix_wav", SOURCE, "noise_wav")  # of the contract's columns
SHOWN = 3  # how many names an error lists
FIRST = 50  # how many rows check_files="first" looks at


def write_manifest(path: str | os.PathLike[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows sorted by ID. The file appears whole: a killed run never leaves half of it.

    None and missing columns become empty cells. The columns of the contract come first, the others follow in the order
    of the rows' keys.

    Raises
    ------
    UserError
        No rows, or an ID that occurs twice.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> row = {"ID": "a", "duration": 4.0, "mix_wav": "$data_root/a.wav", "s1_wav": "$data_root/s.wav"}
    >>> with TemporaryDirectory() as folder:
    ...     write_manifest(f"{folder}/train.csv", [row])
    ...     print(Path(f"{folder}/train.csv").read_text().strip())
    ID,duration,mix_wav,s1_wav
    a,4.0,$data_root/a.wav,$data_root/s.wav
    """
    rows = sorted(rows, key=lambda row: row["ID"])
    _refuse_empty(path, rows)
    refuse_duplicates(path, rows)
    columns = sorted(dict.fromkeys(column for row in rows for column in row), key=_place)
    with (
        replacing(path) as partial,
        open(partial, "w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_manifest(
    path: str | os.PathLike[str],
    data_root: str | os.PathLike[str] | None = None,
    types: Mapping[str, type] | None = None,
    needed: Sequence[str] = REQUIRED,
) -> list[dict[str, Any]]:
    """Read and check a manifest; no audio file is touched (see `check_files`).

    Arguments
    ---------
    path : str or PathLike
        The CSV.
    data_root : str or PathLike, optional
        What `$data_root` stands for. When given, every `*_wav` path lies below it, or is one from the root to a file
        that is there.
    types : mapping, optional
        Column -> bool or float, for the data set's own columns; a column may be absent.
    needed : sequence of str
        The columns that must be there and filled.

    Returns
    -------
    list of dict
        In the file's order. `duration` is a float in seconds, columns in `types` have their type, everything else
        is a string. Empty cells stay "".

    Raises
    ------
    UserError
        Missing file or column, no rows, duplicate ID, bad duration or value, a path outside `data_root`.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> row = {"ID": "a", "duration": 4.0, "mix_wav": "$data_root/a.wav", "s1_wav": "$data_root/s.wav", "far": True}
    >>> with TemporaryDirectory() as folder:
    ...     write_manifest(f"{folder}/train.csv", [row])
    ...     read_manifest(f"{folder}/train.csv", "/corpus", {"far": bool})
    [{'ID': 'a', 'duration': 4.0, 'mix_wav': '/corpus/a.wav', 's1_wav': '/corpus/s.wav', 'far': True}]
    """
    if not os.path.isfile(path):
        raise UserError(f"{path}: no such manifest. Run the recipe's prepare step, or correct the path.")
    table = read_table(path, needed, data_root)
    root = None if data_root is None else str(absolute(data_root))
    typed = {"duration": float, **(types or {})}
    return [_parse(table, index, root, typed) for index in range(len(table.rows))]


def portable(row: Mapping[str, Any], root: str | os.PathLike[str]) -> dict[str, Any]:
    """Write $data_root instead of the data folder in a row's paths, so that the folder may move.

    Files elsewhere keep their path from the root.

    Example
    -------
    >>> portable({"ID": "a", "mix_wav": "/data/mix/a.wav", "s1_wav": "/else/a.wav", "s2_wav": ""}, "/data")
    {'ID': 'a', 'mix_wav': '$data_root/mix/a.wav', 's1_wav': '/else/a.wav', 's2_wav': ''}
    """
    start, paths = absolute(root), {column: cell for column, cell in row.items() if column.endswith("_wav") and cell}
    return {**row, **{column: _portable(absolute(cell), start) for column, cell in paths.items()}}


def _portable(path: Path, root: Path) -> str:
    inside = path.is_relative_to(root)
    return f"{DATA_ROOT}/{path.relative_to(root).as_posix()}" if inside else os.fspath(path)


def check_files(rows: Sequence[Mapping[str, Any]], which: str = "all") -> None:
    """Check that the files of the rows exist: of "all", of the "first" 50, or of "none".

    Raises
    ------
    UserError
        Files are missing (all are counted, the first ones named), or `which` is unknown.

    Example
    -------
    >>> try:
    ...     check_files([{"ID": "a", "mix_wav": "/none/a.wav", "s1_wav": "/none/b.wav", "s2_wav": ""}])
    ... except UserError as error:
    ...     print(error)
    2 of 2 files are missing: /none/a.wav, /none/b.wav. Check that data_folder is right and complete.
    """
    files = wav_files(chosen_rows(rows, which))
    missing = [file for file in files if not os.path.isfile(file)]
    if missing:
        raise UserError(
            f"{len(missing)} of {len(files)} files are missing: {shorten(missing)}. "
            "Check that data_folder is right and complete."
        )


def chosen_rows(rows: Sequence[Mapping[str, Any]], which: str) -> Sequence[Mapping[str, Any]]:
    """Return the rows that "all", "first" or "none" stands for.

    Example
    -------
    >>> len(chosen_rows([{"ID": str(n)} for n in range(99)], "first"))
    50
    """
    counts = {"all": len(rows), "first": FIRST, "none": 0}
    if which not in counts:
        hint = did_you_mean(str(which), counts)
        raise UserError(f"check_files: expected all, first or none, got {which!r}.{hint}")
    return rows[: counts[which]]


def wav_files(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return every file that the rows name, once, in order.

    Example
    -------
    >>> wav_files([{"ID": "a", "mix_wav": "m.wav", "s1_wav": "s.wav", "s2_wav": ""}])
    ['m.wav', 's.wav']
    """
    return list(dict.fromkeys(row[c] for row in rows for c in row if c.endswith("_wav") and row[c]))


def shorten(names: Sequence[str]) -> str:
    """Join the first few names for an error message.

    Example
    -------
    >>> shorten(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    rest = len(names) - SHOWN
    return ", ".join(map(str, names[:SHOWN])) + (f" and {rest} more" if rest > 0 else "")


def refuse_duplicates(path: str | os.PathLike[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Raise a UserError that counts and names the IDs which occur more than once.

    Example
    -------
    >>> refuse_duplicates("train.csv", [{"ID": "a"}, {"ID": "b"}])
    """
    twice = [ID for ID, count in Counter(row["ID"] for row in rows).items() if count > 1]
    if twice:
        raise UserError(f"{path}: {len(twice)} IDs occur more than once: {shorten(twice)}. IDs must be unique.")


def texts_of(row: Mapping[str, Any], num_sources: int) -> list[str]:
    """What each source says: the columns s1_text, s2_text ..., for one source also `text`; empty where unknown.

    Example
    -------
    >>> texts_of({"ID": "a", "text": "Hello."}, 1), texts_of({"ID": "a", "s2_text": "Hello."}, 2)
    (['Hello.'], ['', 'Hello.'])
    """
    alone = "text" if num_sources == 1 else ""
    return [str(row.get(f"s{number}_text") or row.get(alone) or "") for number in range(1, num_sources + 1)]


def _place(column: str) -> tuple[int, int]:
    """The place of a column: sources in the order of their numbers, unnamed columns of the contract last."""
    if source := SOURCE.fullmatch(column):
        return ORDER.index(SOURCE), int(source[1])
    return (ORDER.index(column) if column in ORDER else len(ORDER)), 0


def _refuse_empty(path: str | os.PathLike[str], rows: Sequence[Any]) -> None:
    if not rows:
        raise UserError(f"{path}: the split has no rows.")


def _parse(table: TextTable, index: int, root: str | None, types: Mapping[str, type]) -> dict[str, Any]:
    row, where = table.rows[index], table.where(index)
    parsed: dict[str, Any] = dict(row)
    for column, cell in row.items():
        if column.endswith("_wav"):
            parsed[column] = _path(where, column, cell, root)
        elif cell and column in types:
            parsed[column] = _boolean(where, column, cell) if types[column] is bool else table.number(index, column)
    if not (math.isfinite(parsed["duration"]) and parsed["duration"] > 0):
        raise UserError(f"{where}: duration must be a positive number of seconds, got {row['duration']!r}.")
    return parsed


def _path(where: str, column: str, cell: str, root: str | None) -> str:
    if not cell or root is None:
        return cell
    file = os.path.abspath(cell.replace(DATA_ROOT, root, 1))
    inside = file.startswith(os.path.join(root, ""))
    if not inside and not (os.path.isabs(cell) and (os.path.isfile(file) or member_of(cell))):
        raise UserError(f"{where}: {column} lies outside the data folder {root}: {cell}. Write it as {DATA_ROOT}/...")
    return file


def _boolean(where: str, column: str, cell: str) -> bool:
    if cell.lower() not in ("true", "false"):  # spreadsheets write TRUE
        raise UserError(f"{where}: {column} must be True or False, got {cell!r}.")
    return cell.lower() == "true"


def speakers_in(row: Mapping[str, Any]) -> str:
    """The speakers of a mixture by the columns that are named so, with + between; empty where none says.

    Example
    -------
    >>> speakers_in({"ID": "a", "speaker1": "anna", "speaker2": "jan", "speaker3": ""})
    'anna+jan'
    """
    found = [str(value) for column, value in row.items() if SPEAKER.fullmatch(column) and value not in (None, "")]
    return "+".join(dict.fromkeys(found))


def speaker_condition(row: Mapping[str, Any]) -> dict[str, str]:
    """`speakers_in` as a condition of a table of scores; none where the row does not say who speaks.

    Example
    -------
    >>> speaker_condition({"ID": "a", "speaker": "anna"}), speaker_condition({"ID": "b"})
    ({'speaker': 'anna'}, {})
    """
    speakers = speakers_in(row)
    return {"speaker": speakers} if speakers else {}
