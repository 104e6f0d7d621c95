"""Dynamic mixing: new mixtures from the parts of several examples, drawn anew in every epoch. T samples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np

from lobes.data.augmentation.noise import at_snr
from lobes.data.augmentation.parts import Parts, gain_to, guard_peak, rms_of, to_shortest

TRIES = 16  # blind draws of a partner before the candidates are listed
LEVELS_DB = (-5.0, 5.0)  # of a further source over the first, by energy: as the scripts of WSJ0-2mix draw it

Row = Mapping[str, Any]
Voice = tuple[Row, int]  # a row, and which of its sources
Found = TypeVar("Found")


class Reads(Protocol):
    """What reads a part of a row: float32 [T]; `has_noise` says whether there is one that is no source."""

    def part(self, row: Row, name: str) -> np.ndarray:
        """Read "s1", "s2" ... or "noise"."""

    def has_noise(self, row: Row) -> bool:
        """Whether the row has a part "noise"."""


class Pool:
    """Rows to draw partners from.

    Example
    -------
    >>> pool = Pool([{"ID": ID, "speaker1": ID, "speaker2": "anna"} for ID in ("jan", "eva")])
    >>> rng = np.random.default_rng(0)
    >>> pool.another_row(pool.rows[0], rng)["ID"]
    'eva'
    >>> row, source = pool.another_voice([(pool.rows[0], 1), (pool.rows[0], 2)], (1, 2), rng)
    >>> row["ID"], source
    ('eva', 1)
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows

    def another_row(self, row: Row, rng: np.random.Generator) -> Row | None:
        """Draw another row; None where there is none."""
        draw = lambda: self.rows[int(rng.integers(len(self.rows)))]  # noqa: E731
        return choose(draw, lambda found: found["ID"] != row["ID"], lambda: self.rows, rng) if self.rows else None

    def another_voice(self, met: Sequence[Voice], roles: Sequence[int], rng: np.random.Generator) -> Voice | None:
        """Draw a source whose speaker is none of those met, from sources 1, 2 ... by `roles`; None if there is none."""

        def draw() -> Voice:
            return self.rows[int(rng.integers(len(self.rows)))], roles[int(rng.integers(len(roles)))]

        def every() -> Iterable[Voice]:
            return ((row, role) for row in self.rows for role in roles)

        return choose(draw, lambda voice: all(may_meet(*voice, *one) for one in met), every, rng) if self.rows else None


def choose(
    draw: Callable[[], Found],
    fits: Callable[[Found], bool],
    every: Callable[[], Iterable[Found]],
    rng: np.random.Generator,
) -> Found | None:
    """Draw until something fits; after 16 draws, draw from the list of all that fit. None where nothing does.

    Example
    -------
    >>> rng = np.random.default_rng(0)
    >>> choose(lambda: int(rng.integers(1000)), lambda n: n == 7, lambda: range(1000), rng)
    7
    """
    for _ in range(TRIES):
        found = draw()
        if fits(found):
            return found
    fitting = [candidate for candidate in every() if fits(candidate)]
    return fitting[int(rng.integers(len(fitting)))] if fitting else None


def may_meet(row: Row, source: int, other: Row, other_source: int) -> bool:
    """Whether two sources may be mixed: another speaker where both are known, else at least another row.

    Example
    -------
    >>> anna, jan = {"ID": "a", "speaker1": "anna"}, {"ID": "b", "speaker1": "jan"}
    >>> may_meet(anna, 1, jan, 1), may_meet(anna, 1, {**anna, "ID": "c"}, 1), may_meet(anna, 1, {"ID": "c"}, 1)
    (True, False, True)
    """
    mine, theirs = row.get(f"speaker{source}"), other.get(f"speaker{other_source}")
    if mine and theirs:
        return bool(mine != theirs)
    return bool(other["ID"] != row["ID"])


def level_over(x: np.ndarray, reference: np.ndarray, level_db: float) -> float:
    """The gain that brings x [T] to `level_db` over the reference [T], by their energies.

    Example
    -------
    >>> round(level_over(np.full(4, 0.5), np.full(4, 1.0), -20.0), 6)
    0.2
    """
    return gain_to(rms_of(reference) * 10 ** (level_db / 20), rms_of(x))


class DynamicMixer:
    """Make new mixtures around a source of a row.

    Source 1 is one of the row's own; the others are sources of other rows, none of a speaker who is there already (a
    set with too few speakers lends the row's own other sources). The noise is that of another row. All are cut to the
    shortest source; noise that is shorter is repeated. One common scale keeps the mixture's peak at or below 0.999.

    Arguments
    ---------
    rows : sequence of dict
        Manifest rows of the training set.
    reader : Reads
        Reads a row's parts.
    num_spks : int
        Sources of a mixture.
    levels_db : pair of float
        Level of each further source over the first, uniform between these (dB).
    snr_db : pair of float
        Level of the first source over the noise, uniform between these (dB).

    Example
    -------
    >>> class Tones:
    ...     def part(self, row, name):
    ...         return np.full(800, 0.1 if name == "noise" else row["level"], np.float32)
    ...     def has_noise(self, row):
    ...         return True
    >>> rows = [{"ID": ID, "level": level} for ID, level in (("a", 0.1), ("b", 0.2))]
    >>> mixer = DynamicMixer(rows, Tones(), 2, levels_db=(0.0, 0.0), snr_db=(20.0, 20.0))
    >>> parts = mixer.remix(rows[0], np.random.default_rng(0))
    >>> {name: round(float(x[0]), 3) for name, x in parts.items()}
    {'s1': 0.1, 's2': 0.1, 'noise': 0.01}
    """

    def __init__(
        self,
        rows: Sequence[Row],
        reader: Reads,
        num_spks: int,
        levels_db: tuple[float, float] = LEVELS_DB,
        snr_db: tuple[float, float] = (0.0, 15.0),
    ) -> None:
        self.pool, self.reader, self.roles = Pool(rows), reader, range(1, num_spks + 1)
        self.levels_db, self.snr_db = levels_db, snr_db

    def remix(self, row: Row, rng: np.random.Generator) -> Parts:
        """The parts s1, s2 ... and noise of a new mixture, float32 [T]: decided by the row and the state of `rng`."""
        voices = self._voices(row, rng)
        noisy = self.pool.another_row(row, rng) or row
        levels = [rng.uniform(*self.levels_db) for _ in voices[1:]]
        snr_db, start = rng.uniform(*self.snr_db), rng.random()

        parts = to_shortest({f"s{n}": self.reader.part(*_named(voice)) for n, voice in enumerate(voices, start=1)})
        for number, level in enumerate(levels, start=2):
            gain = level_over(parts[f"s{number}"], parts["s1"], level)
            parts[f"s{number}"] = parts[f"s{number}"] * np.float32(gain)
        if self.reader.has_noise(noisy):
            noise = _stretch(self.reader.part(noisy, "noise"), len(parts["s1"]), start)
            parts["noise"] = at_snr(parts["s1"], noise, snr_db)
        return guard_peak(parts)

    def _voices(self, row: Row, rng: np.random.Generator) -> list[Voice]:
        voices = [(row, self.roles[int(rng.integers(len(self.roles)))])]
        for _ in self.roles[1:]:
            own = next((row, role) for role in self.roles if (row, role) not in voices)
            voices.append(self.pool.another_voice(voices, self.roles, rng) or own)
        return voices


def _named(voice: Voice) -> tuple[Row, str]:
    return voice[0], f"s{voice[1]}"


def _stretch(noise: np.ndarray, samples: int, start: float) -> np.ndarray:
    """So many samples of noise, from a place of the rest given as a share; noise that is too short is repeated."""
    first = int(start * max(1, len(noise) - samples + 1))
    return np.resize(noise[first:], samples)
