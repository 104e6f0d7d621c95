"""Room responses without their direct paths: what a room adds to a dry sound. T samples.

They are scaled so that the direct path is 1, and it is taken out: the dry sound plus the wet part is the sound in the
room, and the dry target needs no delay or gain.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from types import ModuleType

import numpy as np

from lobes.data import audio
from lobes.data.rates import resample
from lobes.errors import UserError, install

SPEED_OF_SOUND = 343.0
DIRECT_SECONDS = 0.0025  # of a measured response around its peak: the direct path
SPEAKER_REACH = (0.5, 1.2)  # distance as a share of the critical distance, where wet and direct sound are equally loud
NEAREST_METRES = 0.15
WALL_METRES = 0.2
MAX_ORDER = 24  # image sources; a longer tail is more than 40 dB down


def wet_part(samples: np.ndarray, response: np.ndarray) -> np.ndarray:
    """Return what the room adds to a dry sound [T], cut to its length: float32 [T].

    Example
    -------
    >>> bool(np.allclose(wet_part(np.array([1.0, 0.0, 2.0, 0.0]), np.array([0.0, 0.5])), [0, 0.5, 0, 1], atol=1e-6))
    True
    """
    from scipy.signal import oaconvolve

    return oaconvolve(samples, response)[: len(samples)].astype(np.float32)


class ShoeBoxes:
    """Responses of shoe-box rooms by pyroomacoustics' image sources.

    Arguments
    ---------
    sample_rate : int
        In Hz.
    needed, instead : str
        For the error where pyroomacoustics is not installed: what needs it, and what to do without it.

    Raises
    ------
    UserError
        pyroomacoustics is not installed.

    Example
    -------
    >>> boxes = ShoeBoxes(8000, "this needs rooms", "do without")
    >>> ear, place = np.array([2.5, 2.5, 1.5]), np.array([3.5, 2.5, 1.5])
    >>> [wet.ndim for wet in boxes.responses(np.array([6.0, 5.0, 3.0]), 0.3, ear, [place])]
    [1]
    """

    def __init__(self, sample_rate: int, needed: str, instead: str) -> None:
        self.sample_rate, self._words = sample_rate, (needed, instead)
        _pyroomacoustics(needed, instead)

    def responses(
        self, sides: np.ndarray, rt60: float, ear: np.ndarray, places: Sequence[np.ndarray]
    ) -> list[np.ndarray]:
        """Return the responses at `ear` of sources at `places` (metres), without their direct paths."""
        order = min(MAX_ORDER, int(np.ceil(0.6 * SPEED_OF_SOUND * rt60 / sides.min())))
        full = self._image_sources(sides, rt60, order, ear, places)
        direct = self._image_sources(sides, rt60, 0, ear, places)
        return [without_direct(h, h0) for h, h0 in zip(full, direct, strict=True)]

    def _image_sources(
        self, sides: np.ndarray, rt60: float, order: int, ear: np.ndarray, places: Sequence[np.ndarray]
    ) -> list[np.ndarray]:
        volume = sides.prod()
        surface = 2 * (sides[0] * sides[1] + sides[0] * sides[2] + sides[1] * sides[2])
        absorption = 1 - np.exp(-0.161 * volume / (surface * rt60))  # Eyring; defined for every size and RT60
        pra = _pyroomacoustics(*self._words)  # not kept: a module does not pickle, and loader workers may be spawned
        room = pra.ShoeBox(sides, fs=self.sample_rate, materials=pra.Material(absorption), max_order=order)
        for place in places:
            room.add_source(place)
        room.add_microphone(ear)
        room.compute_rir()
        return [np.asarray(h) for h in room.rir[0]]


def critical_metres(sides: np.ndarray, rt60: float) -> float:
    """The distance in metres at which the sound of a room is as loud as the direct one.

    Example
    -------
    >>> round(critical_metres(np.array([6.0, 5.0, 3.0]), 0.4), 3)
    0.855
    """
    return float(0.057 * np.sqrt(sides.prod() / rt60))


def place_near(ear: np.ndarray, sides: np.ndarray, metres: float, rng: np.random.Generator) -> np.ndarray:
    """Draw a point at about ear height at a distance, or nearer where a wall is in the way.

    Example
    -------
    >>> ear, sides = np.full(3, 2.0), np.full(3, 4.0)
    >>> bool(np.linalg.norm(place_near(ear, sides, 1.0, np.random.default_rng(0)) - ear) < 1.1)
    True
    """
    angle = rng.uniform(0, 2 * np.pi)
    step = metres * np.array([np.cos(angle), np.sin(angle), rng.uniform(-0.1, 0.1)])
    return np.clip(ear + step, WALL_METRES, sides - WALL_METRES)


def without_direct(response: np.ndarray, direct: np.ndarray) -> np.ndarray:
    """Subtract the direct path, divide by its strength and start at its arrival.

    Example
    -------
    >>> without_direct(np.array([0, 0.5, 0, 0.25]), np.array([0, 0.5])).tolist()
    [0.0, 0.0, 0.5]
    """
    rest = np.array(response, np.float64)
    rest[: len(direct)] -= direct[: len(rest)]
    return rest[int(np.abs(direct).argmax()) :] / np.sqrt(np.square(direct).sum())


def read_wet(path: str | os.PathLike[str], sample_rate: int) -> np.ndarray:
    """Read a response, take out the direct path (all up to 2.5 ms after the peak), scale the rest to unit energy.

    Raises
    ------
    UserError
        A lower rate than `sample_rate`, or nothing after the direct path.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     audio.write(f"{folder}/room.wav", np.eye(1, 800)[0] + 0.5 * np.eye(1, 800, 200)[0], 8000)
    ...     wet = read_wet(f"{folder}/room.wav", 8000)
    >>> int(wet.argmax()), round(float(np.square(wet).sum()), 6)
    (200, 1.0)
    """
    response, own_rate = audio.read(path)
    response = response if response.ndim == 1 else response[:, 0]
    if own_rate < sample_rate:
        raise UserError(
            f"{path}: sample rate is {own_rate} Hz, {sample_rate} Hz are wanted. "
            f"Set sample_rate to {own_rate} or less, or leave this file out."
        )
    response = resample(response, own_rate, sample_rate)
    arrival = int(np.abs(response).argmax())
    wet = response[arrival:].astype(np.float64)
    wet[: round(DIRECT_SECONDS * sample_rate) + 1] = 0.0
    if not wet.any():
        raise UserError(f"{path}: nothing follows the direct path of this room response. Leave this file out.")
    return wet / np.sqrt(np.square(wet).sum())


def _pyroomacoustics(needed: str, instead: str) -> ModuleType:
    try:
        import pyroomacoustics
    except ImportError as error:
        raise UserError(f"{needed}: {install(extra='demo')} (pyroomacoustics), or {instead}.") from error
    # one thread: image sources are summed in one order on every machine, so a seed gives the same bytes
    pyroomacoustics.constants.set("num_threads", 1)
    return pyroomacoustics
