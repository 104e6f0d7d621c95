"""Synthesised scenes: coloured noise whose spectrum and movement belong to a class.

Each scene is noise of a spectral slope with peaks, breathing slowly, plus what makes the class: passing cars,
birds, waves, voices in the distance (noise in the rhythm of syllables), an engine's harmonics, keys.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from lobes.polsess.corpus.clips import Clip, Pools, label_of
from lobes.polsess.layout import SUBSETS

SECONDS = 8.0
FEWEST, MOST = 2, 40  # scenes per class and split
_RMS = 0.05

Make = Callable[[str, str, int], tuple[np.ndarray, int]]
Layer = Callable[[np.random.Generator, int, int], np.ndarray]


class Colour(NamedTuple):
    """Slope in dB per octave above 100 Hz, peaks (Hz, width in octaves, dB), breathing (Hz, depth 0 to 1)."""

    slope: float
    peaks: tuple[tuple[float, float, float], ...]
    breathing: tuple[float, float]


def noise(rng: np.random.Generator, length: int, rate: int, colour: Colour) -> np.ndarray:
    """Make coloured, breathing noise of unit rms. -> [length]"""
    spectrum = np.fft.rfft(rng.standard_normal(length))
    hertz = np.maximum(np.fft.rfftfreq(length, 1 / rate), 1.0)
    octaves = np.log2(np.maximum(hertz, 100.0) / 100.0)
    decibels = colour.slope * octaves - 24 * np.maximum(0, np.log2(60.0 / hertz))
    for centre, width, height in colour.peaks:
        decibels = decibels + height * np.exp(-0.5 * np.square(np.log2(hertz / centre) / width))
    samples = np.fft.irfft(spectrum * 10 ** (decibels / 20), length)
    speed, depth = colour.breathing
    return unit(samples * (1 + depth * _drift(rng, length, rate, speed)))


def unit(samples: np.ndarray) -> np.ndarray:
    """Scale to unit rms; silence stays silence."""
    return samples / max(1e-12, float(np.sqrt(np.square(samples).mean())))


def _drift(rng: np.random.Generator, length: int, rate: int, speed: float) -> np.ndarray:
    """A random curve in [-1, 1] that turns about `speed` times a second. -> [length]"""
    knots = rng.uniform(-1, 1, int(length / rate * speed * 2) + 4)
    return np.interp(np.linspace(0, len(knots) - 1, length), np.arange(len(knots)), knots)


def _passing(rng: np.random.Generator, length: int, rate: int) -> np.ndarray:
    """Cars that come and go."""
    total = np.zeros(length)
    seconds = np.arange(length) / rate
    for _ in range(rng.integers(2, 5)):
        centre, wide = rng.uniform(0, length / rate), rng.uniform(0.6, 1.8)
        colour = Colour(rng.uniform(-5, -3), ((rng.uniform(500, 1100), 0.7, 9.0),), (8.0, 0.2))
        total += noise(rng, length, rate, colour) * np.exp(-0.5 * np.square((seconds - centre) / wide))
    return unit(total)


def _birds(rng: np.random.Generator, length: int, rate: int) -> np.ndarray:
    """Short falling and rising whistles."""
    total = np.zeros(length)
    for _ in range(rng.integers(12, 25)):
        size = int(rng.uniform(0.05, 0.18) * rate)
        start = int(rng.integers(0, max(1, length - size)))
        place = np.arange(size) / size
        pitch = rng.uniform(0.25, 0.42) * rate * (1 + rng.uniform(-0.2, 0.2) * place)
        chirp = np.sin(2 * np.pi * np.cumsum(pitch) / rate) * np.hanning(size)
        total[start : start + size] += rng.uniform(0.2, 1) * chirp[: length - start]
    return unit(total)


def _waves(rng: np.random.Generator, length: int, rate: int) -> np.ndarray:
    """Surf: noise that swells and breaks every few seconds."""
    period, phase = rng.uniform(3, 6), rng.uniform(0, 2 * np.pi)
    swell = np.sin(2 * np.pi * np.arange(length) / rate / period + phase)
    return unit(noise(rng, length, rate, Colour(-2, (), (1.0, 0.2))) * np.exp(1.5 * swell))


def _voices(rng: np.random.Generator, length: int, rate: int) -> np.ndarray:
    """Voices too far to understand: bands of noise in the rhythm of syllables."""
    total = np.zeros(length)
    for _ in range(5):
        peaks = ((rng.uniform(400, 700), 0.4, 14.0), (rng.uniform(1100, 2200), 0.3, 10.0))
        total += noise(rng, length, rate, Colour(-5, peaks, (rng.uniform(3, 5), 0.9)))
    return unit(total)


def _engine(rng: np.random.Generator, length: int, rate: int) -> np.ndarray:
    """Harmonics of a slowly changing speed."""
    speed = rng.uniform(35, 70) * (1 + 0.08 * _drift(rng, length, rate, 0.3))
    phase = 2 * np.pi * np.cumsum(speed) / rate
    total = np.zeros(length)
    for harmonic in range(1, 12):
        total += np.sin(harmonic * phase + rng.uniform(0, 6)) / harmonic
    return unit(total)


def _keys(rng: np.random.Generator, length: int, rate: int) -> np.ndarray:
    """Key strokes: very short bursts of high noise."""
    total = np.zeros(length)
    size = int(0.015 * rate)
    for start in rng.integers(0, length - size, rng.integers(25, 60)):
        total[start : start + size] += rng.uniform(0.3, 1) * rng.standard_normal(size) * np.hanning(size)
    return unit(total)


# class -> noise, further layers with their level in dB against the noise
SCENES: Mapping[str, tuple[Colour, tuple[tuple[Layer, float], ...]]] = {
    "street_traffic": (Colour(-5, ((120, 0.8, 6),), (0.5, 0.3)), ((_passing, 3.0),)),
    "park": (Colour(-4, ((400, 1.0, 4),), (0.4, 0.5)), ((_birds, -4.0),)),
    "beach": (Colour(-4, (), (0.3, 0.3)), ((_waves, 4.0),)),
    "public_square": (Colour(-5, ((500, 0.8, 5),), (1.0, 0.3)), ((_voices, 0.0), (_birds, -12.0))),
    "cafe": (Colour(-5, ((600, 0.8, 6),), (1.0, 0.2)), ((_voices, 4.0), (_keys, -10.0))),
    "office": (Colour(-7, ((180, 0.3, 8),), (0.2, 0.1)), ((_keys, -2.0),)),
    "home": (Colour(-6, ((100, 0.2, 12), (300, 0.3, 6)), (0.3, 0.2)), ()),
    "car": (Colour(-8, ((90, 0.6, 8),), (0.5, 0.2)), ((_engine, 0.0),)),
    "metro_station": (Colour(-4, ((250, 0.5, 7),), (0.6, 0.5)), ((_voices, -3.0), (_passing, 0.0))),
}


def made_scenes(counts: Mapping[str, int], seed: int, rate: int) -> Pools:
    """Return synthesised scenes, split -> class -> clips of 8 s, each made when it is needed.

    There is one scene per class for every ten of the split's examples (`counts`), at least 2. The corpus' seed and the
    scene's name decide all of it.
    """
    return made_pools(list(SCENES), counts, lambda *which: make_scene(which, seed, rate))


def make_scene(which: tuple[str, str, int], seed: int, rate: int) -> tuple[np.ndarray, int]:
    """Make one scene: float32 [8 s] of rms 0.05, and the rate."""
    split, name, number = which
    colour, layers = SCENES[name]
    rng = np.random.default_rng([seed, 10, SUBSETS.index(split), list(SCENES).index(name), number])
    length = int(SECONDS * rate)
    total = noise(rng, length, rate, colour)
    for layer, decibels in layers:
        total += layer(rng, length, rate) * 10 ** ((decibels + rng.uniform(-2, 2)) / 20)
    return (_RMS * unit(total)).astype(np.float32), rate


def made_pools(classes: Sequence[str], counts: Mapping[str, int], make: Make) -> Pools:
    """Return synthesised clips, split -> class -> clips; `make(split, class, number)` returns the samples."""

    def clip(split: str, name: str, number: int) -> Clip:
        label = label_of(name, f"{split}_{number + 1:03d}.wav")
        return Clip(name, label, lambda: make(split, name, number))

    sizes = {split: min(MOST, max(FEWEST, counts.get(split, 0) // 10)) for split in SUBSETS}
    return {
        split: {name: [clip(split, name, number) for number in range(size)] for name in classes}
        for split, size in sizes.items()
    }
