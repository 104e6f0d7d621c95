#!/usr/bin/env python3
"""Write the manifests of a PolSESS folder: train.csv, valid.csv and test.csv.

> python polsess_prepare.py /data/PolSESS_C_final results/manifests --verify_sum 16

The folder is read as its generator leaves it: `{train,val,test}/{clean,scene,event,...,mix}/` and one table
`corpus_<NAME>_<subset>_final.csv` per subset, in the subset's folder or next to it, with 34 columns or the older 31.
The folder may be renamed. Speakers are read out of the paths of the original recordings.
"""

from __future__ import annotations

import os
import re
import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lobes.data import arguments, tables
from lobes.data.checks import check_audio, check_sum
from lobes.data.done_marker import DoneMarker
from lobes.data.folders import holds, missing_folder
from lobes.data.manifest import portable, refuse_duplicates, shorten, write_manifest
from lobes.data.paths import absolute, refuse_inside, resolve_path
from lobes.errors import UserError, did_you_mean, exit_on_user_error
from lobes.polsess.layout import LIMITED, PLACES
from lobes.polsess.manifest import TYPES

FOLDERS = {"train": "train", "valid": "val", "test": "test"}  # manifest -> folder
REVERB = ("ev_reverb", "sp1_reverb", "sp2_reverb")
ORIGINS = ("speech1OryginalPath", "speech2OryginalPath")  # so spelt in the data
NEEDED = (*ORIGINS, "SSR", "sceneClass", "eventClass", *(column for _, column in PLACES.values()))
COPIED = ("SSR", "sceneClass", "eventClass", "sceneOffsetDB", "sceneVolumeGain")  # the last two: 34 columns only
EMPTY = ("", "nan", "<missing>", "<undefined>")  # as MATLAB writes what is absent
DONE_FILE = "polsess_prepare.json"

Row = dict[str, Any]


def prepare_polsess(
    data_folder: str | os.PathLike[str],
    save_folder: str | os.PathLike[str],
    splits: Sequence[str] = ("train", "valid", "test"),
    max_samples: Mapping[str, int] | None = None,
    seed: int = 1234,
    drop_same_speaker: bool = False,
    verify_sum: int | None = None,
    check_files: str = "all",
    sample_rate: int = 8000,
    skip_prep: bool = False,
) -> None:
    """Write `<save_folder>/{train,valid,test}.csv`. Does nothing when they were made with the same options before.

    Arguments
    ---------
    data_folder : str or PathLike
        The corpus folder that holds train/, val/ and test/.
    save_folder : str or PathLike
        Where the manifests go; made when missing.
    splits : sequence of str
        Among train, valid (folder `val`) and test.
    max_samples : mapping, optional
        Split -> size of a random subset, by `seed`; a smaller one is part of a larger one.
    seed : int
        For `max_samples`.
    drop_same_speaker : bool
        Leave mixtures in which one speaker speaks twice out of train (known from the original paths). Valid and
        test stay whole, so that scores can be compared.
    verify_sum : int, optional
        Check that each mixture is the sum of its parts, up to this many steps of 16 bit (16 is ample).
    check_files : str
        Existence, rate and equal lengths of "all" files, of the "first" 50 rows, or "none".
    sample_rate : int
        The rate that every file must have (Hz).
    skip_prep : bool
        Trust the manifests that are there.

    Raises
    ------
    UserError
        Wrong folder, a save folder in the data folder, missing or ambiguous table, missing column, duplicate IDs,
        missing or damaged files, other rate, unequal lengths, a mixture that is not its sum, nothing left.
    """
    if skip_prep:
        return
    _check_options(splits, max_samples, verify_sum)
    root, save = _corpus_folder(data_folder, splits), Path(save_folder)
    refuse_inside(save, root, "save_folder")
    found_tables = {split: find_table(root, FOLDERS[split]) for split in splits}
    options = {
        "data_folder": str(root),
        "tables": {
            split: [str(table), table.stat().st_size, table.stat().st_mtime_ns] for split, table in found_tables.items()
        },
        **{"max_samples": dict(max_samples or {}), "seed": seed, "drop_same_speaker": drop_same_speaker},
        **{"verify_sum": verify_sum, "check_files": check_files, "sample_rate": sample_rate},
    }
    marker = DoneMarker(save / DONE_FILE, options, found_tables)
    if marker.is_valid():
        print(f"PolSESS: the manifests in {save} are up to date")
        return
    marker.remove()
    found = {split: _prepare_split(split, root, options) for split in splits}
    _refuse_shared_ids(found)
    for note in shared_speakers(found):
        print(note)
    for split, rows in found.items():
        write_manifest(save / f"{split}.csv", [portable(row, root) for row in rows])
    marker.write()


def find_table(root: Path, subset: str) -> Path:
    """Find `corpus_*_<subset>_final.csv` in the subset's folder, else in the corpus folder."""
    pattern = f"corpus_*_{subset}_final.csv"
    for folder in (root / subset, root):
        tables = sorted(folder.glob(pattern))
        if len(tables) > 1:
            names = ", ".join(table.name for table in tables)
            raise UserError(f"{folder}: expected one {pattern}, found {len(tables)}: {names}. Move the others away.")
        if tables:
            return tables[0]
    raise UserError(
        f"No table {pattern} in {root / subset} or in {root}. The generator leaves it in MATLAB's working folder: "
        "move it there."
    )


def read_table(table: Path, folder: Path) -> list[Row]:
    """Read a table of 31 or 34 columns as manifest rows with absolute paths, without durations, sorted by ID."""
    found = tables.read_table(table, ["mixFile"])
    _refuse_missing_columns(table, list(found.rows[0]))
    rows = [_row(found, index, folder) for index in range(len(found.rows))]
    refuse_duplicates(table, rows)
    return sorted(rows, key=lambda row: row["ID"])


def speaker_of(path: str) -> str:
    r"""Return the speaker of an original recording, or "" when the path does not name one.

    MLS: first number of the file name (reader). Polish Read Speech: SESxxxx (session). Corpora made by `lobes corpus`
    (`made\<speaker>\<file>`) and others: the parent folder.

    Example
    -------
    >>> paths = r"D:\mls\6892_5003_000123.flac", r"D:\emu\SES0012\utt7.wav", r"made\anna\1.wav"
    >>> tuple(map(speaker_of, paths))
    ('6892', 'SES0012', 'anna')
    """
    folders = re.split(r"[\\/]+", path.strip())
    parent = folders[-2] if len(folders) > 1 else ""
    if folders[0] == "made":
        return parent
    session = re.search(r"(?:^|[\\/_])(SES\d+)", path, re.IGNORECASE)
    reader = re.match(r"(\d+)_\d+_\d+", folders[-1])
    if session:
        return session.group(1).upper()
    return reader.group(1) if reader else parent


def choose(rows: list[Row], number: int | None, seed: int, split: str) -> list[Row]:
    """Choose a random subset by the seed, in the order of `rows`; the choice for n is part of that for n + 1."""
    if number is None or number >= len(rows):
        return rows
    order = np.random.default_rng([seed, zlib.crc32(split.encode())]).permutation(len(rows))
    return [rows[index] for index in sorted(order[:number])]


def summary(split: str, rows: Sequence[Row], dropped: int, limited: int) -> str:
    """Describe a split in one line."""
    indoor = sum(row["has_reverb"] for row in rows)
    same = sum(row["same_speaker"] is True for row in rows)
    hours = sum(row["duration"] for row in rows) / 3600
    line = f"PolSESS {split}: {len(rows)} mixtures, {hours:.2f} h, {indoor} indoor, {len(rows) - indoor} outdoor"
    line += f", {same} of one speaker with himself"
    line += f" ({dropped} more left out)" if dropped else ""
    return line + (f", {limited} differ from their sum where a limiter acted" if limited else "")


def shared_speakers(found: Mapping[str, Sequence[Row]]) -> Iterator[str]:
    """Note speakers of the training set that speak in another split too (the published corpus has them)."""
    speakers = {
        split: {row[key] for row in rows for key in ("speaker1", "speaker2")} - {""} for split, rows in found.items()
    }
    for split in speakers:
        shared = speakers[split] & speakers.get("train", set()) if split != "train" else set()
        if shared:
            yield f"PolSESS {split}: note: {len(shared)} of {len(speakers[split])} speakers also speak in train"


def _row(table: tables.TextTable, index: int, folder: Path) -> Row:
    where = table.where(index)
    cells = {column: "" if cell.lower() in EMPTY else cell for column, cell in table.rows[index].items()}
    indoor = bool(cells["reverbForSpeaker1"])
    row: Row = {"ID": Path(cells["mixFile"]).stem}
    for part, (sub_folder, column) in PLACES.items():
        present = indoor or part not in REVERB
        if present and not cells[column]:
            raise UserError(f"{where}: {column} is empty" + (", but the row has reverb." if part in REVERB else "."))
        row[f"{part}_wav"] = resolve_path(cells[column], folder / sub_folder / "table") if present else ""
    first, second = (speaker_of(cells[column]) for column in ORIGINS)
    row |= {"has_reverb": indoor, "same_speaker": first == second if first and second else ""}
    row |= {"speaker1": first, "speaker2": second}
    copied = {column: cells.get(column, "") for column in COPIED}
    return row | copied | {column: with_point(table, index, column) for column in TYPES if copied.get(column)}


def with_point(table: tables.TextTable, index: int, column: str) -> str:
    """Return a number of a table as it is written there, or with a decimal point for a comma (a spreadsheet's)."""
    cell = table.rows[index][column]
    return cell if "," not in cell else str(table.number(index, column))


def _prepare_split(split: str, root: Path, options: Mapping[str, Any]) -> list[Row]:
    """Read, choose and check the rows of one split, and print its summary."""
    table = Path(options["tables"][split][0])
    dropping = options["drop_same_speaker"] and split == "train"
    rows, dropped = _without_same_speaker(read_table(table, root / FOLDERS[split]), dropping, table)
    rows = choose(rows, options["max_samples"].get(split), options["seed"], split)
    seconds = check_audio(rows, options["sample_rate"], options["check_files"])
    limited = 0 if options["verify_sum"] is None else check_sum(rows, options["verify_sum"], LIMITED)
    rows = [{**row, "duration": duration} for row, duration in zip(rows, seconds, strict=True)]
    print(summary(split, rows, dropped, limited))
    return rows


def _check_options(splits: Sequence[str], max_samples: Mapping[str, int] | None, verify_sum: int | None) -> None:
    for split in [*splits, *(max_samples or {})]:
        if split not in FOLDERS:
            raise UserError(f"Unknown split {split!r}, expected train, valid or test.{did_you_mean(split, FOLDERS)}")
    for split, number in (max_samples or {}).items():
        if not isinstance(number, int) or number < 1:
            raise UserError(f"max_samples: expected a whole number of at least 1 for {split}, got {number!r}.")
    if isinstance(verify_sum, bool) or (verify_sum is not None and verify_sum < 0):
        raise UserError(f"verify_sum: expected a number of 16-bit steps such as 16, or null, got {verify_sum!r}.")


def _corpus_folder(data_folder: str | os.PathLike[str], splits: Sequence[str]) -> Path:
    root = absolute(data_folder)
    if not root.is_dir():
        raise UserError(f"data_folder {missing_folder(root, {})}")
    missing = [FOLDERS[split] for split in splits if not (root / FOLDERS[split]).is_dir()]
    if missing:
        inside = sorted(path.name for path in root.iterdir() if path.is_dir())
        below = [name for name in inside if all((root / name / FOLDERS[split]).is_dir() for split in splits)]
        hint = f" Did you mean {root / below[0]}?" if below else ""
        raise UserError(
            f"data_folder {data_folder}: expected a PolSESS folder with {', '.join(FOLDERS[s] for s in splits)}; "
            f"{', '.join(missing)} missing, it holds {holds(root)}.{hint}"
        )
    return root


def _refuse_missing_columns(table: Path, columns: Sequence[str]) -> None:
    missing = [column for column in NEEDED if column not in columns]
    if missing:
        hint = did_you_mean(missing[0], set(columns) - set(NEEDED))
        raise UserError(f"{table}: {len(missing)} columns are missing: {shorten(missing)}.{hint}")


def _without_same_speaker(rows: list[Row], drop: bool, table: Path) -> tuple[list[Row], int]:
    kept = [row for row in rows if not (drop and row["same_speaker"])]
    if not kept:
        raise UserError(f"{table}: drop_same_speaker leaves none of {len(rows)} rows; set it to false.")
    return kept, len(rows) - len(kept)


def _refuse_shared_ids(found: Mapping[str, Sequence[Row]]) -> None:
    for split in found:
        for other in list(found)[: list(found).index(split)]:
            shared = sorted({row["ID"] for row in found[split]} & {row["ID"] for row in found[other]})
            if shared:
                raise UserError(f"{len(shared)} mixtures are both in {other} and in {split}: {shorten(shared)}.")


def main(argv: Sequence[str]) -> None:
    parser = arguments.Parser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data_folder")
    parser.add_argument("save_folder")
    parser.add_argument("--splits", nargs="+", default=list(FOLDERS), help="among train, valid, test")
    parser.add_argument("--max_train_samples", type=arguments.count, help="size of a random subset of train")
    parser.add_argument("--seed", type=arguments.from_zero, default=1234)
    parser.add_argument("--drop_same_speaker", action="store_true", help="leave mixtures of one speaker out of train")
    parser.add_argument(
        "--verify_sum", type=arguments.from_zero, help="check mix = sum of parts, up to so many 16-bit steps"
    )
    parser.add_argument("--check_files", default="all", help="all, first or none")
    parser.add_argument("--sample_rate", type=arguments.count, default=8000)
    options = vars(parser.parse_args(argv))
    number = options.pop("max_train_samples")
    prepare_polsess(**options, max_samples={"train": number} if number is not None else None)


if __name__ == "__main__":
    with exit_on_user_error():
        main(sys.argv[1:])
