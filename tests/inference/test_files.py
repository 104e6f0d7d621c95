"""Names of output files never collide."""

from __future__ import annotations

import os

import pytest

from lobes.inference.files import base_names


def test_stem_when_it_is_unique():
    assert base_names(["x/a.wav", "y/b.flac"]) == ["a", "b"]


@pytest.mark.parametrize(
    "paths",
    [
        ["p/x/mix.wav", "q/x/mix.wav", "r/x/mix.wav"],  # the folders have one name too
        ["x/mix.wav", "x/mix.flac"],
        ["x/mix.wav", "y/mix.wav", "x-mix.wav"],  # a third file has the disambiguated name
        ["x/a.wav", "x/a.wav"],  # one file twice
        ["x/A.wav", "y/a.wav"],
        ["x-mix.wav", "x/mix.wav", "y/mix.wav", "x-mix-2.wav"],
    ],
)
def test_all_different_also_without_case(paths: list[str]):
    names = base_names(paths)
    assert len({name.casefold() for name in names}) == len(paths)
    assert names == base_names(paths)


def test_folder_name_tells_which_is_which():
    assert base_names(["x/mix.wav", "y/mix.wav"]) == ["x-mix", "y-mix"]


def test_a_name_of_255_bytes_leaves_room_for_the_ending():
    names = base_names(["x/" + "ż" * 125 + ".wav", "y/" + "ż" * 125 + ".wav"])
    assert len(set(names)) == 2
    assert all(len(os.fsencode(name + "_s99.wav")) <= 255 for name in names)
