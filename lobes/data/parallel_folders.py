"""Preparation of mixtures on disk, one folder for each part and equal names in all: LibriMix, WSJ0-mix and others."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lobes.data import arguments
from lobes.data.checks import check_audio, check_sum
from lobes.data.done_marker import DoneMarker
from lobes.data.folders import by_stem, holds, missing_folder, sound_files
from lobes.data.manifest import SOURCE, portable, shorten, write_manifest
from lobes.data.paths import absolute, refuse_inside
from lobes.data.speaker_count import sources_in
from lobes.errors import UserError, did_you_mean

Row = dict[str, Any]
Speakers = Callable[[str], Sequence[str]]  # a file's stem -> its speakers; () where the name has none
DONE_FILE = "prepare.json"
MODES = ("min", "max")  # LibriMix and WSJ0-mix: as long as the shortest source, or as the longest
RATES = {"wav8k": "--sample_rate 8000", "wav16k": "--sample_rate 16000"}
PLACES = {**RATES, "min": "--mode min", "max": "--mode max"}  # folder -> the options that choose it


def source_parts(num_spks: int) -> list[str]:
    """Return the parts of a mixture that every data set has: mix, s1, s2 ..."""
    return ["mix", *(f"s{number}" for number in range(1, num_spks + 1))]


def parts_of(num_spks: int, mix: str, source: str = "{}", single: bool = False, noise: bool = False) -> dict[str, str]:
    """Return part -> folder of LibriMix, WSJ0-mix and their kin.

    Arguments
    ---------
    num_spks : int
        Sources; 1 with `single` mixtures, which are of the first speaker and noise.
    mix : str
        The folder of the mixtures.
    source : str
        The folder of a source, with {} for s1, s2 ...
    single, noise : bool
        Whether they are single mixtures, and whether the noise is a part of them.

    Raises
    ------
    UserError
        Single mixtures and several sources.

    Example
    -------
    >>> parts_of(2, "mix_both_reverb", "{}_anechoic", noise=True)
    {'mix': 'mix_both_reverb', 's1': 's1_anechoic', 's2': 's2_anechoic', 'noise': 'noise'}
    """
    if single and num_spks != 1:
        raise UserError(f"num_spks: {mix} holds one speaker in noise, got {num_spks}. Set --num_spks 1.")
    if num_spks < 1:
        raise UserError(f"num_spks: expected at least 1, got {num_spks}.")
    sources = {part: source.format(part) for part in source_parts(num_spks)[1:]}
    return {"mix": mix, **sources, **({"noise": "noise"} if noise else {})}


def root_of(data_folder: str | os.PathLike[str], sample_rate: int, mode: str) -> Path:
    """Return `<data_folder>/wav8k/min` for 8000 Hz and "min".

    Raises
    ------
    UserError
        Another mode; no such folder, with the neighbours that are there, or the folder above or below that is meant.
    """
    refuse_unknown("mode", mode, MODES)
    top = absolute(data_folder)
    root = top / f"wav{sample_rate // 1000}k" / mode
    if root.is_dir():
        return root
    below = sorted(top.glob(f"*/{root.parent.name}")) if top.is_dir() else []
    places = [
        place for place in (*top.parents, *(path.parent for path in below)) if (place / root.parent.name).is_dir()
    ]
    hint = f" Did you mean {places[0]}?" if places else ""
    raise UserError(f"{missing_folder(root, PLACES)} data_folder is the one that holds {root.parent.name}.{hint}")


def refuse_unknown(name: str, value: str, known: Sequence[str]) -> None:
    """Raise a UserError if an option is not one of the known words."""
    if value not in known:
        raise UserError(f"{name}: expected {' or '.join(known)}, got {value!r}.{did_you_mean(str(value), known)}")


def command_line(description: str) -> arguments.Parser:
    """Return a parser with the arguments that every preparation of this kind has."""
    parser = arguments.Parser(description=description.splitlines()[0])
    add = parser.add_argument
    add("data_folder", type=Path)
    add("save_folder", type=Path)
    add("--num_spks", type=arguments.count, default=2)
    add("--sample_rate", type=arguments.count, default=8000)
    add("--verify_sum", type=arguments.from_zero, help="largest deviation of a mixture from its parts, in 16-bit steps")
    return parser


def rows_of(folders: Mapping[str, Path], speakers: Speakers, hints: Mapping[str, str] | None = None) -> list[Row]:
    """Make a row for each file name that the folders hold: ID, `<part>_wav`, speaker1, speaker2 ...; sorted by ID.

    Names may differ in ending, case and Unicode normal form. Files that other systems leave are passed over.

    Arguments
    ---------
    folders : mapping
        Part -> folder: "mix", "s1", "s2" ... and perhaps "noise".
    speakers : callable
        Returns the speakers of a mixture for its file's stem.
    hints : mapping, optional
        Folder -> the options that choose it, for the message about one that is missing.

    Raises
    ------
    UserError
        A folder that is missing or empty, a file without its partners.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as root:
    ...     for part in ("mix", "s1"):
    ...         Path(root, part).mkdir(); Path(root, part, "a-1.wav").touch()
    ...     found = rows_of({part: Path(root, part) for part in ("mix", "s1")}, lambda stem: stem.split("-")[:1])
    >>> found[0]["ID"], found[0]["speaker1"], Path(found[0]["s1_wav"]).name
    ('a-1', 'a', 'a-1.wav')
    """
    for part, folder in folders.items():
        _refuse_without_sound(part, folder, hints or {})
    names = names_by_stem(folders)
    for part, found in names.items():
        alone = sorted(names["mix"].keys() ^ found.keys())
        if alone:
            shown = [names["mix"].get(stem, found.get(stem, "")) for stem in alone]
            raise UserError(
                f"{len(alone)} files are in one of {folders['mix']} and {folders[part]} alone: {shorten(shown)}. "
                "Every mixture needs a file of the same name for each part."
            )
    return [
        {
            "ID": Path(name).stem,
            **{f"{part}_wav": str(folder / names[part][stem]) for part, folder in folders.items()},
            **{f"speaker{number}": who for number, who in enumerate(speakers(Path(name).stem), start=1)},
        }
        for stem, name in sorted(names["mix"].items(), key=lambda item: item[1])
    ]


def names_by_stem(folders: Mapping[str, Path]) -> dict[str, dict[str, str]]:
    """Return part -> stem -> name of the sound files in its folder.

    Where only the case of letters distinguishes files of one folder, it does in all.
    """
    names = {part: by_stem(folder) for part, folder in folders.items()}
    if all(stem == stem.casefold() for found in names.values() for stem in found):
        return names
    return {part: by_stem(folder, fold=False) for part, folder in folders.items()}


def _refuse_without_sound(part: str, folder: Path, hints: Mapping[str, str]) -> None:
    if not folder.is_dir():
        sources = sources_in(folder.parent) if folder.parent.is_dir() and SOURCE.fullmatch(f"{part}_wav") else []
        complete = sources == source_parts(len(sources))[1:]  # else s1 is missing, or one in between
        fewer = {name: f"--num_spks {len(sources)}" for name in sources[-1:] if complete}
        raise missing_folder(folder, hints if part == "mix" else fewer)
    if not sound_files(folder):
        raise UserError(
            f"{folder}: expected WAV files of {part}, found none; the folder holds {holds(folder)}. "
            "Look at data_folder, or unpack or make the data set again."
        )


def prepare(
    splits: Mapping[str, Mapping[str, Path]],
    data_folder: str | os.PathLike[str],
    save_folder: str | os.PathLike[str],
    speakers: Speakers = lambda stem: (),
    sample_rate: int = 8000,
    check_files: str = "all",
    verify_sum: int | None = None,
    shared_speakers: Sequence[str] = (),
    hints: Mapping[str, str] | None = None,
) -> None:
    """Write `<save_folder>/{train,valid,test}.csv`. Does nothing when they were made with the same options before.

    Arguments
    ---------
    splits : mapping
        Split -> part -> folder.
    data_folder, save_folder : str or PathLike
        The data set's folder, which paths in the manifests are relative to, and where they go.
    speakers : callable
        As in `rows_of`.
    sample_rate : int
        In Hz.
    check_files : str
        Existence, rate and equal lengths of "all" files, of the "first" 50 rows, or "none".
    verify_sum : int, optional
        Largest deviation of a mixture from the sum of its parts, in 16-bit steps; None: not checked.
    shared_speakers : sequence of str
        Splits that share speakers with training by design (validation in WSJ0-2mix).
    hints : mapping, optional
        As in `rows_of`.

    Raises
    ------
    UserError
        As `rows_of`; a save folder in the data folder; damaged files, unequal lengths, another rate, wrong sums; a
        speaker of training in another split.
    """
    root, save = absolute(data_folder), Path(save_folder)
    refuse_inside(save, root, "save_folder")
    options = {
        "data_folder": str(root),
        "files": {split: {part: count(folder) for part, folder in parts.items()} for split, parts in splits.items()},
        **{"sample_rate": sample_rate, "check_files": check_files, "verify_sum": verify_sum},
    }
    marker = DoneMarker(save / DONE_FILE, options, tuple(splits))
    if marker.is_valid():
        print(f"{root.name}: the manifests in {save} are up to date")
        return
    rows = {split: rows_of(parts, speakers, hints) for split, parts in splits.items()}
    refuse_shared_speakers(rows, shared_speakers)
    marker.remove()
    check_and_write(rows, root, save, sample_rate, check_files, verify_sum)
    marker.write()


def check_and_write(
    rows: Mapping[str, Sequence[Row]],
    root: Path,
    save: Path,
    sample_rate: int,
    check_files: str,
    verify_sum: int | None,
) -> None:
    """Check the audio of each split's rows, as `prepare` says, and write them with their durations."""
    for split, found in rows.items():
        seconds = check_audio(found, sample_rate, check_files)
        if verify_sum is not None:
            check_sum(found, verify_sum)
        timed = [{**row, "duration": duration} for row, duration in zip(found, seconds, strict=True)]
        print(f"{root.name} {split}: {len(timed)} mixtures, {sum(seconds) / 3600:.2f} h")
        write_manifest(save / f"{split}.csv", [portable(row, root) for row in timed])


def count(folder: Path) -> list[Any]:
    """Return a folder, the number of its files of sound, and a sum over their names and sizes.

    They show whether a preparation is out of date.
    """
    names = sound_files(folder)
    sizes = [os.path.getsize(folder / name) if (folder / name).is_file() else -1 for name in names]
    return [str(folder), len(names), zlib.crc32(repr(list(zip(names, sizes, strict=True))).encode("utf-8", "replace"))]


def refuse_shared_speakers(rows: Mapping[str, Sequence[Row]], allowed: Sequence[str]) -> None:
    """Raise a UserError if a speaker of the training set is in another split that is not in `allowed`."""
    found = {split: {row[key] for row in of for key in row if key.startswith("speaker")} for split, of in rows.items()}
    for split in (name for name in found if name != "train" and name not in allowed):
        both = sorted(found["train"] & found[split])
        if both:
            raise UserError(
                f"{len(both)} speakers are in train and in {split}: {shorten(both)}. A score on speakers heard "
                "in training says little about others; make the splits anew."
            )
