"""Find recordings in the user's folders and give every speaker and every file to one split.

What decides the split of a file, in this order:

1. a `manifest.csv` in the given folder or up to four folders above it, if it has the columns `path` (from the
   manifest's own folder) and `split` and lists the file; its column `speaker`, if there is one, names the
   speaker;
2. a folder called train, val, valid, dev, test (or train-clean-100 and the like) above the speaker or class
   folder;
3. the seed: whole speakers for speech, single files for scenes and events.
"""

from __future__ import annotations

import csv
import os
import re
import zlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lobes.errors import UserError
from lobes.polsess.corpus.clips import Clip, Pools, file_clip
from lobes.polsess.layout import SUBSETS

Folders = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
SUFFIXES = {".wav", ".flac", ".ogg", ".aif", ".aiff"}
HELD_OUT = 1 / 6  # share of val and of test where the seed decides
MANIFEST_LEVELS = 4
_SPLIT_WORDS = {
    "train": "train", "tr": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val", "cv": "val",
    "test": "test", "tt": "test", "eval": "test", "evaluation": "test",
}  # fmt: skip


@dataclass(frozen=True)
class Found:
    """One audio file: its speaker or class, and its split where the user's data says it."""

    path: Path
    group: str
    split: str | None


def speech_pools(folders: Folders, splits: Sequence[str], seed: int) -> Pools:
    """Find speakers, split -> speaker -> clips; a speaker belongs to one split as a whole.

    The folders have one sub-folder per speaker, split folders above them allowed. The seed decides where neither a
    manifest nor a folder does.

    Raises
    ------
    UserError
        No such folder, no audio in it, a speaker in two splits, fewer than two speakers in a wanted split.
    """
    found = _find(folders, "speech")
    fixed: dict[str, str] = {}
    for item in found:
        if item.split and fixed.setdefault(item.group, item.split) != item.split:
            where = f"in {fixed[item.group]} and in {item.split}"
            raise UserError(f"speaker {item.group} is {where} ({item.path}): a speaker belongs to one split only.")
    free = sorted({item.group for item in found} - set(fixed))
    fixed.update(divide(free, splits, _rng(seed, "speech"), at_least=2))
    pools = _pools((item, fixed[item.group]) for item in found)
    for split in splits:
        if len(pools[split]) < 2:
            raise UserError(
                f"speech={_text(folders)}: {split} has {len(pools[split])} speaker(s), a mix needs 2. "
                f"Speakers in all: {len(fixed)}. Give more speaker folders, or set counts of {split} to 0."
            )
    return pools


def sound_pools(folders: Folders, splits: Sequence[str], seed: int, kind: str) -> Pools:
    """Find scenes or events, one sub-folder per class; a file belongs to one split. Raises as `speech_pools`."""
    found = _find(folders, kind)
    settled = [(item, item.split) for item in found if item.split]
    by_class: dict[str, list[Found]] = defaultdict(list)
    for item in found:
        if not item.split:
            by_class[item.group].append(item)
    for name, items in by_class.items():
        split_of = divide(range(len(items)), splits, _rng(seed, kind + name), at_least=1)
        settled += [(item, split_of[number]) for number, item in enumerate(items)]
    pools = _pools((item, split) for item, split in settled if split)
    for split in splits:
        if not pools[split]:
            raise UserError(
                f"{kind}={_text(folders)}: {split} has no audio file of {len(found)}. "
                f"Give at least {len(splits)} files per class, or set counts of {split} to 0."
            )
    return pools


def response_files(folders: Folders, splits: Sequence[str], seed: int) -> dict[str, list[Path]]:
    """Find room responses and give each to one split; a split left empty takes one from the fullest split."""
    found = [item for item in _find(folders, "rirs") if item.split is None or item.split in splits]
    if len(found) < len(splits):
        raise UserError(
            f"rirs={_text(folders)}: {len(found)} room response(s) for {len(splits)} splits; "
            "no response serves two splits. Give more of them, or leave rirs out for simulated rooms."
        )
    free = [item for item in found if item.split is None]
    split_of = divide(range(len(free)), splits, _rng(seed, "rirs"), at_least=1)
    rooms: dict[str, list[Path]] = {split: [] for split in splits}
    for item in found:
        rooms[item.split or split_of[free.index(item)]].append(item.path)
    for paths in rooms.values():
        if not paths:
            paths.append(max(rooms.values(), key=len).pop())
    return rooms


def divide(items: Iterable, splits: Sequence[str], rng: np.random.Generator, at_least: int) -> dict:
    """Give each item to one split: a sixth, and `at_least`, to val and to test; train takes the rest.

    Example
    -------
    >>> split_of = divide(range(12), ("train", "val", "test"), np.random.default_rng(0), at_least=2)
    >>> [list(split_of.values()).count(split) for split in ("train", "val", "test")]
    [8, 2, 2]
    """
    items = list(items)
    held = [split for split in ("test", "val") if split in splits]
    rest = "train" if "train" in splits else held.pop()
    owners = [split for split in held for _ in range(max(at_least, round(HELD_OUT * len(items))))]
    # where there are too few for all, train is served first: without it there is nothing to test
    owners = owners[: max(0, len(items) - at_least)]
    owners += [rest] * (len(items) - len(owners))
    return {items[number]: owner for number, owner in zip(rng.permutation(len(items)), owners, strict=True)}


def _find(folders: Folders, kind: str) -> list[Found]:
    """List the audio files of all given folders, each once, sorted."""
    roots = [folders] if isinstance(folders, (str, os.PathLike)) else list(folders)
    found: dict[str, Found] = {}
    for root in roots:
        items = _find_in(Path(root), kind)
        found.update((os.path.abspath(item.path), item) for item in items)
    return [found[path] for path in sorted(found)]


def _find_in(root: Path, kind: str) -> list[Found]:
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        raise UserError(f"{kind}={root}: this folder {what}. Expected {_expected(kind)}.")
    paths = sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not paths:
        types = ", ".join(sorted(SUFFIXES))
        raise UserError(f"{kind}={root}: no audio in this folder ({types}). Expected {_expected(kind)}.")
    listed = _manifest(root, paths)
    split_folders = _split_folders(root, paths, lone=kind == "speech")
    return [_place(root, path, listed.get(os.path.abspath(path)), split_folders) for path in paths]


def _expected(kind: str) -> str:
    return {
        "speech": "one sub-folder per speaker",
        "rirs": "audio files of room responses",
    }.get(kind, "one sub-folder per class")


def _place(root: Path, path: Path, row: dict[str, str] | None, split_folders: set[Path]) -> Found:
    """Read speaker or class and split out of the manifest's row or out of the folders above the file."""
    above = list(path.relative_to(root).parts[:-1])
    split, names = None, above
    for depth, name in enumerate(above):
        if root.joinpath(*above[: depth + 1]) in split_folders:
            split = _split_word(name)
            names = above[depth + 1 :] or above[:depth]
            break
    group = names[0] if names else os.path.basename(os.path.abspath(root))
    if row:
        return Found(path, row.get("speaker") or group, _split_word(row["split"]) or split)
    return Found(path, group, split)


def _split_folders(root: Path, paths: Sequence[Path], lone: bool) -> set[Path]:
    """The folders that name splits. `train` alone among classes is the vehicle, no split, unless `lone`."""
    folders = {above for path in paths for above in path.parents if root in above.parents}
    named = {folder: word for folder in folders if (word := _split_word(folder.name))}
    words = defaultdict(set)
    for folder, word in named.items():
        words[folder.parent].add(word)
    return {folder for folder in named if lone or len(words[folder.parent]) > 1}


def _split_word(name: str) -> str | None:
    """Return the split that a folder's name stands for, if any (train-clean-100 -> train)."""
    return _SPLIT_WORDS.get(re.split(r"[-_. ]", name.lower())[0])


def _manifest(root: Path, paths: Sequence[Path]) -> dict[str, dict[str, str]]:
    """Read the nearest manifest.csv that lists one of the files: absolute path -> row."""
    here = Path(os.path.abspath(root))
    wanted = {os.path.abspath(path) for path in paths}
    for folder in (here, *list(here.parents)[:MANIFEST_LEVELS]):
        rows = _read_manifest(folder / "manifest.csv")
        listed = {os.path.abspath(folder / row["path"]): row for row in rows}
        if wanted & set(listed):
            return listed
    return {}


def _read_manifest(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if not {"path", "split"} <= set(reader.fieldnames or ()):
            return []
        return [row for row in reader if row["path"]]


def _pools(settled: Iterable[tuple[Found, str]]) -> dict[str, dict[str, list[Clip]]]:
    pools: dict[str, dict[str, list[Clip]]] = {split: {} for split in SUBSETS}
    for item, split in settled:
        pools[split].setdefault(item.group, []).append(file_clip(item.group, item.path))
    return {split: dict(sorted(groups.items())) for split, groups in pools.items()}


def _rng(seed: int, what: str) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(what.encode())])


def _text(folders: Folders) -> str:
    return str(folders) if isinstance(folders, (str, os.PathLike)) else ",".join(map(str, folders))
