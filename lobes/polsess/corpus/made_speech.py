"""Synthesised speakers: espeak-ng's Polish voice in variants of pitch, timbre and pace."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from lobes.polsess.corpus.clips import Clip, Pools, label_of
from lobes.polsess.corpus.espeak import Utterance, speak
from lobes.polsess.corpus.sentences import sentences_of
from lobes.polsess.layout import SUBSETS

LEVEL_DB = (-10.0, 0.0)  # of an utterance, as recordings differ
FEWEST_UTTERANCES = 4


class Speaker(NamedTuple):
    """A synthesised speaker: name, espeak variant, words per minute, pitch, pitch range."""

    name: str
    variant: str
    speed: int
    pitch: int
    pitch_range: int


WOMEN = (
    Speaker("pl_anna", "f1", 155, 45, 50),
    Speaker("pl_barbara", "f2", 170, 60, 60),
    Speaker("pl_celina", "f3", 150, 70, 45),
    Speaker("pl_dorota", "f4", 180, 35, 55),
    Speaker("pl_ewa", "f5", 160, 55, 40),
    Speaker("pl_felicja", "aunty", 145, 50, 65),
    Speaker("pl_grazyna", "belinda", 165, 40, 50),
    Speaker("pl_halina", "linda", 175, 50, 40),
    Speaker("pl_irena", "grandma", 140, 30, 60),
    Speaker("pl_janina", "shelby", 168, 65, 50),
    Speaker("pl_kinga", "steph", 158, 75, 55),
    Speaker("pl_lucyna", "Andrea", 150, 55, 50),
)
MEN = (
    Speaker("pl_adam", "m1", 160, 40, 50),
    Speaker("pl_bogdan", "m2", 175, 55, 45),
    Speaker("pl_cezary", "m3", 150, 65, 60),
    Speaker("pl_damian", "m4", 168, 25, 50),
    Speaker("pl_emil", "m5", 182, 70, 55),
    Speaker("pl_filip", "m7", 145, 50, 40),
    Speaker("pl_grzegorz", "m8", 155, 35, 60),
    Speaker("pl_henryk", "adam", 165, 60, 50),
    Speaker("pl_igor", "max", 172, 45, 65),
    Speaker("pl_jakub", "michel", 152, 75, 45),
    Speaker("pl_karol", "quincy", 162, 30, 55),
    Speaker("pl_leon", "Gene", 148, 58, 50),
)


def made_speech(counts: Mapping[str, int], seed: int) -> Pools:
    """Synthesise the speech of each wanted split: split -> speaker -> clips.

    More examples (`counts`) need more utterances per speaker, from 4 up to all sentences of the split. Of 24 speakers
    16 belong to train, 4 to val and 4 to test, half of them women; the seed decides which. Speakers and sentences
    never cross splits.
    """
    lines = [line for split in SUBSETS if counts.get(split, 0) for line in _lines(split, counts[split], seed)]
    spoken, rate = speak([utterance for _, _, utterance in lines])
    pools: dict[str, dict[str, list[Clip]]] = {split: {} for split in SUBSETS}
    rng = np.random.default_rng([seed, 1])
    for (split, speaker, _), samples in zip(lines, spoken, strict=True):
        clips = pools[split].setdefault(speaker.name, [])
        gain = 10 ** (rng.uniform(*LEVEL_DB) / 20) / 32768
        load = _loader(samples, gain, rate)
        clips.append(Clip(speaker.name, label_of(speaker.name, f"{len(clips) + 1:04d}.wav"), load))
    return pools


def speakers_of(split: str, seed: int) -> list[Speaker]:
    """Return the synthesised speakers of a split."""
    place = {"val": slice(0, 2), "test": slice(2, 4), "train": slice(4, None)}[split]
    rng = np.random.default_rng([seed, 0])
    orders = [[group[number] for number in rng.permutation(len(group))] for group in (WOMEN, MEN)]
    return sorted(speaker for order in orders for speaker in order[place])


def _lines(split: str, count: int, seed: int) -> list[tuple[str, Speaker, Utterance]]:
    speakers, texts = speakers_of(split, seed), sentences_of(split)
    each = min(len(texts), max(FEWEST_UTTERANCES, -(-2 * count // len(speakers))))
    lines = []
    for number, speaker in enumerate(speakers):
        order = np.random.default_rng([seed, 2 + SUBSETS.index(split), number]).permutation(len(texts))
        for text in (texts[place] for place in order[:each]):
            voice = f"pl+{speaker.variant}"
            lines.append((split, speaker, Utterance(text, voice, speaker.speed, speaker.pitch, speaker.pitch_range)))
    return lines


def _loader(samples: np.ndarray, gain: float, rate: int) -> Callable[[], tuple[np.ndarray, int]]:
    return lambda: (samples.astype(np.float32) * np.float32(gain), rate)
