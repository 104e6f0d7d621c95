#!/usr/bin/env python3
"""Write the manifests of mixtures of your own: folders, or CSV files.

> python custom_prepare.py /data/mine results/manifests --num_spks 2

The folder holds `{train,valid,test}/{mix,s1,s2 ...}` with equal names in all parts, or `train.csv`, `valid.csv` and
`test.csv` with the columns `ID,mix_wav,s1_wav,s2_wav ...`: paths relative to the folder or from the root, any usual
separator and encoding. A column `noise_wav` or a folder `noise` is a part of the mixture, but no source.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lobes.data.folders import holds, missing_folder
from lobes.data.manifest import SOURCE, SPLITS, chosen_rows, shorten
from lobes.data.parallel_folders import (
    check_and_write,
    command_line,
    parts_of,
    prepare,
    refuse_shared_speakers,
    source_parts,
)
from lobes.data.paths import absolute, refuse_inside
from lobes.data.speaker_count import refuse_other_number, refuse_other_sources
from lobes.data.tables import TextTable, read_table
from lobes.errors import UserError, exit_on_user_error

TABLES = (".csv", ".tsv")


def prepare_custom(
    data_folder: str | os.PathLike[str],
    save_folder: str | os.PathLike[str],
    num_spks: int = 2,
    sample_rate: int = 8000,
    check_files: str = "all",
    verify_sum: int | None = None,
    skip_prep: bool = False,
) -> None:
    """Write `<save_folder>/{train,valid,test}.csv`.

    Arguments
    ---------
    data_folder, save_folder : str or PathLike
        The folder with the parts or the tables, and where the manifests go.
    num_spks : int
        Sources.
    sample_rate : int
        In Hz, of all files.
    check_files, verify_sum
        As in `lobes.data.parallel_folders.prepare`.
    skip_prep : bool
        Trust the manifests that are there, if they have that number of sources.

    Raises
    ------
    UserError
        Neither folders nor tables, a table without a column, more sources than num_spks, and what
        `lobes.data.parallel_folders.prepare` raises. Columns `speaker1`, `speaker2` ... of a table are checked for
        speakers in two splits; folders name none.
    """
    if skip_prep:
        return refuse_other_sources(save_folder, num_spks)
    root = absolute(data_folder)
    refuse_inside(save_folder, root, "save_folder")
    if tables := find_tables(root):
        rows = {split: read_mixtures(table, root, num_spks, check_files) for split, table in tables.items()}
        refuse_shared_mixtures(tables, rows)
        refuse_shared_speakers(rows, ())
        check_and_write(rows, root, Path(save_folder), sample_rate, check_files, verify_sum)
        return
    if not root.is_dir():
        raise UserError(f"data_folder {missing_folder(root, {})}")
    if not (root / "train" / "mix").is_dir():
        inside = f", its train holds {holds(root / 'train')}" if (root / "train").is_dir() else ""
        raise UserError(
            f"data_folder {root}: expected train.csv or a folder train/mix, found neither; it holds "
            f"{holds(root)}{inside}."
        )
    splits = {
        split: {
            part: root / split / part
            for part in [*parts_of(num_spks, "mix"), *(["noise"] if (root / split / "noise").is_dir() else [])]
        }
        for split in SPLITS
    }
    refuse_other_number(splits, "")
    prepare(splits, root, save_folder, sample_rate=sample_rate, check_files=check_files, verify_sum=verify_sum)


def find_tables(root: Path) -> dict[str, Path]:
    """Find the table of each split; none where there is not one of them."""
    names = {path.name.lower(): path for path in sorted(root.iterdir())} if root.is_dir() else {}
    found = {split: [names[f"{split}{ending}"] for ending in TABLES if f"{split}{ending}" in names] for split in SPLITS}
    missing = [split for split in SPLITS if not found[split]]
    if missing and len(missing) < len(SPLITS):
        there = ", ".join(path.name for paths in found.values() for path in paths)
        raise UserError(f"{root / missing[0]}.csv: no such table; {root} has {there}, so it needs all of {SPLITS}.")
    return {split: paths[0] for split, paths in found.items() if paths}


def read_mixtures(path: Path, root: Path, num_spks: int, check_files: str = "all") -> list[dict[str, Any]]:
    """Read the rows of a table of mixtures, with absolute paths."""
    table = read_table(path, ["ID", *(f"{part}_wav" for part in source_parts(num_spks))], root)
    for index, row in enumerate(table.rows):
        more = next((c for c in row if (number := SOURCE.fullmatch(c)) and int(number[1]) > num_spks and row[c]), None)
        if more:
            raise UserError(
                f"{table.where(index)}: {more} is a source, too, but num_spks is {num_spks}. Set --num_spks to the "
                "number of sources, or give what is none of them another name, such as noise_wav."
            )
    rows = table.resolved(root)
    refuse_missing_files(table, chosen_rows(rows, check_files), root)
    refuse_equal_parts(table, rows, num_spks)
    return rows


def refuse_equal_parts(table: TextTable, rows: Sequence[Mapping[str, Any]], num_spks: int) -> None:
    """Raise a UserError where one file is two sources, or the mixture of several sources and one of them."""
    parts = [f"{part}_wav" for part in source_parts(num_spks)[0 if num_spks > 1 else 1 :]]
    for n, row in enumerate(rows):
        twice = [column for column in parts if [row[part] for part in parts].count(row[column]) > 1]
        if twice:
            raise UserError(
                f"{table.where(n)}: {' and '.join(twice)} are one file, {row[twice[0]]}. Correct the table."
            )


def refuse_shared_mixtures(tables: Mapping[str, Path], rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Raise a UserError for mixtures that are in the table of training and in another one."""
    trained = {row["mix_wav"] for row in rows["train"]}
    for split in ("valid", "test"):
        shared = [row["ID"] for row in rows[split] if row["mix_wav"] in trained]
        if shared:
            raise UserError(
                f"{tables[split]}: {len(shared)} of its mixtures are in {tables['train'].name}, too: "
                f"{shorten(shared)}. A score on mixtures of training says nothing about others; make the tables anew."
            )


def refuse_missing_files(table: TextTable, rows: Sequence[Mapping[str, Any]], root: Path) -> None:
    """Raise a UserError that counts the files which are not there and shows how the first one is written."""
    files = [(n, column) for n, row in enumerate(rows) for column in row if column.endswith("_wav") and row[column]]
    missing = [(n, column) for n, column in files if not os.path.isfile(rows[n][column])]
    if missing:
        n, column = missing[0]
        raise UserError(
            f"{table.where(n)}: {column} is written {table.rows[n][column]}, but there is no file {rows[n][column]}; "
            f"{len(missing)} of {len(files)} files are missing. Write paths relative to {root}, or from the root."
        )


def main(argv: Sequence[str]) -> None:
    """The command line."""
    prepare_custom(**vars(command_line(__doc__).parse_args(argv)))


if __name__ == "__main__":
    with exit_on_user_error():
        main(sys.argv[1:])
