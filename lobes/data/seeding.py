"""Random numbers of one example: decided by seed, epoch and ID, never by order, worker or rank."""

from __future__ import annotations

import zlib

import numpy as np


def item_rng(seed: int, epoch: int | None, ID: str, stage: str = "") -> np.random.Generator:
    """Return the random generator of one item in one epoch: the same for any order, worker or rank.

    The seed and the epoch are >= 0; the epoch is None for valid and test, which do not change over epochs. A stage of
    an item's making, by its name, has a generator of its own: whether it draws moves the draws of no other.

    Example
    -------
    >>> bool(item_rng(1, 2, "a").random() == item_rng(1, 2, "a").random() != item_rng(1, 3, "a").random())
    True
    >>> bool(item_rng(1, 2, "a", "speed").random() == item_rng(1, 2, "a").random())
    False
    """
    words = [seed, 0 if epoch is None else epoch + 1, crc(ID)]
    return np.random.default_rng([*words, crc(stage)] if stage else words)


def crc(ID: str) -> int:
    """Return the CRC-32 of an ID, 0 to 2**32 - 1: equal in every process, unlike Python's `hash`.

    Example
    -------
    >>> crc("a")
    3904355907
    """
    return zlib.crc32(ID.encode("utf-8", "surrogateescape"))
