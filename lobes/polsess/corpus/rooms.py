"""Reverberation without the direct path: what a room adds to a dry sound.

Two kinds of rooms offer the same `draw`: `SimulatedRooms` (shoe boxes by pyroomacoustics' image sources) and
`MeasuredRooms` (recorded responses). In both the responses are scaled so that the direct path is 1, and it is taken
out: the dry sound plus the wet part is the sound in the room, and the dry target needs no delay or gain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from lobes.data.augmentation.responses import (
    NEAREST_METRES,
    SPEAKER_REACH,
    ShoeBoxes,
    critical_metres,
    place_near,
    read_wet,
    wet_part,
)
from lobes.polsess.corpus.classes import FREQ_DAMP, HIGH_CUT_HZ, Reverb, reverb_of

EVENT_REACH = (0.5, 1.5)
# Dattorro's input diffusers (samples at 29761 Hz): the structure of the original generator's reverberator
DIFFUSERS_SECONDS = (142 / 29761, 107 / 29761, 379 / 29761, 277 / 29761)


@dataclass(frozen=True)
class Room:
    """Responses of speaker 1, speaker 2 and the event without their direct paths, and the table's numbers."""

    responses: tuple[np.ndarray, np.ndarray, np.ndarray]
    numbers: Mapping[str, float]

    def wet(self, samples: np.ndarray, source: int) -> np.ndarray:
        """Return the wet part of one source, cut to the length of the dry sound."""
        return wet_part(samples, self.responses[source])


class Rooms(Protocol):
    """A source of rooms."""

    def draw(self, split: str, scene_class: str, rng: np.random.Generator) -> Room:
        """Draw a room for an example."""


NO_ROOM = {
    name: float("nan")
    for name in ("preDelayForEvent", "preDelay1", "preDelay2", "highCut", "diffusion", "decay", "freqDamp")
}


class SimulatedRooms(ShoeBoxes):
    """Shoe-box rooms. The class's ranges act as in the original generator.

    `decay` sets Eyring's RT60 = 0.1 s + 1.2 s (1 - decay): car 0.11-0.16 s, cafe 0.11-0.22 s, metro station
    0.46-0.70 s, airport 0.34-0.94 s. `preDelay` delays the wet part, `diffusion` is the gain of four all-pass
    filters, `freqDamp` of a one-pole low-pass. `highCut` (15 to 20 kHz) lies above the band of 8 and 16 kHz and is only
    written down. Distances are shares of the critical distance, where wet and direct sound are equally loud; so
    the wet part of speakers lies about 4 dB below their dry level in every class.
    """

    def __init__(self, sample_rate: int) -> None:
        instead = "give rirs=FOLDER of room responses, or set indoor_share to 0"
        super().__init__(sample_rate, "indoor rows need rooms", instead)

    def draw(self, split: str, scene_class: str, rng: np.random.Generator) -> Room:
        """Draw sizes, places and numbers of a room of this class."""
        reverb = reverb_of(scene_class)
        numbers = draw_numbers(reverb, rng)
        sides = rng.uniform(reverb.smallest, reverb.largest)
        rt60 = 0.1 + 1.2 * (1 - numbers["decay"])
        ear = rng.uniform(0.35, 0.65, 3) * sides
        critical = critical_metres(sides, rt60)
        far = [critical * rng.uniform(*reach) for reach in (SPEAKER_REACH, SPEAKER_REACH, EVENT_REACH)]
        places = [place_near(ear, sides, max(metres, NEAREST_METRES), rng) for metres in far]
        wet = self.responses(sides, rt60, ear, places)
        delays = (numbers["preDelay1"], numbers["preDelay2"], numbers["preDelayForEvent"])
        shaped = [self._shape(h, delay, numbers) for h, delay in zip(wet, delays, strict=True)]
        return Room((shaped[0], shaped[1], shaped[2]), numbers)

    def _shape(self, response: np.ndarray, delay: float, numbers: Mapping[str, float]) -> np.ndarray:
        """Apply diffusion, damping and the delay to a response without direct path."""
        from scipy.signal import lfilter

        gain = 0.75 * numbers["diffusion"]
        room_to_ring = np.zeros(round(0.05 * self.sample_rate))
        shaped = np.concatenate([response, room_to_ring])
        for seconds in DIFFUSERS_SECONDS:
            taps = np.zeros(round(seconds * self.sample_rate) + 1)
            taps[-1] = 1.0
            shaped = lfilter(taps + gain * np.eye(1, len(taps))[0], np.eye(1, len(taps))[0] + gain * taps, shaped)
        damp = 0.5 * numbers["freqDamp"]
        shaped = lfilter([1 - damp], [1, -damp], shaped)
        return np.concatenate([np.zeros(round(delay * self.sample_rate)), shaped])


class MeasuredRooms:
    """Recorded room responses; an example takes three of its split, different ones where there are so many.

    A response's delays are left as they were measured: preDelay is 0, the other numbers are NaN. Its level is drawn
    like the distances of simulated rooms, because recordings from afar would drown the speakers.
    """

    def __init__(self, files: Mapping[str, Sequence[Path]], sample_rate: int) -> None:
        self._wet = {split: [read_wet(path, sample_rate) for path in paths] for split, paths in files.items()}

    def draw(self, split: str, scene_class: str, rng: np.random.Generator) -> Room:
        """Draw three responses; the scene class has no influence."""
        known = self._wet[split]
        chosen = rng.choice(len(known), size=3, replace=len(known) < 3)
        reach = (SPEAKER_REACH, SPEAKER_REACH, EVENT_REACH)
        first, second, event = (known[i] * rng.uniform(*share) for i, share in zip(chosen, reach, strict=True))
        delays = {"preDelayForEvent": 0.0, "preDelay1": 0.0, "preDelay2": 0.0}
        return Room((first, second, event), {**NO_ROOM, **delays})


def draw_numbers(reverb: Reverb, rng: np.random.Generator) -> dict[str, float]:
    """Draw the seven numbers of a room as the original generator does: both speakers' delays depend on one draw."""
    low, high = reverb.pre_delay
    more = (high - low) * rng.random()
    first = low + more
    return {
        "preDelayForEvent": float(rng.uniform(low, high)),
        "preDelay1": float(first),
        "preDelay2": float(first - more * rng.random() * 0.3),
        "highCut": float(rng.uniform(*HIGH_CUT_HZ)),
        "diffusion": float(rng.uniform(*reverb.diffusion)),
        "decay": float(rng.uniform(*reverb.decay)),
        "freqDamp": float(rng.uniform(*FREQ_DAMP)),
    }
