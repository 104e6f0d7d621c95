"""Names of output files never collide; files of any name, rate and header give outputs as long as they are."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from lobes.data import audio
from lobes.inference import Separator
from lobes.inference.files import base_names
from lobes.inference.speechbrain_adapter import adapt


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


class Split(torch.nn.Module):
    """Two sources that add up to the mixture."""

    def forward(self, mix, lengths=None):
        return torch.stack([mix * 0.75, mix * 0.25], dim=-1)


@pytest.fixture
def separator() -> Separator:
    return Separator(adapt(Split()), {"num_spks": 2, "sample_rate": 8000}, run_opts={"device": "cpu"})


def sound(samples: int, rate: int, channels: int = 1) -> np.ndarray:
    return np.stack([0.3 * np.sin(2 * np.pi * 300 * np.arange(samples) / rate)] * channels, 1)


def test_T2_08_stereo_at_another_rate(separator, tmp_path):
    audio.write(tmp_path / "stereo.wav", sound(396900, 44100, 2), 44100)
    [written] = separator.separate_files([tmp_path / "stereo.wav"], tmp_path / "out")
    assert [audio.probe(path)[:3] for path in written] == [(396900, 44100, 1)] * 2


@pytest.mark.parametrize(
    "name",
    ["zażółć gęślą.wav", "a\u200bb.wav", "a\nb.wav", 'it\'s "it".wav', "#1 50%.wav", "a folder/b c.wav", "-rf.wav"],
)
def test_T2_15_names(separator, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    audio.write(name, sound(2000, 8000)[:, 0], 8000)
    [written] = separator.separate_files([name], "out")
    assert [path.name for path in written] == [f"{Path(name).stem}_s{number}.wav" for number in (1, 2)]
    assert all(audio.probe(path).frames == 2000 for path in written)


def test_T2_20_two_files_of_one_name_one_after_the_other(separator, tmp_path):
    for folder, samples in (("n1", 4000), ("n2", 5000)):
        audio.write(tmp_path / folder / "a.wav", sound(samples, 8000)[:, 0], 8000)
        assert separator.separate_file(tmp_path / folder / "a.wav").shape == (1, samples, 2)


@pytest.mark.parametrize(
    ("case", "samples"),
    [
        ("T2-01/sox_pipe.wav", 24000),
        ("T2-01/arecord_pipe.wav", 24000),
        ("T2-04/vbr_without_xing.mp3", 398592),
        ("T2-06/artwork.mp3", 222336),
    ],
)
def test_T2_01_T2_04_T2_06_outputs_are_as_long_as_the_inputs(separator, tmp_path, root, case, samples):
    path = root.parent / "shared" / "cases" / case
    if not path.is_file():
        pytest.skip("no folder of cases on this machine")
    [written] = separator.separate_files([path], tmp_path)
    assert [audio.probe(output).frames for output in written] == [samples] * 2
