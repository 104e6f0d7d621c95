#!/usr/bin/env python3
"""Write the manifests of WSJ0-2mix or WSJ0-3mix (Hershey et al. 2016, arXiv:1508.04306), of WHAM! or of WHAMR!.

> python wsj0mix_prepare.py /data/wsj0-mix/2speakers results/manifests
> python wsj0mix_prepare.py /data/wham results/manifests --mixtures both
> python wsj0mix_prepare.py /data/whamr results/manifests --mixtures both_reverb --targets anechoic

The mixing scripts make the folder: `wav8k/min/{tr,cv,tt}/{mix,s1,s2[,s3]}`; those of WHAM! (Wichern et al. 2019,
arXiv:1907.01160) have `mix_clean`, `mix_both` (with noise), `mix_single` (the first speaker in noise) and `noise`;
those of WHAMR! (Maciejewski et al. 2020, arXiv:1910.10279) mixtures and sources with and without reverberation.
Validation (cv) shares its speakers with training by design; the test (tt) does not.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence

from lobes.data.parallel_folders import command_line, parts_of, prepare, refuse_unknown, root_of
from lobes.data.speaker_count import refuse_other_number, refuse_other_sources
from lobes.errors import UserError, exit_on_user_error

FOLDERS = {"train": "tr", "valid": "cv", "test": "tt"}
KINDS = ("clean", "both", "single")
ACOUSTICS = ("anechoic", "reverb")  # WHAMR!
MIXTURES = ("mix", *KINDS, *(f"{kind}_{acoustics}" for kind in KINDS for acoustics in ACOUSTICS))
SAMPLES = re.compile(r"[0-9a-z]{8}_-?[0-9.]+(_[0-9a-z]{8}_-?[0-9.]+)+", re.IGNORECASE)
HINTS = (
    {"mix": "--mixtures mix"}
    | {  # folder -> the options that choose it
        f"mix_{kind}": f"--mixtures {kind}" + " --num_spks 1" * kind.startswith("single") for kind in MIXTURES[1:]
    }
)


def prepare_wsj0mix(
    data_folder: str | os.PathLike[str],
    save_folder: str | os.PathLike[str],
    num_spks: int = 2,
    sample_rate: int = 8000,
    mode: str = "min",
    mixtures: str = "mix",
    targets: str = "anechoic",
    check_files: str = "all",
    verify_sum: int | None = None,
    skip_prep: bool = False,
) -> None:
    """Write `<save_folder>/{train,valid,test}.csv`.

    Arguments
    ---------
    data_folder, save_folder : str or PathLike
        `2speakers` or `3speakers`, or the folder of WHAM! or WHAMR!, and where the manifests go.
    num_spks : int
        2 or 3; 1 with single mixtures.
    sample_rate : int
        8000 or 16000 Hz.
    mode : str
        "min": as long as the shortest source, "max": as the longest.
    mixtures : str
        "mix" (WSJ0-2mix, WSJ0-3mix); "clean", "both" or "single" (WHAM!), in WHAMR! followed by "_anechoic" or
        "_reverb".
    targets : str
        "anechoic" or "reverb": the sources of WHAMR!; elsewhere there is one kind.
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
    refuse_unknown("targets", targets, ACOUSTICS)
    root = root_of(data_folder, sample_rate, mode)
    kind, _, acoustics = mixtures.partition("_")
    refuse_other_acoustics(acoustics, targets, verify_sum)
    parts = parts_of(
        num_spks,
        "mix" if mixtures == "mix" else f"mix_{mixtures}",
        source=f"{{}}_{targets}" if acoustics else "{}",
        single=kind == "single",
        noise=kind in ("both", "single"),
    )
    splits = {split: {part: root / name / sub for part, sub in parts.items()} for split, name in FOLDERS.items()}
    if kind != "single":
        refuse_other_number(splits, data_folder, speakers)
    who = (lambda stem: speakers(stem)[:1]) if kind == "single" else speakers
    prepare(splits, data_folder, save_folder, who, sample_rate, check_files, verify_sum, ["valid"], HINTS)


def refuse_other_acoustics(acoustics: str, targets: str, verify_sum: int | None) -> None:
    """Raise a UserError for reverberant targets of anechoic mixtures, and for sums that cannot be right."""
    if acoustics != "reverb" and targets == "reverb":
        raise UserError(
            "targets: expected anechoic, as these mixtures have no reverberation, got 'reverb'. Leave --targets out, "
            "or take reverberant mixtures of WHAMR! (--mixtures both_reverb)."
        )
    if not are_sums(acoustics, targets) and verify_sum is not None:
        raise UserError(
            "verify_sum: reverberant mixtures are not the sum of anechoic targets. Set --targets reverb to check them, "
            "or leave verify_sum out."
        )


def are_sums(mixtures: str, targets: str) -> bool:
    """Whether mixtures are the sum of their targets: reverberant ones and anechoic targets are not."""
    return not (mixtures.endswith("reverb") and targets == "anechoic")


def speakers(stem: str) -> list[str]:
    """Return the speakers in a file's stem: 050 and 22g in 050a0501_1.7668_22go010u_-1.7668; none in another name."""
    return [utterance[:3] for utterance in stem.split("_")[::2]] if SAMPLES.fullmatch(stem) else []


def main(argv: Sequence[str]) -> None:
    """The command line."""
    parser = command_line(__doc__)
    parser.add_argument("--mode", default="min", help="min or max")
    parser.add_argument("--mixtures", default="mix", help=", ".join(MIXTURES))
    parser.add_argument("--targets", default="anechoic", help="of WHAMR!: anechoic or reverb")
    prepare_wsj0mix(**vars(parser.parse_args(argv)))


if __name__ == "__main__":
    with exit_on_user_error():
        main(sys.argv[1:])
