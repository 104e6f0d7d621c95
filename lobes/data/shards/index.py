"""The index of a folder of shards: what is in it, and whether it is all there."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lobes.errors import UserError

INDEX, MANIFEST, SUMS = "index.json", "manifest.csv", "SHA256SUMS"
NAME = re.compile(r"\d{6}\.tar")
VERSION = 1


def parse_index(text: str | bytes, place: str) -> dict[str, Any]:
    """Read the text of an index; `place` names it in an error.

    Returns
    -------
    dict
        version, examples, seed, megabytes, source (sha256 of the manifest that the shards were made of), manifest
        (sha256 of `manifest.csv`), and shards: a list of name, bytes, sha256 and examples.

    Raises
    ------
    UserError
        It is no index of shards.

    Example
    -------
    >>> parse_index('{"version": 1, "examples": 0, "manifest": "", "shards": []}', "index.json")["examples"]
    0
    """
    try:
        index = json.loads(text)
        known = index["version"] == VERSION and index["examples"] == sum(one["examples"] for one in index["shards"])
        known = known and isinstance(index["manifest"], str)
        known = known and all(NAME.fullmatch(one["name"]) and len(one["sha256"]) == 64 for one in index["shards"])
        known = known and all(int(one["bytes"]) >= 0 for one in index["shards"])
    except (ValueError, KeyError, TypeError):
        known = False
    if not known:
        raise UserError(f"{place}: is no index of shards, as `lobes shard` writes it. Make the shards anew.")
    return dict(index)


def read_index(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the index of a folder of shards; raises as `parse_index`, and where there is none."""
    path = Path(folder, INDEX)
    if not path.is_file():
        raise UserError(f"{path}: no such index. Expected a folder that `lobes shard` has finished.")
    return parse_index(path.read_bytes(), str(path))


def refuse_incomplete(folder: Path, index: Mapping[str, Any]) -> None:
    """Raise a UserError for shards that are missing or have another size than the index says; none is read."""
    for shard in index["shards"]:
        path = folder / shard["name"]
        size = path.stat().st_size if path.is_file() else None
        if size != shard["bytes"]:
            found = "is missing" if size is None else f"has {size} bytes, expected {shard['bytes']}"
            raise UserError(f"{path}: {found}. Copy it again.")


def root_of(manifest: str | os.PathLike[str]) -> Path | None:
    """What `$data_root` stands for in the manifest of a folder of shards; None for any other manifest.

    Example
    -------
    >>> root_of("/data/train.csv") is None
    True
    """
    path = Path(manifest).absolute()
    return path.parent.parent if path.name == MANIFEST and (path.parent / INDEX).is_file() else None
