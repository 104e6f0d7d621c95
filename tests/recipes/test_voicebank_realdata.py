"""The table of eight models on real recordings: no shared speakers, every run once, a section that is replaced."""

import csv
import json
import shutil
import sys

import numpy as np
import pytest

from lobes.data import audio
from lobes.errors import UserError

TRAIN = """
import csv, json, sys
from pathlib import Path
options = dict(zip(sys.argv[2::2], sys.argv[3::2]))
out = Path(options["--output_folder"]); out.mkdir(parents=True, exist_ok=True)
with (out / "starts.txt").open("a") as file: file.write("x\\n")
pesq = 2.0 if options["--preset"] == "bsrnn" else 2.25
mean = {"pesq": pesq, "stoi": 0.8, "si_sdr": 11.0, "csig": 3.0, "cbak": 2.5, "covl": 2.2, "ssnr": 4.0}
noisy = {**mean, "pesq": 1.5, "si_sdr": 9.0}
(out / "summary.json").write_text(json.dumps({"mean": mean, "noisy": noisy, "pcs": mean, "noisy_pcs": noisy}))
facts = {"steps": 40, "seconds": 12.0, "commit": "c0ffee", "machine": "a fast one"}
(out / "train_time.json").write_text(json.dumps(facts))
(out / "learning_curve.csv").write_text("step,seconds,valid_si_sdri,valid_pesq\\n40,12,1.5,2.1\\n")
for ending, values in (("", (pesq, 11.0)), ("_noisy", (1.5, 9.0))):
    with (out / f"per_utterance{ending}.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "si_sdr", "si_sdri", "sdr", "sdri", "pesq", "stoi", "status"])
        writer.writerow(["a", values[1], 0, 0, 0, values[0], 0.8, "ok"])
"""


@pytest.fixture
def maker(recipe_module):
    return recipe_module("VoiceBank", "realdata_set")


@pytest.fixture
def recordings(tmp_path):
    """Two speakers and two noises for each split, and a pair of VoiceBank's."""
    rng, folder = np.random.default_rng(0), tmp_path / "recordings"
    rows = []
    for split in ("train", "valid", "test"):
        for number in range(2):
            for kind, seconds in (("speech", 5.0), ("noise:rain", 3.0)):
                path = f"{kind[:5]}/{split}{number}.wav"
                audio.write(folder / path, 0.1 * rng.standard_normal(int(16000 * seconds)), 16000)
                rows.append([path, kind, f"{split}_{number}", split, 16000])
    for kind in ("clean", "noisy"):
        audio.write(folder / "voicebank" / kind / "p287_001.wav", 0.1 * rng.standard_normal(16000), 16000)
    with (folder / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["path", "kind", "speaker", "split", "sample_rate"], *rows])
    return folder


def test_no_speaker_is_in_two_splits_and_the_snr_is_right(maker, recordings, tmp_path):
    held_out = maker.make_set(recordings, tmp_path / "set", seed=3)
    assert held_out == ["p287", "valid-0", "valid-1"]
    files = {
        name: sorted((tmp_path / "set" / name).glob("*.wav"))
        for name in ("noisy_trainset_28spk_wav", "noisy_testset_wav")
    }
    speakers = [{path.name.split("_")[0] for path in paths} for paths in files.values()]
    assert speakers == [{"p287", "valid-0", "valid-1", "train-0", "train-1"}, {"test-0", "test-1"}]
    for path in files["noisy_testset_wav"]:
        noisy, clean = (audio.read_mono(p) for p in (path, path.parents[1] / "clean_testset_wav" / path.name))
        snr = 10 * np.log10(np.square(clean).sum() / np.square(noisy - clean).sum())
        assert min(abs(snr - wanted) for wanted in maker.TEST_SNRS) < 0.05
    assert maker.describe(tmp_path / "set", held_out)["train"] == {"pairs": 8, "speakers": 2}


def test_the_same_seed_gives_the_same_files(maker, recordings, tmp_path):
    for name in ("a", "b"):
        maker.make_set(recordings, tmp_path / name, seed=3)
    one, two = (sorted((tmp_path / name).rglob("*.wav")) for name in ("a", "b"))
    assert [path.name for path in one] == [path.name for path in two]
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(one, two, strict=True))


def test_a_wrong_folder_is_one_line(maker, tmp_path):
    with pytest.raises(UserError, match="no manifest.csv.*--recordings FOLDER"):
        maker.make_set(tmp_path, tmp_path / "set", seed=1)


def test_the_real_set_passes_the_preparation(maker, recipe_module, realdata, tmp_path):
    held_out = maker.make_set(realdata, tmp_path / "set", seed=21)
    prepare = recipe_module("VoiceBank", "voicebank_prepare")
    prepare.prepare_voicebank(tmp_path / "set", tmp_path / "save", valid_speakers=held_out)
    rows = {
        split: list(csv.DictReader((tmp_path / "save" / f"{split}.csv").open())) for split in ("train", "valid", "test")
    }
    speakers = {split: {row["speaker"] for row in found} for split, found in rows.items()}
    assert not speakers["train"] & speakers["valid"] and not speakers["test"] & (speakers["train"] | speakers["valid"])
    assert "p287" in speakers["valid"] and len(rows["train"]) > 500


@pytest.fixture
def recipe(recipe_module, monkeypatch, recordings, tmp_path, second_tests):
    """The command with a stand-in for training."""
    recipe_module("VoiceBank", "realdata_set")
    module = recipe_module("VoiceBank", "realdata")
    module.tested = second_tests(module, module.out_of_domain_pairs)
    (tmp_path / "train.py").write_text(TRAIN)
    monkeypatch.setattr(module, "TRAIN_SCRIPT", tmp_path / "train.py")
    places = ["--recordings", recordings, "--output", tmp_path / "out", "--results", tmp_path / "RESULTS.md"]
    module.call = lambda *options: module.main([str(word) for word in (*places, *options)])
    return module


def test_sixteen_runs_and_their_table(recipe, tmp_path):
    recipe.call("--minutes", 0.1)
    assert len(list(tmp_path.glob("out/*/starts.txt"))) == 16
    text = (tmp_path / "RESULTS.md").read_text()
    assert "| noisy input | 1.50 | 0.800 | 9.00 |" in text and "c0ffee" in text and "a fast one" in text
    assert "`python realdata.py --recordings recordings --models bsrnn_mini" in text and str(tmp_path) not in text
    assert (
        "| mbs_net_mini, seed 2 | 2.25 | 0.800 | 11.00 | 3.00 | 2.50 | 2.20 | 4.00 | 2.25 | 11.00 | 100 % | 100 % |"
        in text
    )
    launch = json.loads((tmp_path / "out" / "mbs_net_mini_seed2" / "launch.json").read_text())
    assert launch["options"]["valid_speakers"] == "[p287, valid-0, valid-1]"


def test_steps_in_place_of_minutes(recipe, tmp_path, capsys):
    recipe.call("--steps", 7, "--models", "mbs_net_mini")
    options = json.loads((tmp_path / "out" / "mbs_net_mini_seed1" / "launch.json").read_text())["options"]
    assert options["max_steps"] == "7" and "max_minutes" not in options
    text = (tmp_path / "RESULTS.md").read_text()
    assert "7 steps of training" in text and "the same number of steps" in text and "--seeds 1 2 --steps 7 " in text
    assert "about" not in capsys.readouterr().out.partition("State in")[0]
    with pytest.raises(UserError, match="one budget: --minutes or --steps"):
        recipe.call("--steps", 7, "--minutes", 1)


def test_every_run_has_a_second_test_and_both_stand_in_the_table(recipe, tmp_path):
    recipe.call("--minutes", 0.1, "--models", "bsrnn_mini", "mbs_net_mini")
    assert sorted(path.name for path in recipe.tested) == sorted(
        f"{model}_seed{seed}" for model in ("bsrnn_mini", "mbs_net_mini") for seed in (1, 2)
    )
    text = (tmp_path / "RESULTS.md").read_text()
    assert "| mbs_net_mini | PESQ | - | - | - | 2.05 | 2.50 | 0.45 [" in text and "8 pairs of 4 speakers" in text
    assert "| speech: digits | 8 | 4 | 0.45 [" in text


def test_a_second_call_does_only_what_is_missing(recipe, tmp_path):
    recipe.call("--minutes", 0.1, "--models", "bsrnn_mini", "mbs_net_mini")
    shutil.rmtree(tmp_path / "out" / "bsrnn_mini_seed2")
    recipe.call("--minutes", 0.1, "--models", "bsrnn_mini", "mbs_net_mini")
    starts = {path.parent.name: path.read_text().count("x") for path in tmp_path.glob("out/*/starts.txt")}
    assert set(starts.values()) == {1} and len(starts) == 4
    assert (tmp_path / "RESULTS.md").read_text().count("### Real speech and noise") == 1


def test_the_recordings_must_be_named_before_anything_is_made(recipe, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sys.modules["realdata_set"], "RECORDINGS", tmp_path / "none")
    with pytest.raises(
        UserError, match="--recordings is missing.*manifest.csv with the columns path, kind.*recordings.py FOLDER"
    ) as error:
        recipe.main(["--output", str(tmp_path / "out")])
    assert "\n" not in str(error.value) and not (tmp_path / "out").exists() and capsys.readouterr().out == ""


def test_recordings_in_their_usual_place_need_no_option(maker, monkeypatch, recordings):
    monkeypatch.setattr(maker, "RECORDINGS", recordings)
    assert maker.find_recordings(None) == recordings
