#!/usr/bin/env python3
"""Write the manifests of a LibriMix folder (Cosentino et al. 2020, arXiv:2005.11262).

> python librimix_prepare.py /data/Libri2Mix results/manifests --mixtures both --train train-360

LibriMix's scripts make the folder: `wav8k/min/{train-360,train-100,dev,test}/{mix_clean,s1,s2,...}`. The kinds
of mixtures are `clean` (the speakers), `both` (speakers and noise; the noise is no source) and `single` (the first
speaker in noise: enhancement, with one source).
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence

from lobes.data.parallel_folders import command_line, parts_of, prepare, refuse_unknown, root_of
from lobes.data.speaker_count import refuse_other_number, refuse_other_sources
from lobes.errors import exit_on_user_error

MIXTURES = ("clean", "both", "single")
TRAIN = ("train-100", "train-360")
FOLDERS = {"valid": "dev", "test": "test"}
UTTERANCE = re.compile(r"\d+-\d+-\d+")
HINTS = {  # folder -> the options that choose it
    **{f"mix_{kind}": f"--mixtures {kind}" for kind in MIXTURES},
    **{name: f"--train_subset {name}" for name in TRAIN},
    "mix_single": "--mixtures single --num_spks 1",
}


def prepare_librimix(
    data_folder: str | os.PathLike[str],
    save_folder: str | os.PathLike[str],
    num_spks: int = 2,
    sample_rate: int = 8000,
    mode: str = "min",
    mixtures: str = "clean",
    train_subset: str = "train-360",
    check_files: str = "all",
    verify_sum: int | None = None,
    skip_prep: bool = False,
) -> None:
    """Write `<save_folder>/{train,valid,test}.csv`.

    Arguments
    ---------
    data_folder, save_folder : str or PathLike
        Libri2Mix or Libri3Mix, and where the manifests go.
    num_spks : int
        2 or 3; 1 with single mixtures.
    sample_rate : int
        8000 or 16000 Hz.
    mode : str
        "min": as long as the shortest source, "max": as the longest.
    mixtures : str
        "clean", "both" or "single".
    train_subset : str
        "train-100" or "train-360".
    check_files, verify_sum
        As in `lobes.data.parallel_folders.prepare`.
    skip_prep : bool
        Trust the manifests that are there, if they have that number of sources.

    Raises
    ------
    UserError
        A word that is not one of these, a missing folder, another number of speakers, and what
        `lobes.data.parallel_folders.prepare` raises.
    """
    if skip_prep:
        return refuse_other_sources(save_folder, num_spks)
    refuse_unknown("mixtures", mixtures, MIXTURES)
    refuse_unknown("train_subset", train_subset, TRAIN)
    root = root_of(data_folder, sample_rate, mode)
    parts = parts_of(num_spks, f"mix_{mixtures}", single=mixtures == "single", noise=mixtures != "clean")
    names = {"train": train_subset, **FOLDERS}
    splits = {split: {part: root / name / folder for part, folder in parts.items()} for split, name in names.items()}
    if mixtures != "single":
        refuse_other_number(splits, data_folder, speakers)
    who = (lambda stem: speakers(stem)[:1]) if mixtures == "single" else speakers
    prepare(splits, data_folder, save_folder, who, sample_rate, check_files, verify_sum, hints=HINTS)


def speakers(stem: str) -> list[str]:
    """Return the speakers in a file's stem: 103 and 1235 in 103-1240-0003_1235-135887-0017; none in another name."""
    utterances = stem.split("_")
    return [name.split("-")[0] for name in utterances] if all(map(UTTERANCE.fullmatch, utterances)) else []


def main(argv: Sequence[str]) -> None:
    """The command line."""
    parser = command_line(__doc__)
    add = parser.add_argument
    add("--mode", default="min", help="min or max")
    add("--mixtures", default="clean", help="clean, both or single")
    add("--train_subset", "--train", default="train-360", help="train-100 or train-360")
    prepare_librimix(**vars(parser.parse_args(argv)))


if __name__ == "__main__":
    with exit_on_user_error():
        main(sys.argv[1:])
