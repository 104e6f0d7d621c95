"""Reverberation of the sources: shoe boxes that are drawn, or room responses from the files of a folder. T samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from lobes.data.augmentation.noise import at_snr
from lobes.data.augmentation.parts import Layers, Parts
from lobes.data.augmentation.responses import (
    NEAREST_METRES,
    SPEAKER_REACH,
    ShoeBoxes,
    critical_metres,
    place_near,
    read_wet,
    wet_part,
)

SMALLEST, LARGEST = (3.0, 3.0, 2.5), (9.0, 7.0, 3.5)  # sides of a room in metres
RT60 = (0.2, 0.7)  # seconds


class Acoustics(Protocol):
    """A source of rooms."""

    def wet(self, dry: Sequence[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
        """What one room adds to each of the dry sounds [T], as long as they are."""


class DrawnRooms(ShoeBoxes):
    """Shoe boxes of 3 x 3 x 2.5 to 9 x 7 x 3.5 m with an RT60 of 0.2 to 0.7 s, drawn uniformly.

    Speakers sit at 0.5 to 1.2 of the critical distance, where what the room adds is as loud as the direct sound.

    Example
    -------
    >>> dry = [np.eye(1, 4000)[0]] * 2
    >>> wet = DrawnRooms(8000).wet(dry, np.random.default_rng(0))
    >>> len(wet), all(0.1 < np.square(x).sum() < 3 for x in wet)
    (2, True)

    Source: image sources (J. B. Allen and others, 1979), by pyroomacoustics.
    """

    def __init__(self, sample_rate: int) -> None:
        super().__init__(sample_rate, "--rooms simulated needs a package", "give a folder of room responses")

    def wet(self, dry: Sequence[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
        """Draw a room with a microphone and so many speakers."""
        sides, rt60 = rng.uniform(SMALLEST, LARGEST), float(rng.uniform(*RT60))
        ear = rng.uniform(0.35, 0.65, 3) * sides
        critical = critical_metres(sides, rt60)
        far = [max(critical * rng.uniform(*SPEAKER_REACH), NEAREST_METRES) for _ in dry]
        responses = self.responses(sides, rt60, ear, [place_near(ear, sides, metres, rng) for metres in far])
        return [wet_part(x, response) for x, response in zip(dry, responses, strict=True)]


class RecordedRooms:
    """Recorded room responses: each source takes one, different ones where there are so many.

    What a room adds has 0.5 to 1.2 of the dry sound's amplitude, as at the distances of simulated rooms: recordings
    from afar, and rooms that favour the band of voices, would drown the speakers.

    Arguments
    ---------
    files : sequence of str
        Responses at `sample_rate` or above; of several channels the first counts. They are read once.
    sample_rate : int
        In Hz.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> from lobes.data import audio
    >>> with TemporaryDirectory() as folder:
    ...     audio.write(f"{folder}/room.wav", np.eye(1, 800)[0] + 0.5 * np.eye(1, 800, 200)[0], 8000)
    ...     rooms = RecordedRooms([f"{folder}/room.wav"], 8000)
    >>> (wet,) = rooms.wet([np.eye(1, 800)[0]], np.random.default_rng(0))
    >>> int(wet.argmax()), bool(0.5 <= wet.max() <= 1.2)
    (200, True)
    """

    def __init__(self, files: Sequence[str], sample_rate: int) -> None:
        self._wet = [read_wet(file, sample_rate) for file in files]

    def wet(self, dry: Sequence[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
        """Draw a response and a level for each sound."""
        chosen = rng.choice(len(self._wet), size=len(dry), replace=len(self._wet) < len(dry))
        wet = [wet_part(x, self._wet[index]) for x, index in zip(dry, chosen, strict=True)]
        levels = [20 * np.log10(rng.uniform(*SPEAKER_REACH)) for _ in dry]
        return [at_snr(x, added, -level) for x, added, level in zip(dry, wet, levels, strict=True)]


def reverberate(parts: Parts, layers: Layers, rooms: Acoustics, rng: np.random.Generator) -> Parts:
    """Put the sources of an example into a drawn room: what it adds becomes a part of its own.

    A layer of two names is a dry sound and what its room adds, which takes the place of what may stand there. The dry
    sounds, the targets, stay as they are.

    Example
    -------
    >>> class Echo:
    ...     def wet(self, dry, rng):
    ...         return [wet_part(x, np.array([0.0, 0.5])) for x in dry]
    >>> parts = {"s1": np.array([1.0, 0.0, 0.0], np.float32), "noise": np.ones(3, np.float32)}
    >>> wet = reverberate(parts, [("s1", "s1_reverb"), ("noise",)], Echo(), np.random.default_rng(0))
    >>> sorted(wet), bool(np.allclose(wet["s1_reverb"], [0, 0.5, 0], atol=1e-6))
    (['noise', 's1', 's1_reverb'], True)
    """
    pairs = [layer for layer in layers if len(layer) > 1]
    wet = rooms.wet([parts[dry] for dry, _ in pairs], rng)
    return {**parts, **{name: added for (_, name), added in zip(pairs, wet, strict=True)}}
