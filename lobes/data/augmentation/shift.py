"""Random shifts of sources and noise against each other. T samples."""

from __future__ import annotations

import numpy as np

from lobes.data.augmentation.parts import Layers, Parts


def shift_layers(parts: Parts, layers: Layers, rng: np.random.Generator, most: int) -> Parts:
    """Move each of `layers` by up to `most` samples, earlier or later; zeros take the place of what was moved.

    Example
    -------
    >>> parts, layers = {"s1": np.arange(1, 4, dtype=np.float32)}, [("s1",)]
    >>> found = [shift_layers(parts, layers, np.random.default_rng(seed), 1)["s1"].tolist() for seed in range(30)]
    >>> sorted({tuple(x) for x in found})
    [(0.0, 1.0, 2.0), (1.0, 2.0, 3.0), (2.0, 3.0, 0.0)]
    """
    moved = dict(parts)
    for layer in layers:
        samples = int(rng.integers(-most, most + 1))  # drawn for absent layers too: one draw never moves another
        moved.update({part: moved_by(parts[part], samples) for part in layer if part in parts})
    return moved


def moved_by(x: np.ndarray, samples: int) -> np.ndarray:
    """Move [T] later by `samples`, or earlier where they are below 0; what leaves at an end is lost.

    Example
    -------
    >>> moved_by(np.array([1.0, 2.0, 3.0]), 1).tolist(), moved_by(np.array([1.0, 2.0, 3.0]), -4).tolist()
    ([0.0, 1.0, 2.0], [0.0, 0.0, 0.0])
    """
    moved, samples = np.zeros_like(x), max(-len(x), min(samples, len(x)))
    if samples >= 0:
        moved[samples:] = x[: len(x) - samples]
    else:
        moved[:samples] = x[-samples:]
    return moved
