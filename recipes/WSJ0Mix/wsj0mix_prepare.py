#!/usr/bin/env python3
"""Write the manifests of WSJ0-2mix or WSJ0-3mix (Hershey et al. 2016, arXiv:1508.04306).

> python wsj0mix_prepare.py /data/wsj0-mix/2speakers results/manifests

The mixing scripts make the folder: `wav8k/min/{tr,cv,tt}/{mix,s1,s2[,s3]}`. Validation (cv) shares its speakers
with training by design; the test (tt) does not.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from lobes.data.parallel_folders import command_line, prepare, root_of, source_parts
from lobes.errors import exit_on_user_error

FOLDERS = {"train": "tr", "valid": "cv", "test": "tt"}


def prepare_wsj0mix(
    data_folder: str | os.PathLike[str],
    save_folder: str | os.PathLike[str],
    num_spks: int = 2,
    sample_rate: int = 8000,
    mode: str = "min",
    check_files: str = "all",
    verify_sum: int | None = None,
    skip_prep: bool = False,
) -> None:
    """Write `<save_folder>/{train,valid,test}.csv`.

    Arguments
    ---------
    data_folder, save_folder : str or PathLike
        `2speakers` or `3speakers`, and where the manifests go.
    num_spks : int
        2 or 3.
    sample_rate : int
        8000 or 16000 Hz.
    mode : str
        "min": as long as the shortest source, "max": as the longest.
    check_files, verify_sum
        As in `lobes.data.parallel_folders.prepare`.
    skip_prep : bool
        Trust the manifests that are there.

    Raises
    ------
    UserError
        A wrong mode, a missing folder, and what `lobes.data.parallel_folders.prepare` raises.
    """
    if skip_prep:
        return
    root = root_of(data_folder, sample_rate, mode, "data_folder is the one that holds wav8k, such as 2speakers.")
    parts = source_parts(num_spks)
    splits = {split: {part: root / name / part for part in parts} for split, name in FOLDERS.items()}
    prepare(splits, data_folder, save_folder, speakers, sample_rate, check_files, verify_sum, shared_speakers=["valid"])


def speakers(stem: str) -> list[str]:
    """Return the speakers in a file's stem: 050 and 22g in 050a0501_1.7668_22go010u_-1.7668."""
    return [utterance[:3] for utterance in stem.split("_")[::2]]


def main(argv: Sequence[str]) -> None:
    """The command line."""
    parser = command_line(__doc__)
    parser.add_argument("--mode", default="min", help="min or max")
    prepare_wsj0mix(**vars(parser.parse_args(argv)))


if __name__ == "__main__":
    with exit_on_user_error():
        main(sys.argv[1:])
