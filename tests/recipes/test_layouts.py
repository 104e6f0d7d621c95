"""Layouts of LibriMix, WSJ0-mix, WHAM!, WHAMR! and VoiceBank: what is read, and what is refused with which hint."""

from __future__ import annotations

import csv
import os
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import soundfile

from lobes.data.manifest import check_files, read_manifest
from lobes.errors import UserError

CASES = Path(__file__).parents[3] / "shared" / "cases"
LIBRI = {"train-100": "11-1-1_12-1-1", "dev": "21-1-1_22-1-1", "test": "31-1-1_32-1-1"}
WSJ = {"tr": "01aa0101_1.5_02ba0101_-1.5", "cv": "01aa0102_0.5_02ba0102_-0.5", "tt": "03ca0101_1_04da0101_-1"}


def make(root, splits, folders, below="wav8k/min"):
    """One file of 20 ms in each folder of each split, with the split's name."""
    for split, stem in splits.items():
        for folder in folders:
            path = root / below / split / folder / f"{stem}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, np.full(160, 0.1), 8000)
    return root


@pytest.fixture
def libri(recipe_module, tmp_path):
    """libri(folder, **options): the test set's row."""
    return preparation(
        recipe_module("LibriMix", "librimix_prepare").prepare_librimix, tmp_path, train_subset="train-100"
    )


@pytest.fixture
def wsj(recipe_module, tmp_path):
    return preparation(recipe_module("WSJ0Mix", "wsj0mix_prepare").prepare_wsj0mix, tmp_path)


def preparation(function, tmp_path, **always):
    def call(data, **options):
        function(data, tmp_path / "save", **{**always, **options})
        check_files(read_manifest(tmp_path / "save" / "train.csv", data))
        with open(tmp_path / "save" / "test.csv", newline="") as file:
            return next(csv.DictReader(file))

    return call


SINGLE = ("mix_clean", "mix_both", "mix_single", "noise", "s1", "s2")


def test_mixtures_of_one_speaker_in_noise(libri, tmp_path):  # T2-43
    data = make(tmp_path / "Libri2Mix", LIBRI, SINGLE)
    row = libri(data, num_spks=1, mixtures="single")
    assert "/mix_single/" in row["mix_wav"] and "/s1/" in row["s1_wav"] and "/noise/" in row["noise_wav"]
    assert row["speaker1"] == "31" and "s2_wav" not in row and "speaker2" not in row
    with pytest.raises(UserError, match="mix_single holds one speaker in noise, got 2. Set --num_spks 1"):
        libri(data, mixtures="single")
    for mixtures in ("clean", "both"):
        with pytest.raises(UserError, match="mixtures of 2 speakers, num_spks is 1. Set --num_spks 2, or .*single"):
            libri(data, num_spks=1, mixtures=mixtures)


def test_mixtures_of_three(libri, wsj, tmp_path):  # T2-42
    three = {split: f"{stem}_9{stem[:1]}-1-1" for split, stem in LIBRI.items()}
    data = make(tmp_path / "a", three, ("mix_clean", "s1", "s2", "s3"))
    with pytest.raises(UserError, match=r"holds s1, s2, s3: mixtures of 3 speakers, num_spks is 2. Set --num_spks 3"):
        libri(data)
    assert libri(data, num_spks=3)["speaker3"] == "93"
    shutil.rmtree(data / "wav8k" / "min" / "test" / "s3")
    with pytest.raises(UserError, match=r"9\d-1-1 is a name of 3 speakers: mixtures of 3 speakers, num_spks is 2"):
        libri(make(tmp_path / "b", three, ("mix_clean", "s1", "s2")))
    data = make(tmp_path / "3speakers", dict.fromkeys(WSJ, "00001"), ("mix", "s1", "s2"))
    with pytest.raises(
        UserError, match="data_folder .*3speakers is a name of 3 speakers: mixtures of 3 speakers, num_spks is 2"
    ):
        wsj(data)
    data = make(
        tmp_path / "c",
        {split: f"{stem}_0{n}ea0101_0" for n, (split, stem) in enumerate(WSJ.items())},
        ("mix", "s1", "s2", "s3"),
    )
    with pytest.raises(UserError, match="mixtures of 3 speakers, num_spks is 2"):
        wsj(data)
    assert wsj(data, num_spks=3)["speaker3"] == "02e"


def test_folders_of_sources_count_where_names_have_fewer_speakers(libri, tmp_path):  # T2-42
    data = make(tmp_path / "Libri2Mix", LIBRI, ("mix_clean", "s1", "s2", "s3"))
    with pytest.raises(UserError, match="Set --num_spks 3"):
        libri(data)
    assert libri(data, num_spks=3)["s3_wav"]


def test_files_that_change_make_the_manifests_anew(libri, tmp_path):
    data = make(tmp_path / "Libri2Mix", LIBRI, ("mix_clean", "s1", "s2"))
    assert libri(data)["duration"] == "0.02"
    for path in data.rglob("test/*/*.wav"):
        soundfile.write(path, np.full(320, 0.1), 8000)
    assert libri(data)["duration"] == "0.04"
    for path in data.rglob("test/*/*.wav"):
        path.rename(path.with_stem("51-1-1_52-1-1"))
    assert libri(data)["ID"] == "51-1-1_52-1-1"


def test_targets_of_another_data_set_are_refused(wsj, tmp_path):
    data = make(tmp_path / "wham", WSJ, ("mix_both", "noise", "s1", "s2"))
    with pytest.raises(UserError, match="these mixtures have no reverberation, got 'reverb'. Leave --targets out"):
        wsj(data, mixtures="both", targets="reverb")


def test_what_stands_in_place_of_a_folder_is_named(libri, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file: is a file, expected a folder"):
        libri(tmp_path / "file")
    (tmp_path / "Libri2Mix").mkdir()
    (tmp_path / "Libri2Mix" / "wav8k.zip").touch()
    with pytest.raises(UserError, match="found wav8k.zip. Unpack wav8k.zip. data_folder is the one"):
        libri(tmp_path / "Libri2Mix")
    make(tmp_path / "zażółć", LIBRI, ("mix_clean",))
    with pytest.raises(UserError, match="zażółć is written in another Unicode form"):
        libri(tmp_path / unicodedata.normalize("NFD", "zażółć"))


def test_a_third_speaker_is_found_in_manifests_that_are_there(libri, tmp_path):
    data = make(tmp_path / "a", LIBRI, ("mix_clean", "s1", "s2"))
    libri(data)
    make(data, {"dev": LIBRI["dev"]}, ("s3",))
    with pytest.raises(UserError, match="dev holds s1, s2, s3"):
        libri(data)


def test_trusted_manifests_have_that_number_of_sources(libri, tmp_path):
    data = make(tmp_path / "a", LIBRI, ("mix_clean", "s1", "s2"))
    libri(data)
    assert libri(data, skip_prep=True)["s2_wav"]
    for number in (1, 3):
        with pytest.raises(UserError, match=f"train.csv has s1_wav, s2_wav: .* 2 speakers, num_spks is {number}"):
            libri(data, skip_prep=True, num_spks=number)


@pytest.mark.parametrize("kind", ["clean", "both", "single"])
def test_wham(wsj, tmp_path, kind):  # T2-45
    data = make(tmp_path / "2speakers_wham", WSJ, SINGLE)
    row = wsj(data, mixtures=kind, num_spks=1 if kind == "single" else 2)
    assert f"/mix_{kind}/" in row["mix_wav"] and ("noise_wav" in row) == (kind != "clean")
    assert ("s2_wav" in row) == (kind != "single") and row["speaker1"] == "03c"


def test_wham_without_an_option_names_it(wsj, tmp_path):  # T2-45
    data = make(tmp_path / "wham", WSJ, ("mix_clean", "mix_both", "noise", "s1", "s2"))
    with pytest.raises(UserError) as caught:
        wsj(data)
    assert str(caught.value).endswith(
        "tr/mix: no such folder. In "
        f"{data}/wav8k/min/tr expected mix; found mix_both, mix_clean, noise, s1, s2: "
        "set --mixtures both or --mixtures clean."
    )


def whamr(tmp_path):
    kinds = [f"mix_{kind}_{how}" for kind in ("clean", "both", "single") for how in ("anechoic", "reverb")]
    return make(
        tmp_path / "whamr", WSJ, [*kinds, "noise", *(f"s{n}_{how}" for n in (1, 2) for how in ("anechoic", "reverb"))]
    )


@pytest.mark.parametrize("targets", ["anechoic", "reverb"])
def test_whamr(wsj, tmp_path, targets):
    row = wsj(whamr(tmp_path), mixtures="both_reverb", targets=targets)
    assert "/mix_both_reverb/" in row["mix_wav"] and "/noise/" in row["noise_wav"]
    assert f"/s1_{targets}/" in row["s1_wav"] and f"/s2_{targets}/" in row["s2_wav"]


def test_whamr_of_one_speaker_and_clean(wsj, tmp_path):
    data = whamr(tmp_path)
    row = wsj(data, mixtures="single_anechoic", num_spks=1)
    assert "/mix_single_anechoic/" in row["mix_wav"] and "/s1_anechoic/" in row["s1_wav"] and "s2_wav" not in row
    assert "noise_wav" not in wsj(data, mixtures="clean_anechoic")
    with pytest.raises(UserError, match="mixtures of 2 speakers, num_spks is 1"):
        wsj(data, mixtures="clean_reverb", num_spks=1)
    with pytest.raises(UserError, match="mixtures: expected mix or clean .*both_reverb.*Did you mean"):
        wsj(data, mixtures="both_reverbed")
    with pytest.raises(UserError, match="found .*mix_both_anechoic.*set --mixtures both_anechoic or"):
        wsj(data, mixtures="both")
    with pytest.raises(UserError, match="targets: expected anechoic"):
        wsj(data, mixtures="both_anechoic", targets="reverb")
    with pytest.raises(UserError, match="verify_sum: reverberant mixtures are not the sum"):
        wsj(data, mixtures="both_reverb", verify_sum=4)


def test_an_option_that_leads_nowhere_is_named(libri, wsj, tmp_path):  # T2-46
    data = make(tmp_path / "Libri2Mix", LIBRI, ("mix_clean", "s1", "s2"))
    with pytest.raises(UserError, match="expected mix_both; found mix_clean, s1, s2: set --mixtures clean"):
        libri(data, mixtures="both")
    with pytest.raises(UserError, match="expected train-360; found dev, test, train-100: set --train_subset train-100"):
        libri(data, train_subset="train-360")
    with pytest.raises(UserError, match="expected wav16k; found wav8k: set --sample_rate 8000.*one that holds wav16k"):
        libri(data, sample_rate=16000)
    with pytest.raises(UserError, match="expected max; found min: set --mode min"):
        libri(data, mode="max")
    with pytest.raises(UserError, match="mode: expected min or max, got 'mim'. Did you mean 'min'"):
        libri(data, mode="mim")
    with pytest.raises(UserError, match="s3: no such folder.*found mix_clean, s1, s2: set --num_spks 2"):
        libri(make(tmp_path / "two", dict.fromkeys(LIBRI, "a"), ("mix_clean", "s1", "s2")), num_spks=3)


@pytest.mark.parametrize(
    "away", ["wav8k", "wav8k/min", "wav8k/min/dev", ".."], ids=["T2-47", "deeper", "deepest", "above"]
)
def test_a_folder_too_deep_or_too_high(libri, tmp_path, away):
    data = make(tmp_path / "sets" / "Libri2Mix", LIBRI, ("mix_clean", "s1", "s2"))
    with pytest.raises(UserError, match=f"no such folder.*one that holds wav8k. Did you mean {data}\\?"):
        libri(data / away)


def test_missing_and_empty_are_two_messages(libri, tmp_path):
    data = make(tmp_path / "Libri2Mix", LIBRI, ("mix_clean", "s1", "s2"))
    with pytest.raises(UserError, match="no such folder. In .* expected Lbri2Mix.* Did you mean 'Libri2Mix'"):
        libri(tmp_path / "Lbri2Mix")
    for path in (data / "wav8k" / "min" / "dev" / "s2").iterdir():
        path.rename(path.with_suffix(".zip"))
    with pytest.raises(UserError, match=r"dev/s2: expected WAV files of s2, found none; the folder holds .*\.zip"):
        libri(data)


RELATIVE = ["data", "./data", "../{here}/data", "{absolute}/far/../data", "link", "link/../data"]


@pytest.mark.parametrize("written", RELATIVE)
@pytest.mark.parametrize("recipe", ["LibriMix", "WSJ0Mix", "custom", "VoiceBank", "PolSESS"])
def test_relative_folders(recipe, written, recipe_module, smallest_data, tmp_path, monkeypatch):  # T2-41
    source = smallest_data[recipe]
    (tmp_path / "far").mkdir()
    shutil.copytree(source, tmp_path / "data")
    if written == "link/../data":  # leads to far/data
        shutil.copytree(source, tmp_path / "far" / "data")
        (tmp_path / "far" / "there").mkdir()
        shutil.rmtree(tmp_path / "data")
        (tmp_path / "link").symlink_to(tmp_path / "far" / "there")
    elif written == "link":
        (tmp_path / "link").symlink_to(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    module = f"{'wsj0mix' if recipe == 'WSJ0Mix' else recipe.lower()}_prepare"
    prepare = getattr(recipe_module(recipe, module), f"prepare_{module.removesuffix('_prepare')}")
    folder = written.format(here=tmp_path.name, absolute=tmp_path)
    options = {"valid_speakers": ["p226"]} if recipe == "VoiceBank" else {}
    prepare(folder, "save", **options)
    text = Path("save", "train.csv").read_text()
    assert "$data_root/" in text and str(tmp_path) not in text
    monkeypatch.chdir("/")
    check_files(read_manifest(tmp_path / "save" / "train.csv", os.path.join(tmp_path, folder)))


@pytest.mark.parametrize("recipe", ["LibriMix", "WSJ0Mix", "VoiceBank", "PolSESS"])
def test_no_recipe_writes_into_its_data(recipe, recipe_module, smallest_data):  # T2-40
    module = f"{'wsj0mix' if recipe == 'WSJ0Mix' else recipe.lower()}_prepare"
    prepare = getattr(recipe_module(recipe, module), f"prepare_{module.removesuffix('_prepare')}")
    before = sorted(smallest_data[recipe].rglob("*"))
    with pytest.raises(UserError, match="save_folder .* lies in data_folder"):
        prepare(smallest_data[recipe], smallest_data[recipe] / "save")
    assert sorted(smallest_data[recipe].rglob("*")) == before


def test_no_training_writes_into_its_data(train, smallest_data, capsys, option="output_folder"):  # T2-40
    data = smallest_data["custom"]
    before = sorted(data.rglob("*"))
    with pytest.raises(SystemExit, match="2"):
        train("custom", "hparams/spmamba.yaml", "--data_folder", data, f"--{option}", data / "results")
    assert f"error: {option} {data}/results lies in data_folder" in capsys.readouterr().err
    assert sorted(data.rglob("*")) == before


def test_cases(libri, wsj, tmp_path, monkeypatch):
    if not CASES.is_dir():
        pytest.skip("the cases are not in this checkout")
    monkeypatch.chdir(CASES / "T2-41")
    for folder in ("Libri2Mix", "./Libri2Mix", "../T2-41/Libri2Mix"):
        assert libri(folder)["mix_wav"].startswith("$data_root/wav8k/")
    with pytest.raises(UserError, match="3 speakers, num_spks is 2"):
        libri(CASES / "T2-42" / "Libri3Mix")
    assert libri(CASES / "T2-43" / "Libri2Mix", num_spks=1, mixtures="single")["s1_wav"]
    with pytest.raises(UserError, match="2 speakers, num_spks is 1"):
        libri(CASES / "T2-43" / "Libri2Mix", num_spks=1)
    with pytest.raises(UserError, match="--mixtures both or --mixtures clean"):
        wsj(CASES / "T2-45" / "wham")
    assert wsj(CASES / "T2-45" / "wham", mixtures="both")["noise_wav"]
    with pytest.raises(UserError, match="--mixtures clean"):
        libri(CASES / "T2-46" / "Libri2Mix", mixtures="both")
    with pytest.raises(UserError, match="--train_subset train-100"):
        libri(CASES / "T2-46" / "Libri2Mix", train_subset="train-360")
