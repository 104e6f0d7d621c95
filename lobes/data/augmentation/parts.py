"""An example as its parts: sounds that are as long as each other, and whose sum is the mixture. T samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

PEAK = 0.999

Parts = dict[str, np.ndarray]  # name -> float32 [T]
Layers = Sequence[tuple[str, ...]]  # names of parts that go together: a dry sound and, after it, what its room adds


def layers_of(num_spks: int) -> Layers:
    """The layers of mixtures of so many sources: each source with its reverberation, and the noise.

    Example
    -------
    >>> layers_of(1)
    (('s1', 's1_reverb'), ('noise',))
    """
    return (*((f"s{number}", f"s{number}_reverb") for number in range(1, num_spks + 1)), ("noise",))


def fit_length(x: np.ndarray, samples: int) -> np.ndarray:
    """Cut the end off, or add zeros to it.

    Example
    -------
    >>> fit_length(np.ones(3), 5).tolist(), fit_length(np.ones(3), 2).tolist()
    ([1.0, 1.0, 1.0, 0.0, 0.0], [1.0, 1.0])
    """
    return x[:samples] if len(x) >= samples else np.pad(x, (0, samples - len(x)))


def to_shortest(parts: Mapping[str, np.ndarray]) -> Parts:
    """Cut all parts to the length of the shortest.

    Example
    -------
    >>> {name: len(x) for name, x in to_shortest({"s1": np.ones(5), "s2": np.ones(3)}).items()}
    {'s1': 3, 's2': 3}
    """
    shortest = min(len(x) for x in parts.values())
    return {part: x[:shortest] for part, x in parts.items()}


def summed(parts: Mapping[str, np.ndarray]) -> np.ndarray:
    """The mixture: the sum of all parts, float32 [T].

    Example
    -------
    >>> summed({"s1": np.ones(2, np.float32), "noise": np.ones(2, np.float32)}).tolist()
    [2.0, 2.0]
    """
    total = np.zeros_like(next(iter(parts.values())), np.float32)
    for x in parts.values():
        total += x
    return total


def guard_peak(parts: Mapping[str, np.ndarray]) -> Parts:
    """Make all parts softer together where their sum would exceed 0.999 of full scale.

    Example
    -------
    >>> loud = {"s1": np.ones(2, np.float32), "s2": np.ones(2, np.float32)}
    >>> round(float(summed(guard_peak(loud))[0]), 3)
    0.999
    """
    peak = float(np.abs(np.sum(list(parts.values()), axis=0)).max(initial=0.0))
    scale = np.float32(min(1.0, PEAK / peak) if peak else 1.0)
    return {part: x * scale for part, x in parts.items()}


def gain_to(wanted: float, rms: float) -> float:
    """The gain from one level to another; a silent sound has none to set, and a silent reference gives none: 1.

    Example
    -------
    >>> gain_to(0.5, 0.25), gain_to(0.5, 0.0), gain_to(0.0, 0.25)
    (2.0, 1.0, 1.0)
    """
    return wanted / rms if wanted > 0 and rms > 0 else 1.0


def rms_of(x: np.ndarray) -> float:
    """The root of the mean square of samples [T]; 0 of none.

    Example
    -------
    >>> rms_of(np.array([3.0, -3.0])), rms_of(np.zeros(0))
    (3.0, 0.0)
    """
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64)))) if len(x) else 0.0
