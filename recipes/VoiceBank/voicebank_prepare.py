#!/usr/bin/env python3
"""Write the manifests of a VoiceBank-DEMAND folder: train.csv, valid.csv and test.csv.

> python voicebank_prepare.py /data/VoiceBank results/manifests
> python voicebank_prepare.py /data/VoiceBank results/manifests --download

The folder holds four folders of WAV files with equal names in pairs: `{clean,noisy}_{trainset_28spk,testset}_wav`, as
the archives of Edinburgh DataShare (doi 10.7488/ds/2117) unpack, or the same names followed by `_16k`; the training set
may be that of 56 speakers. Files at another rate are resampled once, into a folder that is not the data folder.
Speakers p226 and p287 of the 28 are kept for validation, as in SpeechBrain's recipe: the test set chooses nothing. No
transcript and no lexicon is needed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from voicebank_download import download

from lobes.data import arguments, audio
from lobes.data.checks import check_audio
from lobes.data.done_marker import DoneMarker
from lobes.data.files import replacing, write_whole
from lobes.data.folders import by_stem, holds, missing_folder, sound_files
from lobes.data.manifest import SPLITS, portable, shorten, write_manifest
from lobes.data.parallel_folders import count, names_by_stem, refuse_unknown
from lobes.data.paths import absolute, refuse_inside
from lobes.data.rates import resample
from lobes.errors import UserError, exit_on_user_error

TRAIN_SETS = ("28spk", "56spk")
KINDS = {"mix": "noisy", "s1": "clean"}
VALID_SPEAKERS = ("p226", "p287")
RATE = 16000
DONE_FILE = "voicebank_prepare.json"

Row = dict[str, Any]


def prepare_voicebank(
    data_folder: str | os.PathLike[str],
    save_folder: str | os.PathLike[str],
    valid_speakers: Sequence[str] = (),
    check_files: str = "all",
    sample_rate: int = RATE,
    train_set: str | None = None,
    resampled_folder: str | os.PathLike[str] | None = None,
    skip_prep: bool = False,
) -> None:
    """Write `<save_folder>/{train,valid,test}.csv`. Does nothing when they were made with the same options before.

    Arguments
    ---------
    data_folder : str or PathLike
        The folder with the four folders of WAV files.
    save_folder : str or PathLike
        Where the manifests go; made when missing.
    valid_speakers : sequence of str
        Speakers of the training set that are kept for validation. Empty: p226 and p287; of the set of 56, which does
        not have them, the first and the last by name.
    check_files : str
        Existence, rate and equal lengths of "all" files, of the "first" 50 rows, or "none".
    sample_rate : int
        The rate that the models want (Hz); files at another one are resampled.
    train_set : str, optional
        "28spk" or "56spk". None: the one that is there, 28spk of both.
    resampled_folder : str or PathLike, optional
        Where copies at the wanted rate go; runs may share it. None: `<save_folder>/resampled`.
    skip_prep : bool
        Trust the manifests that are there.

    Raises
    ------
    UserError
        Wrong folder, files without a partner, unknown validation speaker, damaged files, unequal lengths; a folder to
        write into that lies in the data folder.
    """
    if skip_prep:
        return
    root, save = absolute(data_folder), Path(save_folder)
    copies = Path(resampled_folder) if resampled_folder else save / "resampled"
    refuse_inside(save, root, "save_folder")
    refuse_inside(copies, root, "resampled_folder")
    train_set = chosen_set(root, train_set)
    sets = {"train": f"trainset_{train_set}_wav", "test": "testset_wav"}
    folders = {split: at_rate(find_folders(root, name), sample_rate, copies) for split, name in sets.items()}
    options = {
        "data_folder": str(root),
        "files": {split: [count(folder) for folder in pair.values()] for split, pair in folders.items()},
        **{"valid_speakers": list(valid_speakers)},
        **{"check_files": check_files, "sample_rate": sample_rate},
    }
    marker = DoneMarker(save / DONE_FILE, options, SPLITS)
    if marker.is_valid():
        print(f"VoiceBank: the manifests in {save} are up to date")
        return
    pairs = {split: rows_of(pair) for split, pair in folders.items()}
    chosen = valid_speakers or default_speakers(pairs["train"], train_set)
    found = {**split_by_speaker(pairs["train"], chosen), "test": pairs["test"]}
    marker.remove()
    for split, rows in found.items():
        seconds = check_audio(rows, sample_rate, check_files)
        rows = [{**row, "duration": duration} for row, duration in zip(rows, seconds, strict=True)]
        print(summary(split, rows))
        write_manifest(save / f"{split}.csv", [portable(row, root) for row in rows])
    marker.write()


def chosen_set(root: Path, train_set: str | None) -> str:
    """Return the training set that was asked for, or else the first that is there."""
    if train_set is not None:
        refuse_unknown("train_set", train_set, TRAIN_SETS)
        return train_set
    return next((name for name in TRAIN_SETS if any(root.glob(f"noisy_trainset_{name}_wav*"))), TRAIN_SETS[0])


def find_folders(root: Path, name: str) -> dict[str, Path]:
    """Find the noisy and the clean folder of a set: {"mix": folder, "s1": folder}; one at 16 kHz is preferred."""
    if not root.is_dir():
        raise UserError(f"data_folder {missing_folder(root, {})}")
    found = {}
    for part, kind in KINDS.items():
        names = [f"{kind}_{name}_16k", f"{kind}_{name}"]
        folder = next((root / n for n in names if sound_files(root / n)), None)
        if folder is None:
            there = [n for n in names if (root / n).is_dir()]
            what = f"{there[0]} is there, but holds {holds(root / there[0])}" if there else f"it holds {holds(root)}"
            raise UserError(
                f"data_folder {root}: expected WAV files in {names[1]} or {names[0]}; {what}. "
                f"{_hint(root, names[1])}Unpack the archives there, or fetch them with --download."
            )
        _refuse_incomplete(folder, root / names[1])
        found[part] = folder
    return found


def _refuse_incomplete(folder: Path, original: Path) -> None:
    """Refuse copies at 16 kHz, made by other tools, that are not those of all files of the folder next to them."""
    if sound_files(original) and by_stem(folder).keys() != by_stem(original).keys():
        raise UserError(
            f"{folder} has {len(sound_files(folder))} files, {original.name} next to it {len(sound_files(original))} "
            "or others. Make all copies at 16 kHz again, or move the folder away."
        )


def _hint(root: Path, name: str) -> str:
    """What may be meant: the folder above or below, or the other training set."""
    places = [root.parent, *sorted(path for path in root.iterdir() if path.is_dir())]
    meant = next((place for place in places if sound_files(place / name)), None)
    others = [other for other in TRAIN_SETS if (root / f"noisy_trainset_{other}_wav").is_dir() and other not in name]
    if meant:
        return f"Did you mean {meant}? "
    return f"For that set: --train_set {others[0]}. " if others and "trainset" in name else ""


def rows_of(pair: Mapping[str, Path]) -> list[Row]:
    """Make a row for each file that both folders hold; a file without a partner is an error."""
    names = names_by_stem(pair)
    for part, other in (("mix", "s1"), ("s1", "mix")):
        alone = sorted(names[part][stem] for stem in names[part].keys() - names[other].keys())
        if alone:
            raise UserError(
                f"{len(alone)} files of {pair[part]} have no partner in the other folder: {shorten(alone)}. "
                "Unpack the archives again."
            )
    return [
        {
            "ID": Path(name).stem,
            "speaker": name.split("_")[0],
            **{f"{part}_wav": str(folder / names[part][stem]) for part, folder in pair.items()},
        }
        for stem, name in sorted(names["mix"].items(), key=lambda item: item[1])
    ]


def default_speakers(rows: Sequence[Row], train_set: str) -> Sequence[str]:
    """Return the speakers that validate when nobody chose: p226 and p287, or the first and the last of the 56."""
    if train_set == "28spk":
        return VALID_SPEAKERS
    speakers = sorted({row["speaker"] for row in rows})
    chosen = [speakers[0], speakers[-1]]
    print(f"VoiceBank: validation on {', '.join(chosen)}, another choice by --valid_speakers")
    return chosen


def split_by_speaker(rows: Sequence[Row], valid_speakers: Sequence[str]) -> dict[str, list[Row]]:
    """Split the training set by speakers: those named go to validation with all their files."""
    speakers = {row["speaker"] for row in rows}
    unknown = [speaker for speaker in valid_speakers if speaker not in speakers]
    if unknown or not speakers - set(valid_speakers):
        raise UserError(
            f"valid_speakers: expected some, not all, of the training set's speakers {shorten(sorted(speakers))}, "
            f"got {', '.join(valid_speakers) or 'none'}."
        )
    valid = [row for row in rows if row["speaker"] in valid_speakers]
    return {"train": [row for row in rows if row["speaker"] not in valid_speakers], "valid": valid}


def at_rate(pair: Mapping[str, Path], sample_rate: int, copies: Path) -> dict[str, Path]:
    """Return folders whose files have the wanted rate: these, or resampled copies in the folder `copies`."""
    return {part: _resampled(folder, sample_rate, copies) for part, folder in pair.items()}


def _resampled(folder: Path, sample_rate: int, copies: Path) -> Path:
    from filelock import FileLock

    files = [folder / name for name in sound_files(folder)]
    if audio.probe(files[0]).sample_rate == sample_rate:
        return folder
    target = absolute(copies / f"{folder.name}_{sample_rate // 1000}k")
    target.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_name("resampling.lock")):  # several runs may start at the same time
        _refuse_other_copies(target / "copies_of.txt", folder)
        _resample_all(files, target, sample_rate)
    return target


def _refuse_other_copies(note: Path, folder: Path) -> None:
    """Write down whose copies a folder holds, or refuse it when they are another's."""
    if not note.is_file():
        write_whole(note, str(folder))
    if note.read_text(encoding="utf-8") != str(folder):
        raise UserError(
            f"resampled_folder: {note.parent} holds copies of {note.read_text(encoding='utf-8')}, not of {folder}. "
            "Delete it, or choose another folder."
        )


def _resample_all(files: Sequence[Path], target: Path, sample_rate: int) -> None:
    """Resample the files whose copies are missing or older; an interrupted call is continued by the next one."""
    from tqdm import tqdm

    copies = {target / f"{path.stem}.wav": path for path in files}
    strange = sorted({target / name for name in sound_files(target)} - copies.keys())
    if strange:
        raise UserError(f"{target}: {len(strange)} files have no original: {shorten(strange)}. Move them away.")
    wanted = [
        copy for copy, path in copies.items() if not copy.is_file() or copy.stat().st_mtime < path.stat().st_mtime
    ]

    def convert(copy: Path) -> None:
        samples, rate = audio.read_mono_with_rate(copies[copy])
        with replacing(copy) as partial:
            audio.write(partial, resample(samples, rate, sample_rate), sample_rate)

    with ThreadPoolExecutor() as pool:
        list(tqdm(pool.map(convert, wanted), f"resampling to {target.name}", len(wanted), unit="file", disable=None))


def summary(split: str, rows: Sequence[Row]) -> str:
    """Describe a split in one line."""
    hours = sum(row["duration"] for row in rows) / 3600
    return f"VoiceBank {split}: {len(rows)} pairs, {hours:.2f} h, {len({row['speaker'] for row in rows})} speakers"


def main(argv: Sequence[str]) -> None:
    """The command line."""
    parser = arguments.Parser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("data_folder", type=Path)
    add("save_folder", type=Path)
    add("--download", action="store_true", help="fetch and unpack what is missing in data_folder (about 6 GB)")
    add("--train_set", help="28spk or 56spk")
    add("--valid_speakers", nargs="+", default=[], help="speakers of the training set that are kept for validation")
    add("--resampled_folder", type=Path, help="where copies at 16 kHz go; default: in save_folder")
    add("--check_files", default="all", help="all, first or none")
    options = vars(parser.parse_args(argv))
    if options.pop("download"):
        download(options["data_folder"])
    prepare_voicebank(**options)


if __name__ == "__main__":
    with exit_on_user_error():
        main(sys.argv[1:])
