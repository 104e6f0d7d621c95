"""Dynamic mixing: a new PolSESS example from the stored layers of several rows of one scene class, in memory.

The layers are stored apart and reverb is linear in level, so that speakers, scenes and events can be
exchanged and re-levelled. The steps and levels are those of the corpus generator (generatePolSESSInit.m,
s17060/PolSESS).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from lobes.data.augmentation.parts import Layers, Parts, fit_length, guard_peak
from lobes.data.mixing import LEVELS_DB, Pool, Row, Voice, level_over

SCENE_DB = (-14.0, 0.0)  # scene over s1 + s2, by rms
LAYERS = (("s1", "sp1_reverb"), ("s2", "sp2_reverb"), ("scene",), ("event", "ev_reverb"))
OUTDOORS = tuple(layer[:1] for layer in LAYERS)  # the same without rooms


class Remixer:
    """Make new mixtures around the speakers of a row.

    Speaker 1 is one of the row's two speakers. Speaker 2 (either speaker of another row, never the same
    speaker where speakers are known), the scene and the event each come from other rows of the same scene
    class and the same indoor flag; a speaker or event brings its own reverb at the same gain. A class with
    a single row takes what it lacks from rows with the same indoor flag, and last from the row itself. Rows
    without a scene class are pooled by their indoor flag alone.

    Levels: SSR uniform (continuous) in [-5, 5] dB by default; scene uniform in [-14, 0] dB relative to rms(s1 + s2),
    for every task; the event stays as stored, as in the corpus. One common scale keeps the peak of the
    whole mixture at or below 0.999.

    Arguments
    ---------
    rows : sequence of dict
        Manifest rows of one split (`read_manifest`).
    read : callable, optional
        read(path) -> float32 [T]; give one that caches where that helps. Default: `audio.read_mono`.
    sample_rate : int, optional
        Handed to `read` as second argument: the rate (Hz) that `audio.read_mono` insists on.
    both_speakers : bool
        Let either speaker of a row play either role, which doubles the speech that ES learns from. False: the
        row's own speaker 1 stays speaker 1, and partners are other rows' speaker 2.
    ssr_db : pair of float
        Speaker 1 over speaker 2, uniform between these (dB).

    Example
    -------
    >>> from lobes.data.seeding import item_rng
    >>> from lobes.polsess.mmipc import render_parts
    >>> names = ("s1", "s2", "scene", "event")
    >>> rows = [{"ID": ID, **{f"{part}_wav": ID + part for part in names}} for ID in "abc"]
    >>> noise = lambda path: np.random.default_rng(len(path)).normal(0, 0.1, 800).astype(np.float32)
    >>> parts = Remixer(rows, noise).remix(rows[0], item_rng(1, 1, "a"))
    >>> mix, sources = render_parts("SB", "SE", parts)
    >>> mix.shape, sources.shape
    ((800,), (800, 2))
    """

    def __init__(
        self,
        rows: Sequence[Row],
        read: Callable[..., np.ndarray] | None = None,
        sample_rate: int | None = None,
        both_speakers: bool = True,
        ssr_db: tuple[float, float] = LEVELS_DB,
    ) -> None:
        self.rows = rows
        self.both_speakers = both_speakers
        self._read = read or _file_reader()
        self._rate = () if sample_rate is None else (sample_rate,)
        self.ssr_db = ssr_db
        pools: dict[tuple[bool, str], list[Row]] = defaultdict(list)
        for row in rows:
            for key in {_class_key(row), _indoor_key(row)}:
                pools[key].append(row)
        self._pools = {key: Pool(found) for key, found in pools.items()}

    def remix(self, row: Row, rng: np.random.Generator) -> Parts:
        """Return the parts of a new mixture; the same for the same row and state of `rng` (`item_rng`).

        The parts are float32 [T], all as long as the row's own speaker: s1, s2, scene, event and, indoors, sp1_reverb,
        sp2_reverb, ev_reverb. There is no "mix": sum them (`mmipc.render_parts`).
        """
        own = int(rng.integers(1, 3)) if self.both_speakers else 1
        partner_row, partner = self._partner(row, own, rng)
        scene_row, event_row = self._other(row, rng), self._other(row, rng)
        ssr_db, scene_db = rng.uniform(*self.ssr_db), rng.uniform(*SCENE_DB)

        parts = self._speaker(row, own, 1)
        parts.update(self._speaker(partner_row, partner, 2))
        parts["scene"] = self._load(scene_row, "scene")
        parts["event"] = self._load(event_row, "event")
        if _indoor(row):
            parts["ev_reverb"] = self._load(event_row, "ev_reverb")
        parts = {part: fit_length(x, len(parts["s1"])) for part, x in parts.items()}
        return _level(parts, ssr_db, scene_db)

    def _speaker(self, row: Row, stored: int, role: int) -> Parts:
        """Load speaker `stored` of a row, with its reverb indoors, under the names of speaker `role`."""
        parts = {f"s{role}": self._load(row, f"s{stored}")}
        if _indoor(row):
            parts[f"sp{role}_reverb"] = self._load(row, f"sp{stored}_reverb")
        return parts

    def _load(self, row: Row, part: str) -> np.ndarray:
        return self._read(row[f"{part}_wav"], *self._rate)

    def _partner(self, row: Row, own: int, rng: np.random.Generator) -> Voice:
        """Draw (row, speaker 1 or 2) for the second voice: in the class, else among all rows of its kind."""
        roles = (1, 2) if self.both_speakers else (2,)
        found = (pool.another_voice([(row, own)], roles, rng) for pool in self._near(row))
        return next(filter(None, found), (row, 3 - own))

    def _other(self, row: Row, rng: np.random.Generator) -> Row:
        """Draw another row of the class, else another with the same indoor flag, else the row itself."""
        return next(filter(None, (pool.another_row(row, rng) for pool in self._near(row))), row)

    def _near(self, row: Row) -> list[Pool]:
        return [self._pools[key] for key in (_class_key(row), _indoor_key(row)) if key in self._pools]


def layers_of(indoor: bool) -> Layers:
    """The parts of a row that go together: a speaker or the event, with its reverb indoors, and the scene.

    Example
    -------
    >>> layers_of(False)
    (('s1',), ('s2',), ('scene',), ('event',))
    """
    return LAYERS if indoor else OUTDOORS


def _level(parts: Parts, ssr_db: float, scene_db: float) -> Parts:
    """Set speaker 2 (and its reverb) and the scene to their levels, then guard the peak of the sum."""
    gains = dict.fromkeys(parts, 1.0)
    gains["s2"] = level_over(parts["s2"], parts["s1"], -ssr_db)
    gains["sp2_reverb"] = gains["s2"]
    speech = parts["s1"] + gains["s2"] * parts["s2"]
    gains["scene"] = level_over(parts["scene"], speech, scene_db)
    return guard_peak({part: x * np.float32(gains[part]) for part, x in parts.items()})


def _indoor(row: Row) -> bool:
    return bool(row.get("sp1_reverb_wav"))


def _class_key(row: Row) -> tuple[bool, str]:
    return _indoor(row), row.get("sceneClass") or ""


def _indoor_key(row: Row) -> tuple[bool, str]:
    return _indoor(row), ""


def _file_reader() -> Callable[..., np.ndarray]:
    from lobes.data.audio import read_mono  # soundfile is loaded only where files are read

    return read_mono
