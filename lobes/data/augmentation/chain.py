"""The augmentation of training examples, as a recipe's keys set it: a seeded chain of stages. T samples.

Sources are changed one by one before they are mixed (speed, then rooms, then shifts), and the mixture after that and
after the cut (more noise, then its band, then codecs), as a recording goes from the mouth to the file. Each stage has
a generator of its own, by seed, epoch, ID and name: what an example becomes depends neither on workers nor on ranks,
and a stage that is switched on moves no draw of the others.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lobes.data.augmentation.bands import limit_band
from lobes.data.augmentation.codecs import check_codecs, code
from lobes.data.augmentation.noise import NoiseFiles, at_snr, files_below
from lobes.data.augmentation.parts import Layers, Parts
from lobes.data.augmentation.rooms import Acoustics, DrawnRooms, RecordedRooms, reverberate
from lobes.data.augmentation.shift import shift_layers
from lobes.data.augmentation.speed import perturb_speed
from lobes.errors import UserError

SIMULATED = "simulated"  # the word of the key `rooms`
OF_SOURCES = ("dynamic_mixing", "speed_changes", "max_shift", "rooms")  # keys that need the parts of a mixture
OF_MIXTURES = ("noise_folder", "codecs", "band_limits")
PAIRS = ("mixing_levels", "mixing_snr", "noise_snr")
KEYS = (*OF_SOURCES, *OF_MIXTURES, *PAIRS, "augment_share")  # all of them

Generators = Callable[[str], np.random.Generator]  # the name of a stage -> its generator


@dataclass(frozen=True)
class Augmentation:
    """What an example goes through; everything is off by default.

    Arguments
    ---------
    sample_rate : int
        In Hz.
    speeds : sequence of float
        One is drawn for each layer; above 1 is faster.
    max_shift : int
        Samples by which each layer is moved at most.
    rooms : Acoustics, optional
        Where the sources' reverberation comes from.
    noise : NoiseFiles, optional
        Where more noise comes from.
    noise_snr : pair of float
        Its SNR against the sources in dB, uniform between these.
    band_limits : sequence of float
        Upper edges of the mixture's band in Hz; one is drawn.
    codecs : sequence of str
        One is drawn, and how strongly it compresses.
    share : float
        Of examples that get rooms, noise, a limited band, a codec: each is drawn on its own.

    Example
    -------
    >>> from lobes.data.seeding import item_rng
    >>> chain = Augmentation(8000, speeds=[1.25], codecs=["ulaw"])
    >>> parts = {"s1": np.ones(1000, np.float32), "s2": np.ones(1000, np.float32)}
    >>> rngs = lambda stage: item_rng(1, 1, "a", stage)
    >>> changed = chain.sources(parts, [("s1",), ("s2",)], rngs)
    >>> changed["s2"].shape, chain.mixture(changed["s1"], changed["s1"], rngs).shape
    ((800,), (800,))
    """

    sample_rate: int
    speeds: Sequence[float] = ()
    max_shift: int = 0
    rooms: Acoustics | None = None
    noise: NoiseFiles | None = None
    noise_snr: tuple[float, float] = (0.0, 20.0)
    band_limits: Sequence[float] = ()
    codecs: Sequence[str] = ()
    share: float = 1.0

    def sources(self, parts: Parts, layers: Layers, rngs: Generators) -> Parts:
        """Change the parts of an example, float32 [T]: the mixture is their sum, and the targets are among them."""
        if self.speeds:
            parts = perturb_speed(parts, layers, rngs("speed"), self.speeds)
        if self.rooms is not None and self._falls_on(rng := rngs("rooms")):
            parts = reverberate(parts, layers, self.rooms, rng)
        if self.max_shift:
            parts = shift_layers(parts, layers, rngs("shift"), self.max_shift)
        return parts

    def mixture(self, mix: np.ndarray, speech: np.ndarray, rngs: Generators) -> np.ndarray:
        """Change a mixture, float32 [T]; `speech` [T], the sum of its sources, is what the SNR is measured by."""
        if self.noise is not None and self._falls_on(rng := rngs("noise")):
            mix = mix + at_snr(speech, self.noise.draw(len(mix), rng), rng.uniform(*self.noise_snr))
        if self.band_limits and self._falls_on(rng := rngs("band")):
            mix = limit_band(mix, self.band_limits[int(rng.integers(len(self.band_limits)))], self.sample_rate)
        if self.codecs and self._falls_on(rng := rngs("codec")):
            mix = code(mix, self.sample_rate, self.codecs[int(rng.integers(len(self.codecs)))], rng.random())
        return mix

    @property
    def changes_sources(self) -> bool:
        """Whether it needs the parts of the mixtures."""
        return bool(self.speeds or self.max_shift or self.rooms is not None)

    @property
    def is_off(self) -> bool:
        """Whether it does nothing at all."""
        return not (self.changes_sources or self.noise is not None or self.band_limits or self.codecs)

    def _falls_on(self, rng: np.random.Generator) -> bool:
        return bool(rng.random() < self.share)


def augmentation_of(settings: Mapping[str, Any]) -> Augmentation:
    """Make the chain from a recipe's keys `speed_changes`, `max_shift`, `rooms` ... and `sample_rate`.

    Raises
    ------
    UserError
        As `check_augmentation`; a room response that is of no use; rooms that need a package.

    Example
    -------
    >>> augmentation_of({"sample_rate": 8000, "speed_changes": [0.95, 1.05]}).speeds
    (0.95, 1.05)
    """
    check_augmentation(settings)
    rate, rooms, folder = settings["sample_rate"], settings.get("rooms"), settings.get("noise_folder")
    return Augmentation(
        rate,
        tuple(settings.get("speed_changes") or ()),
        settings.get("max_shift") or 0,
        _rooms(rooms, rate) if rooms else None,
        NoiseFiles(files_below(folder, "noise_folder"), rate) if folder else None,
        tuple(settings.get("noise_snr") or (0.0, 20.0)),
        tuple(settings.get("band_limits") or ()),
        tuple(settings.get("codecs") or ()),
        settings.get("augment_share", 1.0),
    )


def check_augmentation(settings: Mapping[str, Any]) -> None:
    """Raise a UserError for what is wrong with a recipe's keys; no audio is read.

    Example
    -------
    >>> check_augmentation({"sample_rate": 8000, "noise_snr": [20.0, 0.0]})
    Traceback (most recent call last):
    ...
    lobes.errors.UserError: noise_snr: expected [lowest, highest] in dB, got [20.0, 0.0].
    """
    for key in PAIRS:
        pair = settings.get(key)
        if pair is not None and not (len(pair) == 2 and pair[0] <= pair[1]):
            raise UserError(f"{key}: expected [lowest, highest] in dB, got {list(pair)!r}.")
    check_codecs(settings.get("codecs") or (), settings["sample_rate"])
    for key in ("noise_folder", "rooms"):
        place = settings.get(key)
        if place and place != SIMULATED and not os.path.isdir(os.path.expanduser(place)):
            words = ", simulated" if key == "rooms" else ""
            raise UserError(f"{key}: there is no folder {place}. Give a folder of WAV or FLAC files{words} or null.")


def refuse_without_sums(settings: Mapping[str, Any], why: str) -> None:
    """Raise a UserError if keys are set that need mixtures which are the sums of their parts, and these are not.

    Example
    -------
    >>> refuse_without_sums({"rooms": None, "max_shift": 0, "codecs": ["mp3"]}, "")
    >>> refuse_without_sums({"speed_changes": [0.9]}, "the mixtures hold more than their parts")
    Traceback (most recent call last):
    ...
    lobes.errors.UserError: speed_changes: needs mixtures that are the sums of their parts, but the mixtures hold more \
than their parts. Leave it out.
    """
    given = [key for key in OF_SOURCES if settings.get(key)]
    if given:
        needs = "needs mixtures that are the sums of their parts"
        raise UserError(f"{', '.join(given)}: {needs}, but {why}. Leave {'them' if len(given) > 1 else 'it'} out.")


def _rooms(place: str, sample_rate: int) -> Acoustics:
    return DrawnRooms(sample_rate) if place == SIMULATED else RecordedRooms(files_below(place, "rooms"), sample_rate)
