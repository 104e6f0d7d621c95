"""What a voice sounds like, in a few numbers: to recognise a speaker after a pause. T samples, M frames, E numbers."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from lobes.data.rates import resample
from lobes.errors import UserError
from lobes.runs import names
from lobes.runs.safe_yaml import allow, wishes_of
from lobes.runs.yaml_nodes import read_text

# From the voice of one speaker, [T] at a rate in Hz, to numbers [E] whose Euclidean distance says how unlike two are:
# about 1 between the least alike of one speaker.
Voice = Callable[[np.ndarray, int], np.ndarray]

FRAME_S = 0.032
LOWEST_HZ, HIGHEST_HZ, BANDS = 100.0, 3800.0, 24
COEFFICIENTS = 13
PITCH_HZ = (70.0, 350.0)
VOICED = 0.5  # of the autocorrelation at its peak
FLOOR = 1e-10  # of the power of a frame's loudest band

# Weight of each number: the share of its variance that lies between speakers, over its deviation within one, over 5, so
# that 1 lies between the distances within and across speakers. From 3 s pieces of 28 speakers of LibriSpeech and VCTK.
WEIGHTS = np.array(
    [0.5881, 0.7673, 1.3792, 0.8277, 1.2428, 1.6957, 2.007, 2.4281, 2.5391, 3.1487, 2.9963, 2.7124, 3.1764]
    + [0.6982, 1.5583, 1.5636, 2.9475, 1.967, 3.6293, 3.1906, 4.5659, 5.8954, 3.2601, 4.4448, 3.8964, 2.1568]
) / 5  # fmt: skip


def spectral_voice(x: np.ndarray, rate: int) -> np.ndarray:
    """Describe a voice by its mean cepstrum, the cepstrum's deviation, and the pitch.

    Arguments
    ---------
    x : np.ndarray
        [T], speech without pauses. The level does not matter.
    rate : int
        In Hz.

    Returns
    -------
    np.ndarray
        [E]

    Example
    -------
    >>> spectral_voice(np.random.default_rng(0).standard_normal(8000), 8000).shape
    (26,)
    """
    size = round(FRAME_S * rate)
    frames = x[: max(len(x) // size, 1) * size].astype(np.float64)
    frames = np.pad(frames, (0, -len(frames) % size)).reshape(-1, size)  # [M, T']
    power = np.abs(np.fft.rfft(frames * np.hanning(size), 2 * size)) ** 2  # [M, F]
    bands = power @ _filters(rate, 2 * size)  # [M, BANDS]
    cepstra = np.log(bands + FLOOR * bands.max() + 1e-300) @ _cosines()  # [M, COEFFICIENTS - 1]
    pitch, spread = _pitch(power, rate, size)
    numbers = np.concatenate([cepstra.mean(0), [pitch], cepstra.std(0), [spread]])
    return numbers * WEIGHTS


@lru_cache(maxsize=8)
def _filters(rate: int, n_fft: int) -> np.ndarray:
    """Triangles [F, BANDS] at equal steps of the mel scale, below the lowest rate's Nyquist frequency."""

    def mel(hz: Any) -> Any:
        return 2595 * np.log10(1 + np.asarray(hz) / 700)

    edges = np.linspace(mel(LOWEST_HZ), mel(min(HIGHEST_HZ, rate / 2)), BANDS + 2)
    place = mel(np.fft.rfftfreq(n_fft, 1 / rate))[:, None]  # [F, 1]
    rise = (place - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - place) / (edges[2:] - edges[1:-1])
    return np.maximum(np.minimum(rise, fall), 0)


@lru_cache(maxsize=1)
def _cosines() -> np.ndarray:
    """The discrete cosine transform [BANDS, COEFFICIENTS - 1], without the level."""
    place = (np.arange(BANDS) + 0.5)[:, None]
    return np.cos(np.pi / BANDS * place * np.arange(1, COEFFICIENTS)) * np.sqrt(2 / BANDS)


def _pitch(power: np.ndarray, rate: int, size: int) -> tuple[float, float]:
    """Median and spread over the voiced frames of the pitch, in octaves; 0 and 0 where nothing is voiced."""
    correlation = np.fft.irfft(power)[:, :size]  # [M, lags]
    window = np.fft.irfft(np.abs(np.fft.rfft(np.hanning(size), 2 * size)) ** 2)[:size]
    first, last = (int(rate / hz) for hz in reversed(PITCH_HZ))
    last = min(last, size * 3 // 4)
    unit = correlation[:, first:last] / np.maximum(correlation[:, :1], 1e-300) / window[first:last] * window[0]
    voiced = unit.max(1) > VOICED
    if not voiced.any():
        return 0.0, 0.0
    octaves = np.log2(rate / (first + unit[voiced].argmax(1)))
    return float(np.median(octaves)), float(np.subtract(*np.percentile(octaves, (75, 25))))


@lru_cache(maxsize=1)  # not loaded again for each file
def speaker_model(folder: str | os.PathLike[str], trust: bool = False) -> Voice:
    """A speaker model of SpeechBrain, such as ECAPA-TDNN, as a voice.

    Arguments
    ---------
    folder : str or PathLike
        What `speechbrain.inference.speaker.EncoderClassifier.from_hparams` takes as source.
    trust : bool
        Run whatever its hyperparams.yaml names.

    Raises
    ------
    UserError
        If there is no such model, or its file names what is not in `lobes.runs.callables` and `trust` is not given.
    """
    path = Path(folder) / names.HYPERPARAMS
    if not path.is_file():
        raise UserError(
            f"--voice {os.fspath(folder)}: no {path.name}. Expected the folder of a SpeechBrain speaker model."
        )
    allow(wishes_of(path, read_text(path)), trust)
    from speechbrain.inference.speaker import EncoderClassifier

    model: Any = EncoderClassifier.from_hparams(source=os.fspath(folder), savedir=os.fspath(folder))
    model_rate = int(getattr(model.hparams, "sample_rate", 16000))

    def voice(x: np.ndarray, rate: int) -> np.ndarray:
        import torch

        samples = torch.from_numpy(resample(x, rate, model_rate))[None]
        with torch.no_grad():
            numbers = model.encode_batch(samples)[0, 0].cpu().numpy()
        return numbers / max(float(np.linalg.norm(numbers)), 1e-9)

    return voice
