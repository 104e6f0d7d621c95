"""LibriMix, WSJ0-mix and custom data: manifests with real durations, and every check with its message."""

import csv
import shutil

import numpy as np
import pytest
import soundfile

from lobes.errors import UserError

PREPARE = {
    "LibriMix": ("librimix_prepare", "prepare_librimix"),
    "WSJ0Mix": ("wsj0mix_prepare", "prepare_wsj0mix"),
    "custom": ("custom_prepare", "prepare_custom"),
}


@pytest.fixture(params=PREPARE)
def made(request, recipe_module, smallest_data, tmp_path):
    """Recipe, its preparation on a copy of a small data set, the copy, and where the manifests go."""
    module, function = PREPARE[request.param]
    data = shutil.copytree(smallest_data[request.param], tmp_path / "data")
    prepare = getattr(recipe_module(request.param, module), function)

    def call(**options):
        prepare(data, tmp_path / "save", **options)

    return request.param, call, data, tmp_path / "save"


def rows(folder, split):
    with (folder / f"{split}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def files(data, part):
    """The training set's files of a part, first in the order of their IDs."""
    return sorted(path for path in data.rglob("*.wav") if path.parent.name == part and "tr" in path.parent.parent.name)


def test_manifests_are_sorted_and_have_real_durations(made, capsys):
    recipe, prepare, _, save = made
    prepare(verify_sum=4)
    assert [len(rows(save, split)) for split in ("train", "valid", "test")] == [2, 1, 1]
    first, second = rows(save, "train")
    assert first["ID"] < second["ID"] and float(first["duration"]) == 0.5
    assert first["mix_wav"].startswith("$data_root/") and first["s2_wav"].endswith(first["ID"] + ".wav")
    if recipe != "custom":
        assert first["speaker1"] in ("103", "050") and first["speaker1"] != first["speaker2"]
    prepare(verify_sum=4)
    assert "up to date" in capsys.readouterr().out


def test_a_file_without_partners(made):
    _, prepare, data, _ = made
    missing = files(data, "s2")[0]
    missing.unlink()
    with pytest.raises(UserError, match=f"1 files are in one of .* alone: {missing.name}"):
        prepare()


def test_D06_D07_D08_another_rate_unequal_lengths_and_wrong_sums(made):
    _, prepare, data, _ = made
    target = files(data, "s1")[0]
    samples, _ = soundfile.read(target)
    soundfile.write(target, 0.5 * samples, 8000)
    with pytest.raises(UserError, match="1 of 2 mixtures are not the sum of their parts"):
        prepare(verify_sum=4)
    soundfile.write(target, samples[:99], 8000)
    with pytest.raises(UserError, match="unequal length"):
        prepare()
    soundfile.write(target, samples, 16000)
    with pytest.raises(UserError, match="another sample rate than 8000"):
        prepare()


def test_a_wrong_folder(made, recipe_module, tmp_path):
    recipe, *_ = made
    module, function = PREPARE[recipe]
    with pytest.raises(UserError, match="no such folder|expected train.csv"):
        getattr(recipe_module(recipe, module), function)(tmp_path / "nowhere", tmp_path / "save")


@pytest.mark.parametrize("recipe, split", [("LibriMix", "dev"), ("LibriMix", "test"), ("WSJ0Mix", "tt")])
def test_D10_a_speaker_of_training_in_another_split(recipe, split, recipe_module, smallest_data, tmp_path):
    data = shutil.copytree(smallest_data[recipe], tmp_path / "data")
    known = {"LibriMix": "103-1-99_900-2-02", "WSJ0Mix": "050a0599_0.5_441o0102_-0.5"}[recipe]
    for path in list((data / "wav8k" / "min" / split).rglob("*.wav")):
        path.rename(path.with_name(f"{known}.wav"))
    module, function = PREPARE[recipe]
    with pytest.raises(UserError, match="1 speakers are in train and in (valid|test): (103|050)"):
        getattr(recipe_module(recipe, module), function)(data, tmp_path / "save")


def test_librimix_in_noise(recipe_module, smallest_data, tmp_path):
    data = shutil.copytree(smallest_data["LibriMix"], tmp_path / "data")
    rng = np.random.default_rng(0)
    for mix in list(data.rglob("mix_clean/*.wav")):
        noise = 0.1 * rng.standard_normal(4000)
        for folder, samples in (("noise", noise), ("mix_both", soundfile.read(mix)[0] + noise)):
            (mix.parents[1] / folder).mkdir(exist_ok=True)
            soundfile.write(mix.parents[1] / folder / mix.name, samples, 8000)
    prepare = recipe_module("LibriMix", "librimix_prepare").prepare_librimix
    prepare(data, tmp_path / "save", mixtures="both", verify_sum=4)
    (row,) = rows(tmp_path / "save", "test")
    assert "mix_both" in row["mix_wav"] and "noise" in row["noise_wav"]
    with pytest.raises(UserError, match="mixtures: expected clean or both or single, got 'noisy'"):
        prepare(data, tmp_path / "save", mixtures="noisy")


def test_D02_D10_custom_tables(recipe_module, smallest_data, tmp_path):
    data = shutil.copytree(smallest_data["custom"], tmp_path / "data")
    prepare = recipe_module("custom", "custom_prepare").prepare_custom
    columns = ("mix", "s1", "s2")
    for split, speaker in (("train", "x"), ("valid", "y"), ("test", "x")):
        stems = sorted(path.stem for path in (data / split / "mix").glob("*.wav"))
        lines = ["ID,mix_wav,s1_wav,s2_wav,speaker1"]
        lines += [",".join([stem, *(f"{split}/{part}/{stem}.wav" for part in columns), speaker]) for stem in stems]
        (data / f"{split}.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(UserError, match="1 speakers are in train and in test: x"):
        prepare(data, tmp_path / "save")
    (data / "test.csv").write_text((data / "test.csv").read_text().replace(",x", ",z"))
    prepare(data, tmp_path / "save", verify_sum=4)
    assert rows(tmp_path / "save", "valid")[0]["s1_wav"] == "$data_root/valid/s1/c.wav"
    (data / "valid.csv").write_text("ID,mix_wav,s1_wav\nc,valid/mix/c.wav,valid/s1/c.wav\n")
    with pytest.raises(UserError, match="column s2_wav is missing; found ID, mix_wav, s1_wav"):
        prepare(data, tmp_path / "save")
    (data / "valid.csv").unlink()
    with pytest.raises(UserError, match="valid.csv: no such table"):
        prepare(data, tmp_path / "save")
