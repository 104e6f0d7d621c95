"""Pieces: length, rate, activity, joining, looping, padding, peak."""

from __future__ import annotations

import numpy as np
import pytest

from lobes.data.rates import resample
from lobes.errors import UserError
from lobes.polsess.corpus.clips import Clip
from lobes.polsess.corpus.pieces import PEAK, event_piece, limit_peak, loop, scene_piece, speech_piece


def clip(samples: np.ndarray, rate: int = 8000, name: str = "a.wav") -> Clip:
    return Clip("anna", f"made\\anna\\{name}", lambda: (samples.astype(np.float32), rate))


def tone(seconds: float, rate: int = 8000, level: float = 0.2) -> np.ndarray:
    return level * np.sin(2 * np.pi * 440 * np.arange(int(seconds * rate)) / rate)


def test_a_speech_piece_avoids_silence():
    long = np.concatenate([np.zeros(80000), tone(3.0), np.zeros(8000)])
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(20):
        piece = speech_piece([clip(long)], rng, 8000, 8000)
        shares.append(np.abs(piece.samples).max())
        assert np.array_equal(piece.samples, long[piece.start - 1 : piece.end].astype(np.float32))
    assert np.mean(np.array(shares) > 0) > 0.8  # a blind draw would hit speech in a third of the cases


def test_short_utterances_are_joined_with_gaps_and_named():
    clips = [clip(tone(0.3), name=f"{number}.wav") for number in range(9)]
    piece = speech_piece(clips, np.random.default_rng(0), 8000, 8000)
    assert len(piece.samples) == 8000 and piece.end - piece.start == 7999
    root, speaker, files = piece.label.split("\\")
    assert (root, speaker) == ("made", "anna") and len(set(files.split("+"))) == files.count("+") + 1 >= 2
    silent = np.mean(piece.samples.reshape(-1, 80).std(axis=1) == 0)
    assert 0.1 < silent < 0.6


def test_a_speaker_with_too_little_speech_ends_in_silence():
    piece = speech_piece([clip(tone(0.3))], np.random.default_rng(0), 8000, 8000)
    assert piece.samples[:2400].std() > 0.1 and not piece.samples[2400:].any()


def test_a_piece_is_resampled_to_the_very_length():
    piece = speech_piece([clip(tone(3.0, 22050), 22050)], np.random.default_rng(0), 8000, 8000)
    assert len(piece.samples) == 8000 and piece.end - piece.start == 22049
    spectrum = np.abs(np.fft.rfft(piece.samples))
    assert spectrum.argmax() == 440


def test_a_short_scene_is_looped_without_a_dip():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.05, 3000)
    piece = scene_piece(clip(noise), rng, 16000, 8000)
    levels = piece.samples.reshape(-1, 400).std(axis=1)
    assert len(piece.samples) == 16000 and levels.min() > 0.03 and levels.max() < 0.08
    assert len(loop(np.ones(10), 1000, fade=400)) >= 1000


def test_a_short_event_is_padded_and_a_long_one_cut():
    rng = np.random.default_rng(0)
    piece = event_piece(clip(tone(0.25)), rng, 8000, 8000)
    sounding = np.flatnonzero(piece.samples)
    assert (piece.start, piece.end) == (1, 2000) and 1990 <= np.ptp(sounding) <= 2000
    long = event_piece(clip(tone(3.0)), rng, 8000, 8000)
    assert len(long.samples) == 8000 and long.start > 1


def test_loud_sources_are_brought_to_the_peak_and_quiet_ones_kept():
    assert np.abs(limit_peak(tone(1.0, level=0.9))).max() == pytest.approx(PEAK, rel=1e-5)
    quiet = tone(1.0, level=0.1)
    assert limit_peak(quiet) is quiet
    assert limit_peak(np.zeros(4)).tolist() == [0, 0, 0, 0]


def test_resampling_keeps_the_level():
    assert resample(tone(1.0, 16000), 16000, 8000)[500:-500].std() == pytest.approx(0.2 / 2**0.5, rel=1e-2)


def test_a_rate_below_the_corpus_is_an_error():
    for cut in (lambda c: speech_piece([c], np.random.default_rng(0), 16000, 16000),):
        with pytest.raises(UserError, match="8000 Hz, the corpus wants 16000 Hz"):
            cut(clip(tone(2.0)))
