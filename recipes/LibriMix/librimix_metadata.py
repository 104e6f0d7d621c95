#!/usr/bin/env python3
"""Write manifests for LibriMix without its files: mixtures are made of LibriSpeech and noise when they are read.

> python librimix_metadata.py /data/LibriSpeech results/manifests --metadata_folder LibriMix/metadata/Libri2Mix \
    --wham_folder /data/wham_noise --mixtures both

The tables are those of LibriMix's repository (`metadata/Libri2Mix/libri2mix_train-clean-100.csv` and so on): which
utterances and noise make a mixture, and their gains.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from librimix_prepare import MIXTURES, TRAIN, speakers

from lobes.data import audio
from lobes.data.checks import in_threads
from lobes.data.done_marker import DoneMarker
from lobes.data.manifest import SPLITS, check_files, chosen_rows, portable, write_manifest
from lobes.data.on_the_fly import RECORDED
from lobes.data.parallel_folders import DONE_FILE, MODES, command_line, refuse_shared_speakers, refuse_unknown
from lobes.data.paths import absolute, refuse_inside
from lobes.data.tables import TextTable, read_table
from lobes.errors import UserError, exit_on_user_error

OTHERS = {"valid": "dev-clean", "test": "test-clean"}
SPEEDS = {"sp08": 0.8, "sp12": 1.2}  # endings of the noises that LibriMix's scripts make of WHAM!'s


def prepare_on_the_fly(
    data_folder: str | os.PathLike[str],
    save_folder: str | os.PathLike[str],
    metadata_folder: str | os.PathLike[str],
    wham_folder: str | os.PathLike[str] | None = None,
    num_spks: int = 2,
    sample_rate: int = 8000,
    mode: str = "min",
    mixtures: str = "clean",
    train_subset: str = "train-360",
    check_files: str = "all",
    skip_prep: bool = False,
) -> None:
    """Write `<save_folder>/{train,valid,test}.csv`, whose rows `lobes.data.on_the_fly.MadeParts` reads.

    Arguments
    ---------
    data_folder, save_folder : str or PathLike
        LibriSpeech, the folder that holds `train-clean-360`, and where the manifests go.
    metadata_folder : str or PathLike
        Holds `libri2mix_dev-clean.csv` and its neighbours, of one number of speakers.
    wham_folder : str or PathLike, optional
        WHAM!'s noise, the folder that holds `tr`, `cv` and `tt`; for "both" and "single" mixtures. Of the noises that
        are played slower or faster, the originals will do.
    num_spks, mode, mixtures, train_subset, check_files, skip_prep
        As in `librimix_prepare.prepare_librimix`.
    sample_rate : int
        Of the mixtures (Hz): 8000 or 16000.

    Raises
    ------
    UserError
        A word that is not one of these, a missing table or file, another number of speakers, a speaker of training in
        another split.
    """
    if skip_prep:
        return
    refuse_unknown("mixtures", mixtures, MIXTURES)
    refuse_unknown("train_subset", train_subset, TRAIN)
    refuse_unknown("mode", mode, MODES)
    root, save, noise = absolute(data_folder), Path(save_folder), _noise_root(wham_folder, mixtures)
    refuse_inside(save, root, "save_folder")
    subsets = {"train": train_subset.replace("train-", "train-clean-"), **OTHERS}
    tables = {split: find_table(Path(metadata_folder), subset) for split, subset in subsets.items()}
    options = {
        "data_folder": str(root), "wham_folder": str(noise), "num_spks": num_spks, "mode": mode, "mixtures": mixtures,
        "sample_rate": sample_rate, "tables": {str(table): table.stat().st_size for table in tables.values()},
    }  # fmt: skip
    marker = DoneMarker(save / DONE_FILE, options, SPLITS)
    if marker.is_valid():
        print(f"{root.name}: the manifests in {save} are up to date")
        return
    rows = {split: rows_of(table, root, noise, num_spks, mixtures) for split, table in tables.items()}
    refuse_shared_speakers(rows, ())
    marker.remove()
    for split, found in rows.items():
        timed = with_durations(found, mode, sample_rate, check_files)
        print(f"{root.name} {split}: {len(timed)} mixtures, {sum(row['duration'] for row in timed) / 3600:.2f} h")
        write_manifest(save / f"{split}.csv", [portable(row, root) for row in timed])
    marker.write()


def find_table(folder: Path, subset: str) -> Path:
    """Find the one table of a subset: `libri2mix_dev-clean.csv` for dev-clean."""
    found = sorted(folder.expanduser().glob(f"libri*mix_{subset}.csv"))
    if len(found) != 1:
        there = "none" if not found else " and ".join(path.name for path in found)
        raise UserError(
            f"metadata_folder {folder}: expected one table libri*mix_{subset}.csv, found {there}. Give the folder of "
            "one number of speakers in LibriMix's repository, such as metadata/Libri2Mix."
        )
    return found[0]


def rows_of(path: Path, root: Path, noise: Path | None, num_spks: int, mixtures: str) -> list[dict[str, Any]]:
    """Read the rows of a table: absolute paths, gains, speakers; every source counts for the durations."""
    stored = int(path.name.removeprefix("libri").partition("mix_")[0])
    if num_spks != (1 if mixtures == "single" else stored):
        wanted = "1 for single mixtures" if mixtures == "single" else f"{stored}, as {path.name} has it"
        raise UserError(f"num_spks: expected {wanted}, got {num_spks}.")
    parts = [f"source_{number}" for number in range(1, stored + 1)]
    needed = ["ID", *(f"s{number}_wav" for number in range(1, stored + 1)), *(f"{part}_gain" for part in parts)]
    table = read_table(path, [*needed, *(["noise_wav", "noise_gain"] if noise else [])])
    return [_row(table, index, root, noise, num_spks, stored) for index in range(len(table.rows))]


def _row(table: TextTable, index: int, root: Path, noise: Path | None, num_spks: int, stored: int) -> dict[str, Any]:
    cells = table.rows[index]
    row: dict[str, Any] = {"ID": cells["ID"]}
    for number in range(1, stored + 1):
        row[f"s{number}_wav"] = str(root / cells[f"s{number}_wav"])
    for number in range(1, num_spks + 1):
        row[f"s{number}_gain"] = table.number(index, f"source_{number}_gain")
        row[f"speaker{number}"] = speakers(Path(cells[f"s{number}_wav"]).stem)[0]
    if noise:
        file, speed = noise_file(noise / cells["noise_wav"])
        row |= {"noise_wav": str(file), "noise_gain": table.number(index, "noise_gain"), "noise_speed": speed}
    return row


def noise_file(path: Path) -> tuple[Path, float]:
    """The file of a noise and the speed to play it at: that of a slower or faster one may be missing.

    Example
    -------
    >>> noise_file(Path("/none/a_1.2sp08.wav"))
    (PosixPath('/none/a_1.2.wav'), 0.8)
    """
    ending = path.stem[-4:]
    if ending in SPEEDS and not path.is_file():
        return path.with_name(f"{path.stem[:-4]}{path.suffix}"), SPEEDS[ending]
    return path, 1.0


def with_durations(rows: Sequence[dict[str, Any]], mode: str, sample_rate: int, which: str) -> list[dict[str, Any]]:
    """Rows with the seconds of the mixture and of its longest source, without the sources that are not mixed."""
    check_files(rows, which)
    sources = [[row[column] for column in row if column.startswith("s") and column.endswith("_wav")] for row in rows]
    files = list(dict.fromkeys(file for found in sources for file in found))
    frames = dict(zip(files, in_threads(audio.probe, files, "reading headers"), strict=True))
    _refuse_other_rates(frames, chosen_rows(rows, which))
    timed = []
    for row, found in zip(rows, sources, strict=True):
        lengths = [frames[file].frames for file in found]
        chosen = min(lengths) if mode == "min" else max(lengths)
        samples = -(-chosen * sample_rate // RECORDED)
        kept = {key: value for key, value in row.items() if key[:-4] + "_gain" in row or not key.endswith("_wav")}
        timed.append({**kept, "duration": samples / sample_rate, "longest": max(lengths) / RECORDED})
    return timed


def _refuse_other_rates(frames: dict[str, audio.AudioInfo], rows: Sequence[dict[str, Any]]) -> None:
    for row in rows:
        for column, file in row.items():
            if file in frames and frames[file].sample_rate != RECORDED:
                rate = frames[file].sample_rate
                raise UserError(
                    f"{row['ID']}: {column} {file} has {rate} Hz, expected {RECORDED} Hz: LibriSpeech's FLAC."
                )


def _noise_root(wham_folder: str | os.PathLike[str] | None, mixtures: str) -> Path | None:
    if mixtures == "clean":
        return None
    if wham_folder is None:
        raise UserError(
            f"wham_folder: mixtures {mixtures} need the folder of WHAM!'s noise (with tr, cv, tt), got null."
        )
    return absolute(wham_folder)


def main(argv: Sequence[str]) -> None:
    """The command line."""
    parser = command_line(__doc__)
    add = parser.add_argument
    add("--metadata_folder", type=Path, required=True, help="LibriMix's metadata of one number of speakers")
    add("--wham_folder", type=Path, help="WHAM!'s noise: holds tr, cv and tt")
    add("--mode", default="min", help="min or max")
    add("--mixtures", default="clean", help="clean, both or single")
    add("--train_subset", "--train", default="train-360", help="train-100 or train-360")
    given = vars(parser.parse_args(argv))
    given.pop("verify_sum")
    prepare_on_the_fly(**given)


if __name__ == "__main__":
    with exit_on_user_error():
        main(sys.argv[1:])
