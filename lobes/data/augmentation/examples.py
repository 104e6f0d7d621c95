"""Training examples with augmentation, from the rows of manifests. T samples, S sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from lobes.data.audio import read_mono
from lobes.data.augmentation.chain import Augmentation, augmentation_of
from lobes.data.augmentation.parts import Parts, layers_of, summed
from lobes.data.mixing import DynamicMixer
from lobes.data.seeding import item_rng

Row = Mapping[str, Any]


class StoredParts:
    """Reads the parts of mixtures that lie ready on disk.

    The noise is the file `noise_wav`; of mixtures with one source it is, where there is no such file, what the mixture
    holds besides the source.

    Arguments
    ---------
    num_spks : int
        Sources.
    sample_rate : int
        The rate that every file must have (Hz).

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> from lobes.data.audio import write
    >>> with TemporaryDirectory() as folder:
    ...     row = {"ID": "a", **{f"{name}_wav": f"{folder}/{name}.wav" for name in ("mix", "s1")}}
    ...     for name, level in (("mix", 0.75), ("s1", 0.5)):
    ...         write(row[f"{name}_wav"], np.full(800, level), 8000)
    ...     parts = StoredParts(1, 8000).parts(row)
    >>> {name: float(x[0]) for name, x in parts.items()}
    {'s1': 0.5, 'noise': 0.25}
    """

    def __init__(self, num_spks: int, sample_rate: int) -> None:
        self.num_spks, self.sample_rate = num_spks, sample_rate

    def has_noise(self, row: Row) -> bool:
        """Whether the row has a part that is no source."""
        return bool(row.get("noise_wav")) or self.num_spks == 1

    def part(self, row: Row, name: str) -> np.ndarray:
        """Read "s1", "s2" ... or "noise", float32 [T]."""
        if name == "noise" and not row.get("noise_wav"):
            return self._read(row, "mix") - self._read(row, "s1")
        return self._read(row, name)

    def parts(self, row: Row) -> Parts:
        """Read all of them; the mixture is their sum."""
        names = [f"s{number}" for number in range(1, self.num_spks + 1)]
        return {name: self.part(row, name) for name in [*names, *(["noise"] if self.has_noise(row) else [])]}

    def example(self, row: Row) -> tuple[np.ndarray, np.ndarray]:
        """The stored mixture [T] and its sources [T,S]."""
        mix, *sources = (self._read(row, name) for name in ("mix", *(f"s{n + 1}" for n in range(self.num_spks))))
        return mix, np.stack(sources, 1)

    def _read(self, row: Row, name: str) -> np.ndarray:
        return read_mono(row[f"{name}_wav"], self.sample_rate)


class AugmentedMixtures:
    """Makes training examples from rows: new mixtures, changed sources, a random cut, a changed mixture.

    Arguments
    ---------
    rows : sequence of dict
        Rows of a manifest.
    reader : StoredParts
        Reads their parts.
    augmentation : Augmentation
        What the examples go through.
    mixer : DynamicMixer, optional
        Makes new mixtures of the rows' parts.
    length : int
        Samples of a random cut; shorter examples stay whole.
    seed : int
        With the epoch and the ID it decides everything.
    clock : torch.Tensor
        [1], the epoch.

    Example
    -------
    >>> class Tones(StoredParts):
    ...     def part(self, row, name):
    ...         return np.ones(800, np.float32)
    >>> clock = torch.ones(1, dtype=torch.int64)
    >>> make = AugmentedMixtures([{"ID": "a"}], Tones(2, 8000), Augmentation(8000, speeds=[0.8]), None, 500, 1, clock)
    >>> mix, sources = make("a")
    >>> mix.shape, sources.shape
    ((500,), (500, 2))
    """

    def __init__(
        self,
        rows: Sequence[Row],
        reader: StoredParts,
        augmentation: Augmentation,
        mixer: DynamicMixer | None,
        length: int,
        seed: int,
        clock: torch.Tensor,
    ) -> None:
        self.rows = {row["ID"]: row for row in rows}
        self.reader, self.augmentation, self.mixer = reader, augmentation, mixer
        self.length, self.seed, self.clock = length, seed, clock

    def __call__(self, ID: str) -> tuple[np.ndarray, np.ndarray]:
        """The mixture [T] and its sources [T,S] of an ID in this epoch."""
        rngs = partial(item_rng, self.seed, int(self.clock), ID)
        mix, sources = self._whole(self.rows[ID], rngs)
        start = int(rngs().integers(max(1, len(mix) - self.length + 1)))
        cut = slice(start, start + self.length)
        return self.augmentation.mixture(mix[cut], sources[cut].sum(1), rngs), sources[cut]

    @property
    def is_plain(self) -> bool:
        """Whether examples are cut, and nothing else."""
        return self.mixer is None and self.augmentation.is_off

    def _whole(self, row: Row, rngs: Any) -> tuple[np.ndarray, np.ndarray]:
        if self.mixer is None and not self.augmentation.changes_sources:
            return self.reader.example(row)
        parts = self.mixer.remix(row, rngs("mixing")) if self.mixer else self.reader.parts(row)
        parts = self.augmentation.sources(parts, layers_of(self.reader.num_spks), rngs)
        sources = [parts[f"s{number}"] for number in range(1, self.reader.num_spks + 1)]
        return summed(parts), np.stack(sources, 1)  # [T], [T,S]


def mixer_of(settings: Mapping[str, Any], rows: Sequence[Row], reader: StoredParts) -> DynamicMixer | None:
    """The mixer that a recipe's keys `dynamic_mixing`, `mixing_levels` and `mixing_snr` ask for; None without it."""
    if not settings["dynamic_mixing"]:
        return None
    return DynamicMixer(rows, reader, reader.num_spks, tuple(settings["mixing_levels"]), tuple(settings["mixing_snr"]))


def augmented(
    settings: Mapping[str, Any],
    rows: Sequence[Row],
    reader: StoredParts,
    length: int,
    seed: int,
    clock: torch.Tensor,
) -> AugmentedMixtures:
    """What makes the training examples of a recipe's keys.

    Arguments
    ---------
    settings : mapping
        The keys of `lobes.data.augmentation.chain.KEYS`, and `sample_rate`.
    rows, reader, length, seed, clock
        As in `AugmentedMixtures`.
    """
    augmentation, mixer = augmentation_of(settings), mixer_of(settings, rows, reader)
    return AugmentedMixtures(rows, reader, augmentation, mixer, length, seed, clock)
