"""Dynamic mixing: a new PolSESS example from the stored layers of several rows of one scene class, in memory.

The layers are stored apart and reverb is linear in level, so that speakers, scenes and events can be
exchanged and re-levelled. The steps and levels are those of the corpus generator (generatePolSESSInit.m,
s17060/PolSESS).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from scipy import fft

SSR_DB = (-5.0, 5.0)  # speaker 1 over speaker 2, by energy
SCENE_DB = (-14.0, 0.0)  # scene over s1 + s2, by rms
PEAK = 0.999
TRIES = 16  # blind draws of a partner before the candidates are listed
SPEEDS = (0.95, 1.0, 1.05)
LAYERS = (("s1", "sp1_reverb"), ("s2", "sp2_reverb"), ("scene",), ("event", "ev_reverb"))

Row = Mapping[str, Any]
Parts = dict[str, np.ndarray]


class Remixer:
    """Make new mixtures around the speakers of a row.

    Speaker 1 is one of the row's two speakers. Speaker 2 (either speaker of another row, never the same
    speaker where speakers are known), the scene and the event each come from other rows of the same scene
    class and the same indoor flag; a speaker or event brings its own reverb at the same gain. A class with
    a single row takes what it lacks from rows with the same indoor flag, and last from the row itself. Rows
    without a scene class are pooled by their indoor flag alone.

    Levels: SSR uniform (continuous) in [-5, 5] dB; scene uniform in [-14, 0] dB relative to rms(s1 + s2),
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
    ) -> None:
        self.rows = rows
        self.both_speakers = both_speakers
        self._read = read or _file_reader()
        self._rate = () if sample_rate is None else (sample_rate,)
        self._pools: dict[tuple[bool, str], list[int]] = defaultdict(list)
        for index, row in enumerate(rows):
            for key in {_class_key(row), _indoor_key(row)}:
                self._pools[key].append(index)

    def remix(self, row: Row, rng: np.random.Generator) -> Parts:
        """Return the parts of a new mixture; the same for the same row and state of `rng` (`item_rng`).

        The parts are float32 [T], all as long as the row's own speaker: s1, s2, scene, event and, indoors, sp1_reverb,
        sp2_reverb, ev_reverb. There is no "mix": sum them (`mmipc.render_parts`).
        """
        own = int(rng.integers(1, 3)) if self.both_speakers else 1
        partner_row, partner = self._partner(row, own, rng)
        scene_row, event_row = self._other(row, rng), self._other(row, rng)
        ssr_db, scene_db = rng.uniform(*SSR_DB), rng.uniform(*SCENE_DB)

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

    def _partner(self, row: Row, own: int, rng: np.random.Generator) -> tuple[Row, int]:
        """Draw (row, speaker 1 or 2) for the second voice: in the class, else among all rows of its kind."""
        roles = (1, 2) if self.both_speakers else (2,)
        for key in (_class_key(row), _indoor_key(row)):
            pool = self._pools.get(key, [])
            for _ in range(TRIES if pool else 0):
                found = self.rows[pool[int(rng.integers(len(pool)))]], roles[int(rng.integers(len(roles)))]
                if _may_meet(row, own, *found):
                    return found
            allowed = [(n, role) for n in pool for role in roles if _may_meet(row, own, self.rows[n], role)]
            if allowed:
                index, role = allowed[int(rng.integers(len(allowed)))]
                return self.rows[index], role
        return row, 3 - own

    def _other(self, row: Row, rng: np.random.Generator) -> Row:
        """Draw another row of the class, else another with the same indoor flag, else the row itself."""
        for key in (_class_key(row), _indoor_key(row)):
            pool = self._pools.get(key, [])
            for _ in range(TRIES if pool else 0):
                found = self.rows[pool[int(rng.integers(len(pool)))]]
                if found["ID"] != row["ID"]:
                    return found
        return row


def perturb_speed(parts: Parts, rng: np.random.Generator, speeds: Sequence[float] = SPEEDS) -> Parts:
    """Change the speed of each layer and cut all to the shortest: the mix is still the sum of its parts.

    Speaker 1, speaker 2, scene and event each draw one of `speeds` (above 1 is faster, higher and shorter); a reverb
    goes with its layer. The parts are float32 [T]. A "mix" among them is summed anew from the others: scene, event and
    reverb are never lost.

    Example
    -------
    >>> parts = {"s1": np.ones(2100, np.float32), "scene": np.ones(2100, np.float32)}
    >>> {part: x.shape for part, x in perturb_speed(parts, np.random.default_rng(0), [1.05]).items()}
    {'s1': (2000,), 'scene': (2000,)}
    """
    changed: Parts = {}
    for layer in LAYERS:
        speed = speeds[int(rng.integers(len(speeds)))]  # drawn for absent layers too: one draw never moves another
        changed.update({part: change_speed(parts[part], speed) for part in layer if part in parts})
    shortest = min(len(x) for x in changed.values())
    changed = {part: x[:shortest] for part, x in changed.items()}
    if "mix" in parts:
        changed["mix"] = np.sum(np.stack(list(changed.values())), axis=0)
    return changed


def change_speed(x: np.ndarray, speed: float) -> np.ndarray:
    """Resample [T] to [round(T / speed)], float32: a band-limited (FFT) change of length, linear in x.

    The speed is taken as the nearest fraction with a denominator of at most 100.
    """
    ratio = Fraction(speed).limit_denominator(100)
    if ratio == 1:
        return x
    # zeros after the end, for the transform joins end and beginning; and no large prime factor: 15 times as slow
    blocks = fft.next_fast_len(-(-(len(x) + 256) // ratio.numerator))
    spectrum = fft.rfft(x, blocks * ratio.numerator)
    slower = fft.irfft(spectrum, blocks * ratio.denominator) / np.float32(ratio)
    return slower[: round(len(x) / ratio)].astype(np.float32, copy=False)


def fit_length(x: np.ndarray, samples: int) -> np.ndarray:
    """Cut the end off, or add zeros to it.

    Example
    -------
    >>> fit_length(np.ones(3), 5).tolist(), fit_length(np.ones(3), 2).tolist()
    ([1.0, 1.0, 1.0, 0.0, 0.0], [1.0, 1.0])
    """
    return x[:samples] if len(x) >= samples else np.pad(x, (0, samples - len(x)))


def _level(parts: Parts, ssr_db: float, scene_db: float) -> Parts:
    """Set speaker 2 (and its reverb) and the scene to their levels, then guard the peak of the sum."""
    gains = dict.fromkeys(parts, 1.0)
    gains["s2"] = _gain(_rms(parts["s1"]) * 10 ** (-ssr_db / 20), _rms(parts["s2"]))
    gains["sp2_reverb"] = gains["s2"]
    speech = parts["s1"] + gains["s2"] * parts["s2"]
    gains["scene"] = _gain(_rms(speech) * 10 ** (scene_db / 20), _rms(parts["scene"]))
    levelled = {part: x * np.float32(gains[part]) for part, x in parts.items()}
    peak = float(np.abs(np.sum(list(levelled.values()), axis=0)).max(initial=0.0))
    scale = np.float32(min(1.0, PEAK / peak) if peak else 1.0)
    return {part: x * scale for part, x in levelled.items()}


def _gain(wanted: float, rms: float) -> float:
    """A silent layer has no level to set and a silent reference gives none: both stay as they are."""
    return wanted / rms if wanted > 0 and rms > 0 else 1.0


def _rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64)))) if len(x) else 0.0


def _may_meet(row: Row, own: int, other: Row, role: int) -> bool:
    """Another speaker where both are known, else at least another row."""
    mine, theirs = row.get(f"speaker{own}"), other.get(f"speaker{role}")
    if mine and theirs:
        return mine != theirs
    return other["ID"] != row["ID"]


def _indoor(row: Row) -> bool:
    return bool(row.get("sp1_reverb_wav"))


def _class_key(row: Row) -> tuple[bool, str]:
    return _indoor(row), row.get("sceneClass") or ""


def _indoor_key(row: Row) -> tuple[bool, str]:
    return _indoor(row), ""


def _file_reader() -> Callable[..., np.ndarray]:
    from lobes.data.audio import read_mono  # soundfile is loaded only where files are read

    return read_mono
