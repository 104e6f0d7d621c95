"""Headers and sums: what passes, what is refused, what a limiter excuses."""

from __future__ import annotations

import numpy as np
import pytest

from lobes.data import audio
from lobes.data.checks import check_audio, check_sum
from lobes.errors import UserError


@pytest.fixture
def rows(tmp_path):
    """Three outdoor rows whose mix is the sum of the parts before rounding."""
    rng = np.random.default_rng(3)
    found = []
    for ID in "abc":
        parts = {part: rng.normal(0, 0.03, 800) for part in ("s1", "s2", "scene", "event")}
        for part, x in {**parts, "mix": sum(parts.values())}.items():
            audio.write(tmp_path / f"{ID}_{part}.wav", x, 8000)
        found.append(
            {"ID": ID, "sp1_reverb_wav": ""} | {f"{p}_wav": str(tmp_path / f"{ID}_{p}.wav") for p in (*parts, "mix")}
        )
    return found


def test_good_rows_give_their_durations(rows):
    assert check_audio(rows, 8000) == [0.1, 0.1, 0.1]
    assert check_sum(rows, 4) == 0


def test_D07_every_bad_length_is_counted(rows):
    for row in rows[1:]:
        audio.write(row["scene_wav"], np.zeros(799), 8000)
    with pytest.raises(UserError, match=r"2 of 3 examples .* first is b \(samples: s1 800, .*scene 799"):
        check_audio(rows, 8000)
    assert len(check_audio(rows, 8000, "none")) == 3


def test_D06_rates_and_channels(rows):
    with pytest.raises(UserError, match=r"15 of 15 files .* than 16000 Hz \(8000 Hz\)"):
        check_audio(rows, 16000)
    audio.write(rows[0]["event_wav"], np.zeros((800, 2)), 8000)
    with pytest.raises(UserError, match="1 of 15 files are not mono: .*a_event.wav"):
        check_audio(rows, 8000)


@pytest.mark.parametrize("part", ["mix", "s1", "s2", "scene", "event"])
def test_D08_any_part_may_break_the_sum(rows, part):
    x = audio.read_mono(rows[1][f"{part}_wav"])
    x[17] += 40 / 32768
    audio.write(rows[1][f"{part}_wav"], x, 8000)
    with pytest.raises(
        UserError, match=r"1 of 3 mixtures .*: b; the largest deviation is (39|4\d) LSB, allowed are 16"
    ):
        check_sum(rows, 16)
    assert check_sum(rows, 50) == 0


def test_a_limiter_excuses_only_its_own_row(rows):
    for part in ("s1", "s2"):
        audio.write(rows[0][f"{part}_wav"], np.full(800, 0.6), 8000)
    assert check_sum(rows, 16) == 1
    audio.write(rows[2]["mix_wav"], np.zeros(800), 8000)
    with pytest.raises(UserError, match="1 of 3 mixtures are not the sum of their parts: c;"):
        check_sum(rows, 16)


def test_a_further_part_may_be_limited_where_the_caller_says_so(rows):
    audio.write(rows[0]["scene_wav"], np.full(800, 0.9985), 8000)
    audio.write(rows[0]["s1_wav"], np.full(800, -0.5), 8000)
    with pytest.raises(UserError, match="1 of 3 mixtures are not the sum of their parts: a;"):
        check_sum(rows, 16)
    assert check_sum(rows, 16, ["scene"]) == 1
