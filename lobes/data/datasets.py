"""SpeechBrain datasets {id, mix_sig [T], sources_sig [T,S]} from the rows of manifests. T samples, S sources."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from speechbrain.dataio.dataset import DynamicItemDataset

from lobes.data.audio import read_mono
from lobes.data.augmentation.examples import StoredParts, augmented
from lobes.data.manifest import REQUIRED, SPLITS, TEXT, read_manifest, speakers_in
from lobes.data.on_the_fly import NEEDED, TYPES, MadeParts
from lobes.data.seeding import item_rng

Row = Mapping[str, Any]


def read_rows(
    save_folder: str | os.PathLike[str],
    split: str,
    data_root: str | os.PathLike[str],
    types: Mapping[str, type] | None = None,
    needed: Sequence[str] = REQUIRED,
) -> list[dict[str, Any]]:
    """Read the manifest `<split>.csv` that a recipe's preparation wrote into `save_folder`: as `read_manifest`.

    `split` is "train", "valid" or "test", and `data_root` the data folder, which `$data_root` in the paths stands for.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> from lobes.data.manifest import write_manifest
    >>> row = {"ID": "a", "duration": 4.0, "mix_wav": "$data_root/a.wav", "s1_wav": "$data_root/s.wav"}
    >>> with TemporaryDirectory() as folder:
    ...     write_manifest(f"{folder}/train.csv", [row])
    ...     read_rows(folder, "train", "/corpus")[0]["mix_wav"]
    '/corpus/a.wav'
    """
    return read_manifest(os.path.join(save_folder, f"{split}.csv"), data_root, types, needed)


def epoch_clock() -> torch.Tensor:
    """Return the number of the epoch as a tensor [1] in shared memory: loader workers see what the Brain writes.

    Example
    -------
    >>> epoch_clock().shape, epoch_clock().is_shared()
    (torch.Size([1]), True)
    """
    return torch.zeros(1, dtype=torch.int64).share_memory_()


def examples(
    rows: Sequence[Row], make: Callable[[str], Sequence[Any]], extra: Sequence[str] = ()
) -> DynamicItemDataset:
    """Build a dataset whose items are made one by one from their IDs.

    Arguments
    ---------
    rows : sequence of dict
        Rows of a manifest; the items come in their order.
    make : callable
        make(ID) -> mix [T], sources [T,S] as np.ndarray, then one value for each key of `extra`.
    extra : sequence of str
        Further keys of an item, such as "variant" in PolSESS.

    Returns
    -------
    DynamicItemDataset
        Items with the keys id, mix_sig [T], sources_sig [T,S] as tensors, and those of `extra`. Its `data` holds the
        speakers and the texts of the rows, where they say them, for the test.

    Example
    -------
    >>> make = lambda ID: (np.zeros(8, np.float32), np.zeros((8, 2), np.float32), "noisy")
    >>> dataset = examples([{"ID": "a", "speaker1": "anna", "speaker2": "jan"}], make, ["variant"])
    >>> item = dataset[0]
    >>> item["id"], item["variant"], item["mix_sig"].shape, item["sources_sig"].shape
    ('a', 'noisy', torch.Size([8]), torch.Size([8, 2]))
    >>> dataset.data["a"]["speaker"]
    'anna+jan'
    """
    keys = ["mix_sig", "sources_sig", *extra]
    item = {"func": _AsTensors(make), "takes": ["id"], "provides": keys}
    known = {row["ID"]: {name: row[name] for name in row if TEXT.fullmatch(name)} for row in rows}
    for row in rows:
        known[row["ID"]]["speaker"] = speakers_in(row)
    return DynamicItemDataset(known, [item], ["id", *keys])


def mixtures(
    rows: Sequence[Row],
    num_spks: int,
    sample_rate: int,
    length: int | None = None,
    seed: int = 0,
    clock: torch.Tensor | None = None,
) -> DynamicItemDataset:
    """Build a dataset of mixtures that lie ready on disk; its items are those of `examples`.

    Arguments
    ---------
    rows : sequence of dict
        Rows of a manifest, with mix_wav, s1_wav, s2_wav ...
    num_spks : int
        Sources to read.
    sample_rate : int
        The rate that every file must have (Hz).
    length : int, optional
        Cut a random stretch of so many samples out of each example, anew in every epoch (training); a shorter
        example stays whole. None: all examples stay whole (valid and test).
    seed : int
        With the epoch and the ID it decides where the cut lies.
    clock : torch.Tensor, optional
        [1], the epoch (`epoch_clock`); a `length` without it is a ValueError.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> from lobes.data.audio import write
    >>> with TemporaryDirectory() as folder:
    ...     row = {"ID": "a", **{f"{part}_wav": f"{folder}/{part}.wav" for part in ("mix", "s1", "s2")}}
    ...     for part in ("mix", "s1", "s2"):
    ...         write(row[f"{part}_wav"], np.zeros(4000, np.float32), 8000)
    ...     item = mixtures([row], 2, 8000, length=1000, seed=1, clock=epoch_clock())[0]
    >>> item["mix_sig"].shape, item["sources_sig"].shape
    (torch.Size([1000]), torch.Size([1000, 2]))
    """
    if length is not None and clock is None:
        raise ValueError("mixtures: random cuts (length) need the clock that holds the epoch")
    return examples(rows, _StoredMixtures(rows, num_spks, sample_rate, length, seed, clock))


def stored_mixtures(
    save_folder: str,
    data_folder: str,
    num_spks: int,
    sample_rate: int,
    training_signal_len: int,
    seed: int,
    augmentation: Mapping[str, Any],
) -> tuple[dict[str, DynamicItemDataset], torch.Tensor]:
    """Build the datasets of all splits from mixtures that lie ready on disk, and the clock that holds the epoch.

    The arguments are the keys of a recipe by these names; training takes random cuts of `training_signal_len` samples.
    `augmentation` holds the keys of `lobes.data.augmentation.chain.KEYS`, which change the training examples alone.
    """
    clock = epoch_clock()
    rows = {split: read_rows(save_folder, split, data_folder) for split in SPLITS}
    datasets = {split: mixtures(rows[split], num_spks, sample_rate) for split in ("valid", "test")}
    reader, settings = StoredParts(num_spks, sample_rate), {**augmentation, "sample_rate": sample_rate}
    make = augmented(settings, rows["train"], reader, training_signal_len, seed, clock)
    datasets["train"] = (
        mixtures(rows["train"], num_spks, sample_rate, training_signal_len, seed, clock)
        if make.is_plain
        else examples(rows["train"], make)
    )
    return datasets, clock


def made_mixtures(
    save_folder: str,
    data_folder: str,
    reader: MadeParts,
    training_signal_len: int,
    seed: int,
    augmentation: Mapping[str, Any],
) -> tuple[dict[str, DynamicItemDataset], torch.Tensor]:
    """As `stored_mixtures`, of mixtures that `reader` makes when they are read: no file of them is needed."""
    clock = epoch_clock()
    rows = {split: read_rows(save_folder, split, data_folder, TYPES, NEEDED) for split in SPLITS}
    settings = {**augmentation, "sample_rate": reader.sample_rate}
    made = {split: examples(rows[split], _Whole(rows[split], reader)) for split in ("valid", "test")}
    make = augmented(settings, rows["train"], reader, training_signal_len, seed, clock)
    return {"train": examples(rows["train"], make), **made}, clock


class _Whole:
    """The whole mixture and its sources of an ID. A class, because loader workers may have to pickle it."""

    def __init__(self, rows: Sequence[Row], reader: StoredParts) -> None:
        self.rows, self.reader = {row["ID"]: row for row in rows}, reader

    def __call__(self, ID: str) -> tuple[np.ndarray, np.ndarray]:
        return self.reader.example(self.rows[ID])


class _AsTensors:
    """Turn the two arrays of an example into tensors. A class, because loader workers may have to pickle it."""

    def __init__(self, make: Callable[[str], Sequence[Any]]) -> None:
        self.make = make

    def __call__(self, ID: str) -> tuple[Any, ...]:
        mix, sources, *extra = self.make(ID)
        return torch.from_numpy(mix), torch.from_numpy(sources), *extra  # [T], [T,S]


class _StoredMixtures:
    """Read the mixture and the sources of an ID, and cut them in training; arguments as in `mixtures`."""

    def __init__(
        self,
        rows: Sequence[Row],
        num_spks: int,
        sample_rate: int,
        length: int | None,
        seed: int,
        clock: torch.Tensor | None,
    ) -> None:
        self.rows = {row["ID"]: row for row in rows}
        self.columns = ["mix_wav", *(f"s{number}_wav" for number in range(1, num_spks + 1))]
        self.sample_rate, self.length, self.seed, self.clock = sample_rate, length, seed, clock

    def __call__(self, ID: str) -> tuple[np.ndarray, np.ndarray]:
        row = self.rows[ID]
        mix, *sources = (read_mono(row[column], self.sample_rate) for column in self.columns)
        cut = self._cut(ID, len(mix))
        return mix[cut], np.stack(sources, 1)[cut]  # [T], [T,S]

    def _cut(self, ID: str, samples: int) -> slice:
        if self.length is None or self.clock is None:
            return slice(None)
        rng = item_rng(self.seed, int(self.clock), ID)
        start = int(rng.integers(max(1, samples - self.length + 1)))
        return slice(start, start + self.length)
