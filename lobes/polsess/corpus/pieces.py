"""Cut pieces of fixed length out of clips: speech with little silence, scenes without gaps, events that may be short.

Start and end are 1-based and inclusive at the clip's own rate, as in the PolSESS tables. They count in what the
piece was cut from: for speech joined from several utterances (`a.wav+b.wav`) in the joined signal, for a scene
that is shorter than the piece in the looped signal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lobes.data.rates import resample
from lobes.errors import UserError
from lobes.polsess.corpus.clips import Clip

PEAK = 0.3  # louder sources are scaled down to this peak, so that four of them fit into full scale
GAP_SECONDS = (0.1, 0.3)  # silence between joined utterances
FADE_SECONDS = 0.05  # cross-fade where a scene is looped
ACTIVE_SHARE = 0.6  # of 20 ms frames within 40 dB of the loudest one
TRIES = 10


@dataclass(frozen=True)
class Piece:
    """A cut piece at the corpus' rate, and its entries in the table."""

    samples: np.ndarray
    group: str
    label: str
    start: int
    end: int


def speech_piece(clips: Sequence[Clip], rng: np.random.Generator, length: int, rate: int) -> Piece:
    """Cut speech of one speaker. A short utterance is continued by further ones of the same speaker.

    The piece has `length` samples at the corpus' `rate`. It is active in at least 60 % of its frames where ten draws
    find such a place, else it is the most active one. A speaker who has less speech than `length` in all is followed
    by silence.
    """
    order = [clips[number] for number in rng.permutation(len(clips))]
    samples, own_rate = _load(order[0], rate)
    needed = _own_length(length, rate, own_rate)
    joined, names = [samples], [order[0].label]
    for clip in order[1:]:
        if sum(map(len, joined)) >= needed:
            break
        more, more_rate = _load(clip, rate)
        if more_rate == own_rate:
            joined += [np.zeros(int(rng.uniform(*GAP_SECONDS) * own_rate), np.float32), more]
            names.append(clip.label.rsplit("\\", 1)[-1])
    whole = _pad(np.concatenate(joined), needed)
    start = _active_start(whole, rng, needed, own_rate)
    return _cut(whole, start, needed, own_rate, length, rate, order[0].group, "+".join(names))


def scene_piece(clip: Clip, rng: np.random.Generator, length: int, rate: int) -> Piece:
    """Cut a scene at a random place; a scene shorter than the piece is looped with a cross-fade."""
    samples, own_rate = _load(clip, rate)
    needed = _own_length(length, rate, own_rate)
    whole = loop(samples, needed, int(FADE_SECONDS * own_rate))
    start = int(rng.integers(len(whole) - needed + 1))
    return _cut(whole, start, needed, own_rate, length, rate, clip.group, clip.label)


def event_piece(clip: Clip, rng: np.random.Generator, length: int, rate: int) -> Piece:
    """Cut an event at a random place; one shorter than the piece is put at a random place into silence."""
    samples, own_rate = _load(clip, rate)
    needed = _own_length(length, rate, own_rate)
    if len(samples) >= needed:
        start = int(rng.integers(len(samples) - needed + 1))
        return _cut(samples, start, needed, own_rate, length, rate, clip.group, clip.label)
    before = int(rng.integers(needed - len(samples) + 1))
    whole = _pad(np.concatenate([np.zeros(before, np.float32), samples]), needed)
    piece = _cut(whole, 0, needed, own_rate, length, rate, clip.group, clip.label)
    return Piece(piece.samples, piece.group, piece.label, 1, len(samples))


def loop(samples: np.ndarray, needed: int, fade: int) -> np.ndarray:
    """Repeat samples until there are `needed` or more; joints are equal-power cross-fades of `fade` samples.

    Example
    -------
    >>> len(loop(np.ones(100, np.float32), needed=250, fade=10)) >= 250
    True
    """
    fade = min(fade, len(samples) // 2)
    ramp = np.sin(np.linspace(0, np.pi / 2, fade, dtype=np.float32))
    whole = samples
    while len(whole) < needed:
        tail, head = whole[len(whole) - fade :], samples[:fade]
        joint = tail * ramp[::-1] + head * ramp
        whole = np.concatenate([whole[: len(whole) - fade], joint, samples[fade:]])
    return whole


def limit_peak(samples: np.ndarray, peak: float = PEAK) -> np.ndarray:
    """Scale samples down to a peak; quieter ones keep their level."""
    loudest = float(np.abs(samples).max(initial=0.0))
    return samples * np.float32(peak / loudest) if loudest > peak else samples


def _load(clip: Clip, rate: int) -> tuple[np.ndarray, int]:
    samples, own_rate = clip.load()
    if own_rate < rate:
        raise UserError(
            f"{clip.path or clip.label}: sample rate is {own_rate} Hz, the corpus wants {rate} Hz. "
            f"Set sample_rate to {own_rate} or less, or leave this file out."
        )
    return samples, own_rate


def _own_length(length: int, rate: int, own_rate: int) -> int:
    return -(-length * own_rate // rate)


def _pad(samples: np.ndarray, needed: int) -> np.ndarray:
    return np.pad(samples, (0, max(0, needed - len(samples))))


def _cut(
    whole: np.ndarray, start: int, needed: int, own_rate: int, length: int, rate: int, group: str, label: str
) -> Piece:
    samples = _pad(resample(whole[start : start + needed], own_rate, rate), length)[:length]
    return Piece(limit_peak(samples), group, label, start + 1, start + needed)


def _active_start(whole: np.ndarray, rng: np.random.Generator, needed: int, own_rate: int) -> int:
    """Draw places until somebody speaks at one of them; else take the best of those drawn."""
    frame = own_rate // 50
    frames = whole[: len(whole) // frame * frame].reshape(-1, frame)  # [L,frame]
    energy = np.square(frames).mean(axis=1)
    active = energy > 1e-4 * energy.max(initial=0.0)
    best, best_share = 0, -1.0
    for start in rng.integers(len(whole) - needed + 1, size=TRIES):
        share = float(active[start // frame : (start + needed) // frame].mean())
        if share > best_share:
            best, best_share = int(start), share
        if share >= ACTIVE_SHARE:
            break
    return best
