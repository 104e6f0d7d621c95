"""LibriMix without its files: what is made when it is read is what its scripts write, up to the rounding to 16 bit."""

from __future__ import annotations

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from scipy.signal import resample_poly

from lobes.data.datasets import made_mixtures
from lobes.data.manifest import read_manifest
from lobes.data.on_the_fly import FADE, NEEDED, TYPES, MadeParts, extended
from lobes.doctor.dry_run import durations_of
from lobes.errors import UserError

SPLITS = {"train-clean-360": (100, "tr", 3), "dev-clean": (200, "cv", 1), "test-clean": (300, "tt", 1)}
OFF = {
    "dynamic_mixing": False, "mixing_levels": [-5.0, 5.0], "mixing_snr": [0.0, 15.0], "speed_changes": None,
    "max_shift": 0, "rooms": None, "noise_folder": None, "noise_snr": [0.0, 20.0], "band_limits": None, "codecs": None,
    "augment_share": 1.0,
}  # fmt: skip


@pytest.fixture
def sets(tmp_path):
    """LibriSpeech, WHAM!'s noise and the metadata of Libri2Mix in miniature."""
    rng, rows = np.random.default_rng(0), {}
    for subset, (first, noises, count) in SPLITS.items():
        rows[subset] = []
        for number in range(count):
            names = [f"{first + 10 * number + k}-{k}-000{number}" for k in (1, 2)]
            row = {"mixture_ID": "_".join(names)}
            for k, name in enumerate(names, start=1):
                place = f"{subset}/{name.split('-')[0]}/{k}/{name}.flac"
                samples = int(rng.integers(9000, 14000))
                write(tmp_path / "LibriSpeech" / place, 0.1 * rng.standard_normal(samples))
                row |= {f"source_{k}_path": place, f"source_{k}_gain": repr(float(rng.uniform(0.4, 1.2)))}
            noise = f"{noises}/n{number}_1.2"
            stereo = 0.05 * rng.standard_normal((20000 if number else 12000, 2))
            write(tmp_path / "wham_noise" / f"{noise}.wav", stereo)
            row |= {"noise_path": f"{noise}{'sp08' if number == 2 else ''}.wav", "noise_gain": "0.8"}
            rows[subset].append(row)
        table = tmp_path / "metadata" / f"libri2mix_{subset}.csv"
        table.parent.mkdir(exist_ok=True)
        with table.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[subset][0])
            writer.writeheader()
            writer.writerows(rows[subset])
        table.with_name(f"libri2mix_{subset}_info.csv").write_text("not,used\n")
    return tmp_path, rows


def write(path, signal):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, signal, 16000)


def prepare(module, root, **options):
    folders = (root / "LibriSpeech", root / "save", root / "metadata")
    module.prepare_on_the_fly(*folders, **{"wham_folder": root / "wham_noise", **options})
    return {split: read_manifest(root / "save" / f"{split}.csv", folders[0], TYPES, NEEDED)
            for split in ("train", "valid", "test")}  # fmt: skip


def expected(root, row, rate, mode):
    """Sources, noise: recording times gain, resampled, cut to the shortest source or filled up to the longest."""
    sources, recordings = [], [soundfile.read(root / "LibriSpeech" / row[f"source_{k}_path"])[0] for k in (1, 2)]
    for k, x in enumerate(recordings, start=1):
        sources.append(resample_poly(float(row[f"source_{k}_gain"]) * x, rate, 16000))
    noise = soundfile.read(root / "wham_noise" / row["noise_path"])[0][:, 0][: max(map(len, recordings))]
    noise = resample_poly(0.8 * noise, rate, 16000)
    samples = (min if mode == "min" else max)(len(x) for x in sources)
    return [np.pad(x[:samples], (0, max(0, samples - len(x)))) for x in (*sources, noise)]


@pytest.mark.parametrize("rate, mode", [(8000, "min"), (16000, "max"), (8000, "max")])
@pytest.mark.parametrize("mixtures", ["clean", "both", "single"])
def test_what_is_made_is_what_the_scripts_write(sets, recipe_module, rate, mode, mixtures):
    root, tables = sets
    speakers = 1 if mixtures == "single" else 2
    options = {"num_spks": speakers, "sample_rate": rate, "mode": mode, "mixtures": mixtures}
    rows = prepare(recipe_module("LibriMix", "librimix_metadata"), root, **options)
    assert [len(rows[split]) for split in rows] == [3, 1, 1]
    reader = MadeParts(speakers, rate, noisy=mixtures != "clean")
    table = next(row for row in tables["train-clean-360"] if row["noise_path"] == "tr/n1_1.2.wav")
    row = next(row for row in rows["train"] if row["ID"] == table["mixture_ID"])
    mix, sources = reader.example(row)
    first, second, noise = expected(root, table, rate, mode)
    heard = {"clean": first + second, "both": first + second + noise, "single": first + noise}
    np.testing.assert_allclose(mix, heard[mixtures], atol=2e-6)
    np.testing.assert_allclose(sources, np.stack([first, second][:speakers], 1), atol=2e-6)
    assert row["duration"] == pytest.approx(len(mix) / rate) and row["speaker1"] == table["mixture_ID"].split("-")[0]
    assert ("speaker2" in row) == (speakers == 2)


def test_a_noise_that_is_too_short_begins_again(sets, recipe_module):
    root, tables = sets
    rows = prepare(recipe_module("LibriMix", "librimix_metadata"), root, mixtures="both", mode="max", sample_rate=16000)
    row = next(row for row in rows["train"] if row["noise_wav"].endswith("n0_1.2.wav"))
    recording = 0.8 * soundfile.read(root / "wham_noise" / "tr/n0_1.2.wav")[0][:, 0]
    part = MadeParts(2, 16000, True).part(row, "noise")
    kept = min(len(part), 12000 - FADE if row["longest"] > 0.75 else 12000)
    assert len(part) == round(row["longest"] * 16000) > 9000
    np.testing.assert_allclose(part[:kept], recording[:kept], atol=1e-6)
    constant = extended(np.ones(20000), 70000)
    np.testing.assert_allclose(constant, 1, atol=1e-6)  # the two halves of a fade add up
    ramp = extended(np.arange(20000.0), 30000)
    np.testing.assert_allclose(ramp[20000:], np.arange(FADE, FADE + 10000), atol=1e-2)


def test_noises_of_other_speeds_are_made_of_the_originals(sets, recipe_module):
    root, tables = sets
    module = recipe_module("LibriMix", "librimix_metadata")
    row = next(row for row in prepare(module, root, mixtures="both")["train"] if row["noise_speed"] != 1)
    assert row["noise_speed"] == 0.8 and row["noise_wav"].endswith("tr/n2_1.2.wav")
    time = np.arange(20000) / 16000
    write(root / "wham_noise" / "tr" / "n2_1.2.wav", np.stack([0.1 * np.sin(2 * np.pi * 1000 * time)] * 2, 1))
    slow = MadeParts(2, 8000, True).part(row, "noise")[500:2500]
    assert int(np.abs(np.fft.rfft(slow * np.hanning(2000))).argmax()) * 4 == 800  # Hz
    write(root / "wham_noise" / "tr" / "n2_1.2sp08.wav", np.zeros((25000, 2)))
    assert module.noise_file(root / "wham_noise" / "tr" / "n2_1.2sp08.wav")[1] == 1.0


def test_dynamic_mixing_of_what_is_made(sets, recipe_module):
    root, _ = sets
    prepare(recipe_module("LibriMix", "librimix_metadata"), root, mixtures="both")
    settings = (str(root / "save"), str(root / "LibriSpeech"), MadeParts(2, 8000, True), 4000, 1)
    stored, clock = made_mixtures(*settings, OFF)
    mixed, other = made_mixtures(*settings, OFF | {"dynamic_mixing": True, "speed_changes": [0.9, 1.1]})
    clock.fill_(1), other.fill_(1)
    assert all(len(item["mix_sig"]) == 4000 for item in (*stored["train"], *mixed["train"]))
    assert not any((a["mix_sig"] == b["mix_sig"]).all() for a, b in zip(stored["train"], mixed["train"], strict=True))
    assert all((a["mix_sig"] == b["mix_sig"]).all() for a, b in zip(stored["test"], mixed["test"], strict=True))
    assert min(durations_of(SimpleNamespace(save_folder=settings[0], data_folder=settings[1]), "train").values()) > 0.5
    assert len(stored["test"][0]["mix_sig"]) > 4000 and stored["test"].data[stored["test"][0]["id"]]["speaker"]


def test_a_training_without_a_file_of_a_mixture(sets, train):
    root, _ = sets
    words = "--device cpu --noprogressbar --precision fp32 --num_workers 0 --test_metrics [si_sdr] --n_audio_to_save 1 "
    words += "--scoring_workers 0 --max_steps 2 --N_epochs 9 --training_signal_len 3000 --mixtures both --loss snr"
    places = {
        "data_folder": "LibriSpeech",
        "output_folder": "run",
        "metadata_folder": "metadata",
        "wham_folder": "wham_noise",
    }
    folders = [word for key, name in places.items() for word in (f"--{key}", root / name)]
    more = ["--dynamic_mixing", "true", "--spectral_weight", "0.5", "--consistency_weight", "0.1"]
    train("LibriMix", "hparams/spmamba.yaml", "--preset", "convtasnet_tiny", *words.split(), *folders, *more)
    assert json.loads((root / "run" / "summary.json").read_text())["n"] == 1


@pytest.mark.parametrize(
    "options, message",
    [
        ({"num_spks": 3}, "num_spks: expected 2, as libri2mix_train-clean-360.csv has it, got 3"),
        ({"num_spks": 2, "mixtures": "single"}, "num_spks: expected 1 for single mixtures"),
        ({"mixtures": "both", "wham_folder": None}, "wham_folder: mixtures both need the folder of WHAM!'s noise"),
        ({"train_subset": "train-100"}, r"expected one table libri\*mix_train-clean-100.csv, found none"),
        ({"mode": "mid"}, "mode: expected min or max"),
    ],
)
def test_what_is_missing_or_does_not_fit_is_refused(sets, recipe_module, options, message):
    with pytest.raises(UserError, match=message):
        prepare(recipe_module("LibriMix", "librimix_metadata"), sets[0], **options)


def test_missing_recordings_are_counted(sets, recipe_module):
    root, tables = sets
    (root / "LibriSpeech" / tables["dev-clean"][0]["source_1_path"]).unlink()
    with pytest.raises(UserError, match="1 of 2 files are missing: .*Check that data_folder"):
        prepare(recipe_module("LibriMix", "librimix_metadata"), root)
