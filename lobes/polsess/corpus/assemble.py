"""One example, assembled in the order of the original generator (generatePolSESSInit.m, s17060/PolSESS).

There are two differences. Sources louder than a peak of 0.3 are scaled down, because the original may redraw them for
ever. An example is also drawn again if a limiter would change its speech or if its scene file would clip.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lobes.errors import UserError
from lobes.polsess.corpus.classes import event_fits, is_indoor
from lobes.polsess.corpus.clips import Clip, Pools
from lobes.polsess.corpus.pieces import Piece, event_piece, scene_piece, speech_piece
from lobes.polsess.corpus.rooms import NO_ROOM, Room, Rooms
from lobes.polsess.layout import SUBSETS, file_names

LIMIT = 0.999  # removeClipping of the original
FULL = 0.9999  # a mix that reaches this is drawn again
RETRIES = 200
SSR_DB = (-5, 5)
SCENE_RANGE_DB = 14.0


@dataclass(frozen=True)
class Sources:
    """Everything that examples are drawn from. `rooms` is None when no row is indoors."""

    speech: Pools
    scenes: Pools
    events: Pools
    rooms: Rooms | None
    indoor_classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class CorpusExample:
    """The table row (34 columns) and the parts to store, float [T] with full scale 1."""

    row: dict[str, Any]
    parts: dict[str, np.ndarray]


@dataclass(frozen=True)
class _Drawn:
    """Four pieces at the corpus' rate, not yet at their levels."""

    speech1: Piece
    speech2: Piece
    scene: Piece
    event: Piece


def make_example(
    sources: Sources, split: str, index: int, indoor: bool, seed: int, length: int, rate: int
) -> CorpusExample:
    """Assemble an example; one that would clip or holds silence is drawn again, at most 200 times.

    `seed`, `split` and `index` (the example's number in its split) decide everything. The example has `length` samples
    at `rate` Hz; outdoors it has no reverb parts.

    Raises
    ------
    UserError
        200 draws in a row clipped or were silent.
    """
    rng = np.random.default_rng([seed, 30, SUBSETS.index(split), index])
    for _ in range(RETRIES):
        drawn = _draw(sources, split, indoor, rng, length, rate)
        room = sources.rooms.draw(split, drawn.scene.group, rng) if indoor and sources.rooms else None
        example = _mix(drawn, room, split, rng, file_names(split, index, room is not None))
        if example is not None:
            return example
    raise UserError(
        f"{split} example {index + 1}: {RETRIES} draws in a row were silent or reached full scale. "
        "Look for silent speech or events and for scenes that are single loud clicks, and leave them out."
    )


def scene_classes(scenes: Iterable[str], indoor: bool, indoor_classes: Collection[str]) -> list[str]:
    """Return those of the scene classes that are indoors (or outdoors)."""
    return [name for name in scenes if is_indoor(name, indoor_classes) == indoor]


def _draw(sources: Sources, split: str, indoor: bool, rng: np.random.Generator, length: int, rate: int) -> _Drawn:
    speakers = list(sources.speech[split].values())
    first, second = rng.choice(len(speakers), size=2, replace=False)
    scenes = sources.scenes[split]
    scene = _any_clip(scenes, scene_classes(scenes, indoor, sources.indoor_classes), rng)
    events = sources.events[split]
    event = _any_clip(events, [name for name in events if event_fits(name, indoor)] or list(events), rng)
    return _Drawn(
        speech_piece(speakers[first], rng, length, rate),
        speech_piece(speakers[second], rng, length, rate),
        scene_piece(scene, rng, length, rate),
        event_piece(event, rng, length, rate),
    )


def _any_clip(pool: Mapping[str, Sequence[Clip]], classes: Sequence[str], rng: np.random.Generator) -> Clip:
    clips = pool[classes[int(rng.integers(len(classes)))]]
    return clips[int(rng.integers(len(clips)))]


def _mix(
    drawn: _Drawn, room: Room | None, split: str, rng: np.random.Generator, names: Mapping[str, str]
) -> CorpusExample | None:
    """Set the levels, add the reverb and sum; None where the example has to be drawn again."""
    s1, s2, scene, event = (limit(piece.samples) for piece in vars(drawn).values())
    if not (s1.any() and s2.any() and scene.any() and event.any()):
        return None
    ssr = int(rng.integers(SSR_DB[0], SSR_DB[1], endpoint=True))
    s2 = s2 * (rms(s1) / 10 ** (ssr / 20) / rms(s2))
    both, s2 = limit(s1 + s2), limit(s2)  # the sum is of the unlimited s2, as in the original
    random_db = SCENE_RANGE_DB * rng.random()
    gain = rms(both) * 10 ** ((random_db - SCENE_RANGE_DB) / 20) / rms(scene)
    parts = {"s1": s1, "s2": s2, "scene": scene * gain, "event": event}
    wet = {}
    if room is not None:
        wet = {
            "sp1_reverb": limit(room.wet(s1, 0)),
            "sp2_reverb": limit(room.wet(s2, 1)),
            "ev_reverb": limit(room.wet(event, 2)),
        }
    mix = parts["scene"] + event + both + sum(wet.values())
    if np.abs(mix).max() >= FULL or np.abs(parts["scene"]).max() >= FULL or not np.array_equal(both, s1 + s2):
        return None  # the original stores limited speech and clipped scenes; here a mix is always the sum of its parts
    levels = {"SSR": ssr, "sceneRandomDB": random_db, "sceneOffsetDB": random_db - SCENE_RANGE_DB}
    levels["sceneVolumeGain"] = float(gain)
    row = _row(drawn, room, split, levels, names)
    return CorpusExample(row, {**parts, **wet, "mix": mix})


def _row(
    drawn: _Drawn, room: Room | None, split: str, levels: Mapping[str, Any], names: Mapping[str, str]
) -> dict[str, Any]:
    row: dict[str, Any] = {"subset": split, **levels, **names}
    for column, piece in vars(drawn).items():
        row[f"{column}OryginalPath"] = piece.label
        row[f"{column}Start"], row[f"{column}End"] = piece.start, piece.end
    numbers = room.numbers if room else NO_ROOM
    row |= {name: "NaN" if np.isnan(number) else number for name, number in numbers.items()}
    return row | {"sceneClass": drawn.scene.group, "eventClass": drawn.event.group}


def limit(samples: np.ndarray) -> np.ndarray:
    """Clip hard at +-0.999, as the original's removeClipping.

    Example
    -------
    >>> limit(np.array([2.0, -0.5])).tolist()
    [0.999, -0.5]
    """
    return np.clip(samples, -LIMIT, LIMIT)


def rms(samples: np.ndarray) -> float:
    """Root mean square, summed by numpy because BLAS rounds differently with another number of threads."""
    return float(np.sqrt(np.square(samples, dtype=np.float64).mean()))
