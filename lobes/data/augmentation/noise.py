"""Noise from the files of a folder, at a drawn SNR. T samples."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lobes.data import audio
from lobes.data.augmentation.parts import gain_to, rms_of
from lobes.data.folders import sound_files
from lobes.data.rates import resample
from lobes.errors import UserError


class NoiseFiles:
    """Stretches of noise from files, at one rate.

    Arguments
    ---------
    files : sequence of str
        Recordings of any rate; of several channels the mean is taken.
    sample_rate : int
        The rate of what is drawn (Hz).

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     audio.write(f"{folder}/hum.wav", np.full(800, 0.5), 8000)
    ...     noise = NoiseFiles([f"{folder}/hum.wav"], 8000).draw(1000, np.random.default_rng(0))
    >>> noise.shape, float(noise[-1])
    ((1000,), 0.5)
    """

    def __init__(self, files: Sequence[str], sample_rate: int) -> None:
        self.files, self.sample_rate = list(files), sample_rate

    def draw(self, samples: int, rng: np.random.Generator) -> np.ndarray:
        """A random stretch of a random file, float32 [samples]; a file that is shorter is repeated."""
        file = self.files[int(rng.integers(len(self.files)))]
        recording, rate = audio.read_mono_with_rate(file)
        recording = resample(recording, rate, self.sample_rate)
        start = int(rng.integers(max(1, len(recording) - samples + 1)))
        return np.resize(recording[start:], samples)


def at_snr(speech: np.ndarray, noise: np.ndarray, snr_db: float) -> np.ndarray:
    """Scale noise [T] to lie `snr_db` below the speech [T], by their energies; silence stays as it is.

    Example
    -------
    >>> noise = at_snr(np.full(4, 1.0, np.float32), np.full(4, 0.5, np.float32), 20.0)
    >>> bool(np.allclose(noise, 0.1))
    True
    """
    return noise * np.float32(gain_to(rms_of(speech) * 10 ** (-snr_db / 20), rms_of(noise)))


def files_below(folder: str | os.PathLike[str], key: str) -> list[str]:
    """The WAV and FLAC files in a folder and in all folders below it, sorted; `key` is the option that names it.

    Raises
    ------
    UserError
        No such folder, or no sound in it.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     audio.write(f"{folder}/b/hum.wav", np.zeros(800), 8000)
    ...     [Path(file).name for file in files_below(folder, "noise_folder")]
    ['hum.wav']
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise UserError(f"{key}: there is no folder {root}. Give a folder of WAV or FLAC files, or null.")
    folders = sorted(Path(path) for path, _, _ in os.walk(root))
    found = [str(path / name) for path in folders for name in sound_files(path)]
    if not found:
        raise UserError(f"{key}: {root} holds no WAV and no FLAC file. Give a folder that does, or null.")
    return found
