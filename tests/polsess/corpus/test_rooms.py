"""Rooms: the direct path is gone, tails last as long as the class says, missing packages are named."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from lobes.data import audio
from lobes.errors import UserError
from lobes.polsess.corpus.classes import REVERBS, event_fits, is_indoor, reverb_of
from lobes.polsess.corpus.rooms import MeasuredRooms, SimulatedRooms, draw_numbers


def decay_seconds(response: np.ndarray, rate: int) -> float:
    """Time in which the backward-integrated energy falls from -5 to -25 dB, times 3."""
    left = np.cumsum(np.square(response)[::-1])[::-1]
    decibels = 10 * np.log10(left / left[0] + 1e-12)
    return 3 * float(np.argmax(decibels < -25) - np.argmax(decibels < -5)) / rate


@pytest.fixture(scope="module")
def rooms() -> SimulatedRooms:
    return SimulatedRooms(8000)


def test_a_hall_rings_longer_than_a_car(rooms):
    rng = np.random.default_rng(0)
    lasting = {
        name: np.median([decay_seconds(rooms.draw("train", name, rng).responses[0], 8000) for _ in range(6)])
        for name in ("car", "home", "metro_station")
    }
    assert 0.03 < lasting["car"] < 0.3 < lasting["metro_station"] < 1.2
    assert lasting["home"] < lasting["metro_station"]


def test_the_direct_path_is_taken_out(rooms):
    """At the arrival of the direct sound, whose strength is 1, nothing is left; reflections follow."""
    sides, ear, place = np.array([6.0, 5.0, 3.0]), np.array([2.5, 2.5, 1.5]), np.array([3.5, 2.5, 1.5])
    (wet,) = rooms.responses(sides, 0.4, ear, [place])
    first = round((np.hypot(1.0, 3.0) - 1.0) / 343 * 8000)  # floor and ceiling
    assert np.abs(wet[: first - 8]).max() < 0.05
    assert np.abs(wet[first - 3 : first + 4]).max() > 0.2


def test_the_wet_part_begins_after_the_drawn_delay(rooms):
    rng = np.random.default_rng(1)
    for _ in range(5):
        room = rooms.draw("train", "office", rng)
        silent = round(room.numbers["preDelay1"] * 8000)
        assert not room.responses[0][:silent].any() and room.responses[0][silent : silent + 400].any()
        assert -12 < 10 * np.log10(np.square(room.responses[0]).sum()) < 5


def test_wet_keeps_the_length_and_is_linear(rooms):
    room = rooms.draw("train", "cafe", np.random.default_rng(2))
    dry = np.random.default_rng(3).normal(0, 0.1, 4000).astype(np.float32)
    assert room.wet(dry, 2).shape == (4000,) and room.wet(dry, 2).dtype == np.float32
    np.testing.assert_allclose(room.wet(2 * dry, 0), 2 * room.wet(dry, 0), atol=1e-6)


def test_same_generator_state_same_room(rooms):
    first, second = (rooms.draw("val", "airport", np.random.default_rng(4)) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first.responses, second.responses, strict=True))


@pytest.mark.parametrize("name", sorted(REVERBS))
def test_numbers_lie_in_the_ranges_of_the_class(name):
    reverb = REVERBS[name]
    for seed in range(20):
        numbers = draw_numbers(reverb, np.random.default_rng(seed))
        low, high = reverb.pre_delay
        assert low <= numbers["preDelay2"] <= numbers["preDelay1"] <= high
        assert low <= numbers["preDelayForEvent"] <= high
        assert reverb.decay[0] <= numbers["decay"] <= reverb.decay[1]
        assert reverb.diffusion[0] <= numbers["diffusion"] <= reverb.diffusion[1]


def test_measured_rooms_lose_the_direct_path_and_keep_the_shape(tmp_path):
    response = np.zeros(4000)
    response[200] = 0.9
    response[600], response[1000] = 0.3, -0.15
    audio.write(tmp_path / "r.wav", response, 8000)
    room = MeasuredRooms({"train": [tmp_path / "r.wav"]}, 8000).draw("train", "cafe", np.random.default_rng(0))
    wet = room.responses[0]
    assert np.flatnonzero(np.abs(wet) > 1e-9).tolist() == [400, 800]
    assert wet[400] / wet[800] == pytest.approx(-2, rel=1e-3)
    assert 0.5 <= np.sqrt(np.square(wet).sum()) <= 1.2
    assert room.numbers["preDelay1"] == 0 and np.isnan(room.numbers["decay"])


@pytest.mark.parametrize(
    "samples, rate, message", [([0.0, 0.9, 0.0], 8000, "nothing follows"), ([0.5] * 99, 4000, "4000 Hz")]
)
def test_useless_responses_are_refused(tmp_path, samples, rate, message):
    audio.write(tmp_path / "r.wav", np.array(samples), rate)
    with pytest.raises(UserError, match=message):
        MeasuredRooms({"train": [tmp_path / "r.wav"]}, 8000)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyroomacoustics", None)
    with pytest.raises(UserError, match=r"pip install \"path/to/clone\[demo\]\""):
        SimulatedRooms(8000)


@pytest.mark.parametrize(
    "name, indoor",
    [("grocery_store", True), ("cafe/restaurant", True), ("h", True), ("helicopter", False), ("metro_station", True),
     ("City-Center", False), ("trains_passing", False), ("tram", True), ("street_traffic", False)],
)  # fmt: skip
def test_class_names(name, indoor):
    assert is_indoor(name) == indoor
    assert is_indoor(name, [name])


def test_longer_names_take_the_ranges_of_their_beginning_and_unknown_ones_the_middle():
    assert reverb_of("metro_station_hall") == REVERBS["metro_station"]
    assert reverb_of("workshop") == REVERBS["m"]
    assert event_fits("siren", indoor=False) and not event_fits("siren", indoor=True)
