"""The manifests of a training from shards, in the place of a recipe's preparation."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from lobes.data.files import write_whole
from lobes.data.manifest import DATA_ROOT, SPLITS
from lobes.data.shards.fetching import fetch_index, is_remote
from lobes.data.shards.index import MANIFEST, read_index, refuse_incomplete
from lobes.data.shards.writing import file_sum
from lobes.data.speaker_count import refuse_other_sources
from lobes.errors import UserError


def by_format(prepare: Callable[..., None], hparams: Mapping[str, Any]) -> Callable[..., None]:
    """The preparation that the keys `data_format` and `shard_folder` of a recipe ask for.

    Each machine of a training fetches the indices of shards that lie elsewhere, so that all ranks call this.

    Arguments
    ---------
    prepare : callable
        That of the recipe, for files.
    hparams : mapping
        The recipe's keys.

    Example
    -------
    >>> by_format(print, {"data_format": "files", "shard_folder": None}) is print
    True

    Raises
    ------
    UserError
        A folder for shards, but no shards.
    """
    shard_folder = hparams["shard_folder"]
    if hparams["data_format"] == "files":
        if shard_folder:
            raise UserError("shard_folder: is for shards from elsewhere. Leave it out, or give --data_format shards.")
        return prepare
    place = str(hparams["data_folder"])
    if not is_remote(place):
        return prepare_shards
    here = Path(shard_folder or Path(hparams["save_folder"], "shards")).absolute()
    from filelock import FileLock

    here.mkdir(parents=True, exist_ok=True)
    with FileLock(here / "index.lock"):
        for split in SPLITS:
            fetch_index(place, split, here)
    return partial(prepare_shards, fetched=here)


def prepare_shards(
    data_folder: str | os.PathLike[str],
    save_folder: str | os.PathLike[str],
    num_spks: int | None = None,
    check_files: str = "all",
    max_samples: Mapping[str, int] | None = None,
    fetched: Path | None = None,
    **decided: Any,
) -> None:
    """Write `<save_folder>/{train,valid,test}.csv` from shards: those of `lobes shard`, in a folder for each split.

    Arguments
    ---------
    data_folder, save_folder : str or PathLike
        The folder with the splits, and where the manifests go.
    num_spks : int, optional
        Sources that the manifests must have.
    check_files : str
        "none" does not look whether all shards are there.
    max_samples : mapping, optional
        Not for shards.
    fetched : Path, optional
        Where the indices of shards from elsewhere are.
    **decided
        What a recipe's preparation would choose; it was chosen when the shards were made.

    Raises
    ------
    UserError
        A split has no shards, not all of them or other sources.
    """
    if max_samples:
        raise UserError("max_train_items: all examples of the shards are used. Make shards of a smaller manifest.")
    for split in SPLITS:
        folder = Path(fetched or data_folder, split)
        index = read_index(folder)
        if file_sum(folder / MANIFEST) != index["manifest"]:
            raise UserError(f"{folder / MANIFEST}: is not the manifest of {folder / 'index.json'}. Copy both again.")
        if fetched is None and check_files != "none":
            refuse_incomplete(folder, index)
        content = (folder / MANIFEST).read_bytes()
        if fetched is not None:
            content = content.replace(f"{DATA_ROOT}/".encode(), f"{fetched.as_posix()}/".encode())
        write_whole(Path(save_folder, f"{split}.csv"), content)
    if num_spks is not None:
        refuse_other_sources(save_folder, num_spks)
