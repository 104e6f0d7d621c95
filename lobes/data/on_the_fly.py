"""Mixtures that are made when they are read, from recordings and gains in a table, as LibriMix makes its files.

A row has, for each of the parts s1, s2 ... and noise, `<part>_wav` and `<part>_gain`; `duration`, the seconds of the
mixture; `longest`, those of its longest source; and `noise_speed`, at which the noise is played. T samples, S sources.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lobes.data import audio
from lobes.data.augmentation.examples import StoredParts
from lobes.data.augmentation.parts import fit_length, summed
from lobes.data.augmentation.speed import change_speed
from lobes.data.rates import resample
from lobes.errors import UserError

RECORDED = 16000  # Hz, of LibriSpeech and of WHAM!'s noise
NEEDED = ("ID", "duration", "s1_wav", "s1_gain")  # columns of such a manifest, which has no mix_wav
TYPES = {"longest": float, "noise_speed": float, "noise_gain": float, **{f"s{n}_gain": float for n in range(1, 33)}}
FADE = RECORDED // 2 + 1  # samples of a fade where noise begins again

Row = Mapping[str, Any]


class MadeParts(StoredParts):
    """Makes the parts of mixtures from recordings: gain, then rate, then length.

    Arguments
    ---------
    num_spks : int
        Sources.
    sample_rate : int
        Of the mixtures (Hz); the recordings have 16 kHz.
    noisy : bool
        Whether the noise is a part of them.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     audio.write(f"{folder}/a.wav", np.full(16000, 0.25), 16000)
    ...     row = {"ID": "a", "duration": 0.5, "s1_wav": f"{folder}/a.wav", "s1_gain": 2.0}
    ...     mix, sources = MadeParts(1, 8000, noisy=False).example(row)
    >>> mix.shape, sources.shape, round(float(mix[2000]), 2)
    ((4000,), (4000, 1), 0.5)

    Source: Cosentino et al. 2020, arXiv:2005.11262, and its scripts (create_librimix_from_metadata.py).
    """

    def __init__(self, num_spks: int, sample_rate: int, noisy: bool) -> None:
        super().__init__(num_spks, sample_rate)
        self.noisy = noisy

    def has_noise(self, row: Row) -> bool:
        """Whether the noise is a part of the mixtures."""
        return self.noisy

    def part(self, row: Row, name: str) -> np.ndarray:
        """Make "s1", "s2" ... or "noise", float32 [T]."""
        recording = first_channel(row[f"{name}_wav"])
        if name == "noise":
            speed = row.get("noise_speed") or 1.0
            recording = extended(change_speed(recording, speed), round(row["longest"] * RECORDED))
        levelled = recording * np.float32(row[f"{name}_gain"])
        return fit_length(resample(levelled, RECORDED, self.sample_rate), round(row["duration"] * self.sample_rate))

    def example(self, row: Row) -> tuple[np.ndarray, np.ndarray]:
        """The mixture [T] and its sources [T,S]."""
        parts = self.parts(row)
        return summed(parts), np.stack([parts[f"s{number}"] for number in range(1, self.num_spks + 1)], 1)


def extended(noise: np.ndarray, samples: int) -> np.ndarray:
    """So many samples of noise [T]; one that is too short begins again, with a fade of half a second.

    Example
    -------
    >>> bool(np.allclose(extended(np.ones(20000), 50000), 1)), extended(np.ones(20000), 50).shape
    (True, (50,))
    """
    if len(noise) < samples and len(noise) <= FADE:
        return np.resize(noise, samples)  # shorter than a fade: no such file in WHAM!
    window = np.hanning(2 * FADE - 1)
    rise, fall = window[:FADE], window[FADE - 1 :]
    longer = noise
    while len(longer) < samples:
        joint = longer[-FADE:] * fall + noise[:FADE] * rise
        longer = np.concatenate([longer[:-FADE], joint, noise[FADE:]])
    return longer[:samples].astype(np.float32, copy=False)


def first_channel(path: str) -> np.ndarray:
    """Read the first channel of a recording at 16 kHz, float32 [T]."""
    samples, rate = audio.read(path)
    if rate != RECORDED:
        raise UserError(f"{path}: sample rate is {rate} Hz, expected {RECORDED} Hz, as LibriSpeech and WHAM! have it.")
    return samples if samples.ndim == 1 else samples[:, 0]
