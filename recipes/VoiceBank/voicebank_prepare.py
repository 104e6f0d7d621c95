#!/usr/bin/env python3
"""Write the manifests of a VoiceBank-DEMAND folder: train.csv, valid.csv and test.csv.

> python voicebank_prepare.py /data/VoiceBank results/manifests
> python voicebank_prepare.py /data/VoiceBank results/manifests --download

The folder holds four folders of WAV files with equal names in pairs: `{clean,noisy}_{trainset_28spk,testset}_wav`, as
the archives of Edinburgh DataShare (doi 10.7488/ds/2117) unpack, or the same names followed by `_16k`. Files at another
rate are resampled once, into `<data_folder>/<name>_16k`. Speakers p226 and p287 of the training set are kept for
validation, as in SpeechBrain's recipe: the test set chooses nothing. No transcript and no lexicon is needed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from voicebank_download import download

from lobes.data import audio
from lobes.data.checks import check_audio
from lobes.data.done_marker import DoneMarker
from lobes.data.files import ENDING, replacing
from lobes.data.manifest import SPLITS, portable, shorten, write_manifest
from lobes.data.rates import resample
from lobes.errors import UserError, exit_on_user_error

SETS = {"train": "trainset_28spk_wav", "test": "testset_wav"}
KINDS = {"mix": "noisy", "s1": "clean"}
VALID_SPEAKERS = ("p226", "p287")
RATE = 16000
DONE_FILE = "voicebank_prepare.json"

Row = dict[str, Any]


def prepare_voicebank(
    data_folder: str | os.PathLike[str],
    save_folder: str | os.PathLike[str],
    valid_speakers: Sequence[str] = VALID_SPEAKERS,
    check_files: str = "all",
    sample_rate: int = RATE,
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
        Speakers of the training set that are kept for validation.
    check_files : str
        Existence, rate and equal lengths of "all" files, of the "first" 50 rows, or "none".
    sample_rate : int
        The rate that the models want (Hz); files at another one are resampled.
    skip_prep : bool
        Trust the manifests that are there.

    Raises
    ------
    UserError
        Wrong folder, files without a partner, unknown validation speaker, damaged files, unequal lengths.
    """
    if skip_prep:
        return
    root, save = Path(os.path.abspath(data_folder)), Path(save_folder)
    folders = {split: at_rate(find_folders(root, name), sample_rate) for split, name in SETS.items()}
    options = {
        "data_folder": str(root),
        "files": {split: [len(wavs(pair["mix"])), str(pair["mix"])] for split, pair in folders.items()},
        **{"valid_speakers": list(valid_speakers), "check_files": check_files, "sample_rate": sample_rate},
    }
    marker = DoneMarker(save / DONE_FILE, options, SPLITS)
    if marker.is_valid():
        print(f"VoiceBank: the manifests in {save} are up to date")
        return
    pairs = {split: rows_of(pair) for split, pair in folders.items()}
    found = {**split_by_speaker(pairs["train"], valid_speakers), "test": pairs["test"]}
    marker.remove()
    for split, rows in found.items():
        seconds = check_audio(rows, sample_rate, check_files)
        rows = [{**row, "duration": duration} for row, duration in zip(rows, seconds, strict=True)]
        print(summary(split, rows))
        write_manifest(save / f"{split}.csv", [portable(row, root) for row in rows])
    marker.write()


def find_folders(root: Path, name: str) -> dict[str, Path]:
    """Find the noisy and the clean folder of a set: {"mix": folder, "s1": folder}; one at 16 kHz is preferred."""
    if not root.is_dir():
        raise UserError(f"data_folder {root}: no such folder.")
    found = {}
    for part, kind in KINDS.items():
        names = [f"{kind}_{name}_16k", f"{kind}_{name}"]
        folder = next((root / n for n in names if wavs(root / n)), None)
        if folder is None:
            inside = sorted(path.name for path in root.iterdir() if path.is_dir())
            raise UserError(
                f"data_folder {root}: expected WAV files in {names[1]} or {names[0]}; it holds "
                f"{shorten(inside) or 'no folders'}. Unpack the archives there, or fetch them with --download."
            )
        found[part] = folder
    return found


def wavs(folder: Path) -> list[Path]:
    """List the WAV files of a folder, sorted."""
    return sorted(folder.glob("*.wav"))


def rows_of(pair: Mapping[str, Path]) -> list[Row]:
    """Make a row for each file that both folders hold; a file without a partner is an error."""
    names = {part: {path.name for path in wavs(folder)} for part, folder in pair.items()}
    alone = {part: sorted(names[part] - names[other]) for part, other in (("mix", "s1"), ("s1", "mix"))}
    for part, missing in alone.items():
        if missing:
            raise UserError(
                f"{len(missing)} files of {pair[part]} have no partner in the other folder: {shorten(missing)}. "
                "Unpack the archives again."
            )
    return [
        {"ID": Path(name).stem, "speaker": name.split("_")[0], **{f"{p}_wav": str(f / name) for p, f in pair.items()}}
        for name in sorted(names["mix"])
    ]


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


def at_rate(pair: Mapping[str, Path], sample_rate: int) -> dict[str, Path]:
    """Return folders whose files have the wanted rate: these, or resampled copies next to them."""
    return {part: _resampled(folder, sample_rate) for part, folder in pair.items()}


def _resampled(folder: Path, sample_rate: int) -> Path:
    files = wavs(folder)
    if audio.probe(files[0]).sample_rate == sample_rate:
        return folder
    target = folder.with_name(f"{folder.name}_{sample_rate // 1000}k")
    with locked(folder.parent / "resampling.lock"):  # several runs may start at the same time
        if not target.is_dir():
            _resample_all(files, target, sample_rate)
    return target


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file, after waiting for any other process that holds it."""
    import fcntl  # not there on Windows

    with path.open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _resample_all(files: Sequence[Path], target: Path, sample_rate: int) -> None:
    """Resample all files; an interrupted call is continued by the next one."""
    unfinished = target.with_name(target.name + ENDING)
    unfinished.mkdir(exist_ok=True)
    from tqdm import tqdm

    def convert(path: Path) -> None:
        if not (unfinished / path.name).exists():
            samples, rate = audio.read_mono_with_rate(path)
            with replacing(unfinished / path.name) as partial:
                audio.write(partial, resample(samples, rate, sample_rate), sample_rate)

    with ThreadPoolExecutor() as pool:
        list(tqdm(pool.map(convert, files), f"resampling to {target.name}", len(files), unit="file", disable=None))
    unfinished.rename(target)


def summary(split: str, rows: Sequence[Row]) -> str:
    """Describe a split in one line."""
    hours = sum(row["duration"] for row in rows) / 3600
    return f"VoiceBank {split}: {len(rows)} pairs, {hours:.2f} h, {len({row['speaker'] for row in rows})} speakers"


def main(argv: Sequence[str]) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("data_folder", type=Path)
    add("save_folder", type=Path)
    add("--download", action="store_true", help="fetch and unpack what is missing in data_folder (about 6 GB)")
    add("--check_files", default="all", help="all, first or none")
    options = parser.parse_args(argv)
    if options.download:
        download(options.data_folder)
    prepare_voicebank(options.data_folder, options.save_folder, check_files=options.check_files)


if __name__ == "__main__":
    with exit_on_user_error():
        main(sys.argv[1:])
