"""Made speakers, scenes and events: enough of them, all different, the same again."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from lobes.errors import UserError
from lobes.polsess.corpus.espeak import Utterance, speak
from lobes.polsess.corpus.made_events import EVENTS, make_event
from lobes.polsess.corpus.made_scenes import SCENES, made_scenes, make_scene
from lobes.polsess.corpus.made_speech import MEN, WOMEN, made_speech, speakers_of
from lobes.polsess.corpus.sentences import SENTENCES, sentences_of

ALL = ("train", "val", "test")


@pytest.fixture(scope="module")
def voices() -> tuple[dict[str, np.ndarray], int]:
    """One sentence from every speaker."""
    speakers = WOMEN + MEN
    said, rate = speak([Utterance(SENTENCES[0], f"pl+{t.variant}", t.speed, t.pitch, t.pitch_range) for t in speakers])
    return {speaker.name: samples for speaker, samples in zip(speakers, said, strict=True)}, rate


def pitch_of(samples: np.ndarray, rate: int) -> float:
    """Median fundamental frequency in Hz, by autocorrelation."""
    found = []
    for start in range(0, len(samples) - 1024, 512):
        frame = samples[start : start + 1024].astype(float)
        frame -= frame.mean()
        lags = np.correlate(frame, frame, "full")[1023:]
        best = lags[50:350].argmax() + 50
        if lags[0] > 1e8 and lags[best] > 0.5 * lags[0]:
            found.append(rate / best)
    return float(np.median(found))


def test_there_are_enough_speakers_and_they_speak(voices):
    spoken, rate = voices
    assert len(spoken) >= 12 and rate >= 16000
    for samples in spoken.values():
        assert 2.0 < len(samples) / rate < 8.0
        assert samples.std() > 500 and (np.abs(samples.astype(int)) > 32700).mean() < 1e-3


def test_speakers_sound_different(voices):
    """Long-term spectra differ by more than 1 dB on average, or the pitch by more than a semitone."""
    spoken, rate = voices
    spectra, pitches = [], []
    for samples in spoken.values():
        frames = samples[: len(samples) // 1024 * 1024].reshape(-1, 1024) * np.hanning(1024)
        power = np.square(np.abs(np.fft.rfft(frames))).mean(axis=0)[5:186]  # 100 to 4000 Hz
        spectra.append(10 * np.log10(power / power.sum()))
        pitches.append(pitch_of(samples, rate))
    for one in range(len(spectra)):
        for two in range(one):
            apart = np.abs(spectra[one] - spectra[two]).mean()
            assert apart > 1.0 or abs(12 * np.log2(pitches[one] / pitches[two])) > 1.0
    assert max(pitches) / min(pitches) > 2


def test_a_fresh_process_says_the_same(voices):
    speakers = (WOMEN + MEN)[:3]
    said, _ = speak([Utterance(SENTENCES[0], f"pl+{t.variant}", t.speed, t.pitch, t.pitch_range) for t in speakers])
    for speaker, samples in zip(speakers, said, strict=True):
        assert np.array_equal(samples, voices[0][speaker.name])


def test_polish_is_spoken_not_spelt(voices):
    """Letters with marks must not be dropped or read as names of signs: the lengths would differ much."""
    (marked, plain), rate = speak([Utterance("Żółć, gęś, jaźń.", "pl+m1"), Utterance("Zulc, genszcz, jazn.", "pl+m1")])
    assert 0.6 < len(marked) / len(plain) < 1.6


def test_an_unknown_voice_is_an_error():
    with pytest.raises(UserError, match="no voice xx-nowhere"):
        speak([Utterance("tak", "xx-nowhere")])


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install \"path/to/clone\[demo\]\""):
        speak([Utterance("tak", "pl")])


def test_speakers_and_sentences_are_divided():
    assert len(SENTENCES) == len(set(SENTENCES)) >= 60
    assert sum(len(sentences_of(split)) for split in ALL) == len(SENTENCES)
    for seed in (1, 2):
        groups = [set(speakers_of(split, seed)) for split in ALL]
        assert [len(group) for group in groups] == [16, 4, 4]
        assert len(set.union(*groups)) == 24
        for group in groups:
            assert len(group & set(WOMEN)) == len(group) // 2
    assert speakers_of("test", 1) != speakers_of("test", 2)


def test_made_speech_labels_and_levels():
    pools = made_speech({"test": 3}, seed=1)
    assert not pools["train"] and len(pools["test"]) == 4
    for speaker, clips in pools["test"].items():
        assert [clip.label for clip in clips] == [f"made\\{speaker}\\{number:04d}.wav" for number in range(1, 5)]
        samples, rate = clips[0].load()
        assert samples.dtype == np.float32 and rate == 22050 and 0.05 < np.abs(samples).max() <= 1.0


@pytest.mark.parametrize("name", sorted(SCENES))
@pytest.mark.parametrize("rate", [8000, 16000])
def test_scenes(name, rate):
    samples, got = make_scene(("train", name, 0), 1, rate)
    again, _ = make_scene(("train", name, 0), 1, rate)
    other, _ = make_scene(("val", name, 0), 1, rate)
    assert got == rate and samples.shape == (8 * rate,) and samples.dtype == np.float32
    assert samples.std() == pytest.approx(0.05, rel=0.02) and np.array_equal(samples, again)
    assert abs(np.corrcoef(samples, other)[0, 1]) < 0.5


@pytest.mark.parametrize("name", sorted(EVENTS))
@pytest.mark.parametrize("rate", [8000, 16000])
def test_events(name, rate):
    for number in range(5):
        samples, got = make_event(("test", name, number), 1, rate)
        assert got == rate and np.isfinite(samples).all() and 0.05 * rate < len(samples) < 6 * rate
        assert 0.055 < np.abs(samples).max() < 0.305
        assert np.array_equal(samples, make_event(("test", name, number), 1, rate)[0])


def test_scene_clips_are_named_by_split():
    pools = made_scenes({"train": 50, "test": 3}, 1, 8000)
    assert [len(pools[split]["cafe"]) for split in ALL] == [5, 2, 2]
    assert pools["test"]["cafe"][1].label == "made\\cafe\\test_002.wav"
