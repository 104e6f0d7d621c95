"""Reverberation: what a room adds is a part of its own, on the dry sound's time; rooms are drawn by their seed."""

from __future__ import annotations

import numpy as np
import pytest

from lobes.data import audio
from lobes.data.augmentation.noise import files_below
from lobes.data.augmentation.parts import layers_of, summed
from lobes.data.augmentation.rooms import DrawnRooms, RecordedRooms, reverberate


def drawn(rooms, seed: int, sources: int = 2):
    """Responses: what the rooms add to impulses."""
    return rooms.wet([np.eye(1, 12000)[0]] * sources, np.random.default_rng(seed))


@pytest.fixture(scope="module")
def simulated():
    return DrawnRooms(8000)


@pytest.fixture
def measured(tmp_path):
    for number, delay in enumerate((300, 500, 700)):
        response = 0.9 * np.eye(1, 2000, 100)[0] + 0.3 * np.eye(1, 2000, 100 + delay)[0]
        audio.write(tmp_path / f"{number}.wav", response, 8000)
    return RecordedRooms(files_below(tmp_path, "rooms"), 8000)


def test_sources_are_wet_and_targets_stay_dry(measured):
    impulse = np.eye(1, 1000, 50, dtype=np.float32)[0]
    parts = {"s1": impulse, "s2": 2 * impulse, "noise": np.ones(1000, np.float32)}
    wet = reverberate(parts, layers_of(2), measured, np.random.default_rng(0))
    assert set(wet) == {"s1", "s2", "s1_reverb", "s2_reverb", "noise"}
    assert all(np.array_equal(wet[name], parts[name]) for name in parts)
    places = [int(wet[f"{source}_reverb"].argmax()) - 50 for source in ("s1", "s2")]
    assert set(places) < {300, 500, 700} and places[0] != places[1]
    assert 0.5 <= wet["s1_reverb"].max() <= 1.2 and 1.0 <= wet["s2_reverb"].max() <= 2.4
    assert summed(wet)[50] == pytest.approx(4.0, abs=1e-5)  # the direct sound, where and as loud as it was


def test_a_room_that_is_there_is_replaced(measured):
    parts = {"s1": np.ones(800, np.float32), "s1_reverb": np.full(800, 9.0, np.float32)}
    wet = reverberate(parts, layers_of(1), measured, np.random.default_rng(0))
    assert wet["s1_reverb"].max() < 2 and set(wet) == set(parts)


def test_rooms_are_drawn_by_their_seed(simulated, measured):
    for rooms in (simulated, measured):
        first, again, other = drawn(rooms, 1), drawn(rooms, 1), drawn(rooms, 2)
        assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
        assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_simulated_rooms_ring_as_long_as_they_should(simulated):
    seconds, shares = [], []
    for seed in range(8):
        for wet in drawn(simulated, seed):
            left = np.cumsum(np.square(wet)[::-1])[::-1]
            decibels = 10 * np.log10(left / left[0] + 1e-12)
            seconds.append(3 * (np.argmax(decibels < -25) - np.argmax(decibels < -5)) / 8000)
            shares.append(10 * np.log10(np.square(wet).sum()))
    assert 0.1 < min(seconds) and max(seconds) < 1.0 and np.ptp(seconds) > 0.1
    assert -9 < np.mean(shares) < 0  # below the direct sound, as within the critical distance


def test_rooms_that_were_measured(realdata):
    rooms = RecordedRooms(files_below(realdata / "rir", "rooms"), 16000)
    speech, rate = audio.read(realdata / "voicebank" / "clean" / "p287_001.wav")
    parts = {"s1": speech, "s2": speech[::-1].copy()}
    for seed in range(4):
        wet = reverberate(parts, layers_of(2), rooms, np.random.default_rng(seed))
        level = 10 * np.log10(np.square(wet["s1_reverb"]).sum() / np.square(speech).sum())
        assert rate == 16000 and np.isfinite(wet["s1_reverb"]).all()
        assert 20 * np.log10(0.5) - 0.01 < level < 20 * np.log10(1.2) + 0.01
