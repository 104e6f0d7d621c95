"""The manifests of a data set as tables: what is wrong in their text, counted over all splits."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lobes.data.files import ENDING
from lobes.data.folders import holds
from lobes.data.manifest import DATA_ROOT, SPLITS, shorten
from lobes.data.paths import PLACEHOLDER, absolute, is_inside
from lobes.data.shards.index import MANIFEST, root_of
from lobes.data.shards.member import file_of
from lobes.data.tables import TextTable, read_table
from lobes.doctor.finding import FAIL, OK, WARN, Finding
from lobes.errors import UserError

NEEDED = ("ID", "mix_wav", "s1_wav")
Row = Mapping[str, Any]


def find_manifests(path: str | os.PathLike[str]) -> dict[str, Path]:
    """Split -> manifest, of a folder with train.csv, valid.csv and test.csv, of a folder of shards, or of one file.

    Raises
    ------
    UserError
        Where there is none.
    """
    place = Path(path)
    if place.is_file():
        return {place.stem: place}
    found = {split: place / f"{split}.csv" for split in SPLITS if (place / f"{split}.csv").is_file()}
    found = found or {split: path for split in SPLITS if root_of(path := place / split / MANIFEST)}
    if not found:
        what = f"it holds {holds(place)}" if place.is_dir() else "there is no such folder"
        raise UserError(
            f"--data {path}: expected a manifest or a folder with {', '.join(f'{split}.csv' for split in SPLITS)}; "
            f"{what}. For a data set that a recipe reads, name it: --recipe PolSESS (or VoiceBank, LibriMix ...)."
        )
    return found


def check_tables(
    manifests: Mapping[str, Path], data_root: str | None, rows: dict[str, list[dict[str, str]]]
) -> Iterator[Finding]:
    """IDs, columns, rows, durations and paths; puts the rows of each split that can be read, with its paths, in `rows`.

    Arguments
    ---------
    manifests : mapping
        Split -> path.
    data_root : str, optional
        What `$data_root` stands for; the folder of each manifest if not given.
    rows : dict
        Is filled.
    """
    tables: dict[str, TextTable] = {}
    for split, path in manifests.items():
        root = data_root or str(root_of(path) or absolute(path).parent)
        try:
            table = read_table(path, NEEDED, root)
            rows[split] = table.resolved(root)
            tables[split] = table
        except UserError as error:
            yield Finding(FAIL, "manifests", str(error))
    if tables:
        yield Finding(
            OK, "manifests", ", ".join(f"{split}: {len(table.rows):,} rows" for split, table in tables.items())
        )
    yield _durations(tables)
    yield (None if data_root else _without_root(tables, rows)) or _paths(tables, rows, data_root)
    left = sorted(str(file) for path in manifests.values() for file in path.parent.glob(f"*{ENDING}"))
    if left:
        text = f"{shorten(left)}: a preparation was stopped half-way. Run it again, then these files may be deleted."
        yield Finding(WARN, "unfinished files", text)


def _durations(tables: Mapping[str, TextTable]) -> Finding:
    bad = []
    for table in tables.values():
        for index, row in enumerate(table.rows):
            if "duration" not in row:
                break
            try:
                seconds = table.number(index, "duration")
            except UserError:
                seconds = math.nan
            if not (math.isfinite(seconds) and seconds > 0):
                bad.append(f"{table.where(index)} {row['duration']!r}")
    if bad:
        text = f"{len(bad)} are no positive number of seconds: {shorten(bad)}. Prepare the data again."
        return Finding(FAIL, "durations", text)
    return Finding(OK, "durations", "positive numbers, where there are any")


def _without_root(tables: Mapping[str, TextTable], rows: Mapping[str, list[dict[str, str]]]) -> Finding | None:
    """Paths begin with a placeholder, and nobody said what it stands for."""
    for split, table in tables.items():
        if PLACEHOLDER.match(table.rows[0]["mix_wav"]) and not any(
            file_of(row["mix_wav"]).is_file() for row in rows[split]
        ):
            text = f"{table.path}: they begin with $data_root, and the files are not in its own folder."
            return Finding(FAIL, "paths", f"{text} Add --data-root FOLDER, the data folder that it was prepared from.")
    return None


def _paths(tables: Mapping[str, TextTable], rows: Mapping[str, list[dict[str, str]]], root: str | None) -> Finding:
    leaving, elsewhere = [], 0
    for split, table in tables.items():
        folder = root or str(root_of(table.path) or absolute(table.path).parent)
        for index, row in enumerate(rows[split]):
            for column in row:
                written = table.rows[index][column]
                if not column.endswith("_wav") or not written or is_below(row[column], folder):
                    continue
                if os.path.isabs(written) and not written.startswith(DATA_ROOT):
                    elsewhere += 1
                else:
                    leaving.append(f"{table.where(index)}: {column} {written}")
    if leaving:
        text = f"{len(leaving)} lead out of the data folder: {shorten(leaving)}. Write them as {DATA_ROOT}/..."
        return Finding(FAIL, "paths", text)
    if elsewhere and root:
        text = f"{elsewhere} files lie outside of {root}, by paths from the root: they are right on this machine only."
        return Finding(WARN, "paths", text)
    return Finding(OK, "paths", "in the data folder" if not elsewhere else "from the root")


def is_below(file: str, folder: str) -> bool:
    """Whether a file lies in a folder by its name, or else where its links lead.

    Example
    -------
    >>> is_below("/data/a.wav", "/data"), is_below("/data/../a.wav", "/data")
    (True, False)
    """
    return os.path.abspath(file).startswith(os.path.join(os.path.abspath(folder), "")) or is_inside(file, folder)
