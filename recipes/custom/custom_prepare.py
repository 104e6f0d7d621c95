#!/usr/bin/env python3
"""Write the manifests of mixtures of your own: folders, or CSV files.

> python custom_prepare.py /data/mine results/manifests --num_spks 2

The folder holds `{train,valid,test}/{mix,s1,s2 ...}` with equal names in all parts, or `train.csv`, `valid.csv` and
`test.csv` with the columns `ID,mix_wav,s1_wav,s2_wav ...` and paths relative to the folder. A column `noise_wav` or a
folder `noise` is a part of the mixture, but no source.
"""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lobes.data.manifest import SPLITS
from lobes.data.parallel_folders import check_and_write, command_line, prepare, refuse_shared_speakers, source_parts
from lobes.errors import UserError, exit_on_user_error


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
        Trust the manifests that are there.

    Raises
    ------
    UserError
        Neither folders nor tables, a table without a column, and what `lobes.data.parallel_folders.prepare` raises.
        Columns `speaker1`, `speaker2` ... of a table are checked for speakers in two splits; folders name none.
    """
    if skip_prep:
        return
    root = Path(os.path.abspath(data_folder))
    parts = source_parts(num_spks)
    if (root / "train.csv").is_file():
        rows = {split: read_table(root, split, parts) for split in SPLITS}
        refuse_shared_speakers(rows, ())
        check_and_write(rows, root, Path(save_folder), sample_rate, check_files, verify_sum)
        return
    if not (root / "train" / "mix").is_dir():
        raise UserError(f"{root}: expected train.csv or a folder train/mix, found neither. Look at data_folder.")
    splits = {
        split: {
            part: root / split / part for part in [*parts, *(["noise"] if (root / split / "noise").is_dir() else [])]
        }
        for split in SPLITS
    }
    prepare(splits, root, save_folder, sample_rate=sample_rate, check_files=check_files, verify_sum=verify_sum)


def read_table(root: Path, split: str, parts: Sequence[str]) -> list[dict[str, Any]]:
    """Read the rows of a table, with absolute paths."""
    path = root / f"{split}.csv"
    if not path.is_file():
        raise UserError(f"{path}: no such table; {root} has train.csv, so it needs valid.csv and test.csv, too.")
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    missing = [name for name in ("ID", *(f"{part}_wav" for part in parts)) if name not in (reader.fieldnames or ())]
    if missing or not rows:
        raise UserError(f"{path}: expected rows with the columns {', '.join(missing) or 'of a mixture'}, found none.")
    return [{k: str(root / v) if k.endswith("_wav") and v else v for k, v in row.items()} for row in rows]


def main(argv: Sequence[str]) -> None:
    """The command line."""
    prepare_custom(**vars(command_line(__doc__).parse_args(argv)))


if __name__ == "__main__":
    with exit_on_user_error():
        main(sys.argv[1:])
