"""Changes of speed, which move tempo and pitch together. T samples."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from scipy import fft

from lobes.data.augmentation.parts import Layers, Parts, to_shortest

SPEEDS = (0.95, 1.0, 1.05)  # of the published trainings with speed perturbation


def perturb_speed(parts: Parts, layers: Layers, rng: np.random.Generator, speeds: Sequence[float] = SPEEDS) -> Parts:
    """Change the speed of each layer and cut all to the shortest: the mix is still the sum of its parts.

    Each of `layers` draws one of `speeds` (above 1 is faster, higher and shorter); what a room adds to a sound goes
    with it. A "mix" among the parts is summed anew from the others, so that nothing is lost from it.

    Example
    -------
    >>> parts = {"s1": np.ones(2100, np.float32), "noise": np.ones(2100, np.float32)}
    >>> changed = perturb_speed(parts, [("s1",), ("noise",)], np.random.default_rng(0), [1.05])
    >>> {part: x.shape for part, x in changed.items()}
    {'s1': (2000,), 'noise': (2000,)}

    Source: Ko et al. 2015, "Audio augmentation for speech recognition".
    """
    changed: Parts = {}
    for layer in layers:
        speed = speeds[int(rng.integers(len(speeds)))]  # drawn for absent layers too: one draw never moves another
        changed.update({part: change_speed(parts[part], speed) for part in layer if part in parts})
    changed = to_shortest(changed)
    if "mix" in parts:
        changed["mix"] = np.sum(np.stack(list(changed.values())), axis=0)
    return changed


def change_speed(x: np.ndarray, speed: float) -> np.ndarray:
    """Resample [T] to [round(T / speed)], float32: a band-limited (FFT) change of length, linear in x.

    The speed is taken as the nearest fraction with a denominator of at most 100.

    Example
    -------
    >>> change_speed(np.ones(2000, np.float32), 0.8).shape
    (2500,)
    """
    ratio = Fraction(speed).limit_denominator(100)
    if ratio == 1:
        return x
    # zeros after the end, for the transform joins end and beginning; and no large prime factor: 15 times as slow
    blocks = fft.next_fast_len(-(-(len(x) + 256) // ratio.numerator))
    spectrum = fft.rfft(x, blocks * ratio.numerator)
    slower = fft.irfft(spectrum, blocks * ratio.denominator) / np.float32(ratio)
    return slower[: round(len(x) / ratio)].astype(np.float32, copy=False)
