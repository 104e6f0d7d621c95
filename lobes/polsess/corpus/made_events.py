"""Synthesised events: short sounds made of tones, bursts and sweeps, named as in ESC-50."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from lobes.polsess.corpus.clips import Pools
from lobes.polsess.corpus.made_scenes import made_pools
from lobes.polsess.layout import SUBSETS

PEAKS = (0.06, 0.3)

Maker = Callable[[np.random.Generator, int], np.ndarray]


def _seconds(seconds: float, rate: int) -> np.ndarray:
    return np.arange(int(seconds * rate)) / rate


def _strikes(rng: np.random.Generator, rate: int, count: int, gap: tuple[float, float], one: Callable) -> np.ndarray:
    """Put `count` strikes one after another, `gap` seconds from start to start."""
    starts = np.cumsum([0.0, *rng.uniform(*gap, count - 1)])
    strikes = [one() for _ in starts]
    total = np.zeros(int(starts[-1] * rate) + max(map(len, strikes)))
    for start, strike in zip((starts * rate).astype(int), strikes, strict=True):
        total[start : start + len(strike)] += strike
    return total


def _ring(rng: np.random.Generator, rate: int, pitch: float, ratios: tuple[float, ...], ring: float) -> np.ndarray:
    """A struck body: partials that die away, the higher the sooner."""
    time = _seconds(4 * ring, rate)
    partials = [ratio for ratio in ratios if ratio * pitch < 0.45 * rate]
    tones = [np.sin(2 * np.pi * r * pitch * time) * np.exp(-time * r**0.5 / ring) / r**0.7 for r in partials]
    return np.sum(tones, axis=0) * np.minimum(1, time / 0.002)


def _bells(rng: np.random.Generator, rate: int) -> np.ndarray:
    pitch = rng.uniform(220, 420)
    return _strikes(rng, rate, 3, (0.8, 1.1), lambda: _ring(rng, rate, pitch, (0.5, 1, 1.19, 1.5, 2, 2.74), 0.5))


def _alarm(rng: np.random.Generator, rate: int) -> np.ndarray:
    pitch, beep = rng.uniform(900, 1700), _seconds(0.12, rate)
    tone = np.sign(np.sin(2 * np.pi * pitch * beep)) * np.hanning(len(beep)) ** 0.3
    return _strikes(rng, rate, int(rng.integers(4, 9)), (0.22, 0.24), lambda: tone)


def _knocks(rng: np.random.Generator, rate: int) -> np.ndarray:
    pitch = rng.uniform(110, 220)

    def knock() -> np.ndarray:
        body = _ring(rng, rate, pitch, (1, 1.6, 2.4, 3.7), 0.03)
        return body + 0.3 * rng.standard_normal(len(body)) * np.exp(-_seconds(1, rate)[: len(body)] / 0.006)

    return _strikes(rng, rate, int(rng.integers(3, 6)), (0.18, 0.3), knock)


def _barks(rng: np.random.Generator, rate: int) -> np.ndarray:
    pitch = rng.uniform(280, 520)

    def bark() -> np.ndarray:
        time = _seconds(rng.uniform(0.14, 0.22), rate)
        place = time / time[-1]
        phase = 2 * np.pi * np.cumsum(pitch * (0.8 + 0.7 * np.sin(np.pi * place))) / rate
        voice = sum(np.sin(h * phase) / h for h in range(1, 9) if 1.5 * h * pitch < 0.45 * rate)
        return (voice + 0.4 * rng.standard_normal(len(time))) * np.sin(np.pi * place) ** 0.7

    return _strikes(rng, rate, int(rng.integers(2, 5)), (0.35, 0.7), bark)


def _horn(rng: np.random.Generator, rate: int) -> np.ndarray:
    time, pitch = _seconds(rng.uniform(0.5, 1.4), rate), rng.uniform(330, 440)
    edge = np.minimum(1, np.minimum(time, time[::-1]) / 0.02)
    tones = [np.sin(2 * np.pi * h * p * time) / h**0.5 for p in (pitch, 1.26 * pitch) for h in range(1, 6)]
    return np.sum(tones, axis=0) * edge


def _siren(rng: np.random.Generator, rate: int) -> np.ndarray:
    time = _seconds(3.5, rate)
    pitch = 800 + 350 * np.sin(2 * np.pi * time / rng.uniform(0.8, 2.5))
    fade = np.sin(np.pi * time / time[-1]) ** 0.5
    return np.sin(2 * np.pi * np.cumsum(pitch) / rate) * fade


def _typing(rng: np.random.Generator, rate: int) -> np.ndarray:
    size = int(0.02 * rate)
    return _strikes(rng, rate, 14, (0.09, 0.22), lambda: rng.standard_normal(size) * np.hanning(size))


def _glass(rng: np.random.Generator, rate: int) -> np.ndarray:
    ratios = (1, 1.41, 1.73, 2.12, 2.6)
    return _strikes(rng, rate, 7, (0.02, 0.2), lambda: _ring(rng, rate, rng.uniform(1100, 1900), ratios, 0.05))


def _footsteps(rng: np.random.Generator, rate: int) -> np.ndarray:
    def step() -> np.ndarray:
        time = _seconds(0.08, rate)
        thud = np.sin(2 * np.pi * 90 * time) * np.exp(-time / 0.02)
        return thud + 0.25 * rng.standard_normal(len(time)) * np.exp(-time / 0.012)

    return _strikes(rng, rate, 6, (0.45, 0.55), step)


EVENTS: Mapping[str, Maker] = {
    "church_bells": _bells,
    "clock_alarm": _alarm,
    "door_wood_knock": _knocks,
    "dog": _barks,
    "car_horn": _horn,
    "siren": _siren,
    "keyboard_typing": _typing,
    "glass_breaking": _glass,
    "footsteps": _footsteps,
}


def made_events(counts: Mapping[str, int], seed: int, rate: int) -> Pools:
    """Return synthesised events as `made_scenes` returns scenes: split -> class -> clips."""
    return made_pools(list(EVENTS), counts, lambda *which: make_event(which, seed, rate))


def make_event(which: tuple[str, str, int], seed: int, rate: int) -> tuple[np.ndarray, int]:
    """Make one event: float32 [T] with a peak of 0.06 to 0.3, and the rate."""
    split, name, number = which
    rng = np.random.default_rng([seed, 20, SUBSETS.index(split), list(EVENTS).index(name), number])
    samples = EVENTS[name](rng, rate)
    return (samples * rng.uniform(*PEAKS) / np.abs(samples).max()).astype(np.float32), rate
