"""The VoiceBank recipe as a user runs it: train, resume, test, export, enhance; its hparams files and its errors."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hyperpyyaml import load_hyperpyyaml
from ruamel.yaml import YAML

from lobes.cli import app
from lobes.config import resolve
from lobes.data import audio
from lobes.inference import export_pretrained

RECIPE = Path(__file__).parents[2] / "recipes" / "VoiceBank"
TRAINED = [("bsrnn", "bsrnn"), *(("bsrnn_mini", f"bs_bimamba_abl{number}_small") for number in (1, 2, 3))]
TRAINED += [
    ("bsrnn_mini", "bsrnn"),
    ("bsrnn_mini", "bsrnn_local_norms"),
    ("bsrnn_mini", "mbs_net"),
    ("mbs_net", "mbs_net"),
]
TRAINED += [("mbs_net", f"bs_bimamba_abl{number}") for number in (1, 2, 3)]
SMALL = ["--device", "cpu", "--noprogressbar", "--n_audio_to_save", 1, "--valid_speakers", "[p226]"]
# The recipe for the minutes of a processor, with a network for the seconds of a test.
TINY = """base: {recipe}/hparams/bsrnn_mini.yaml
experiment_name: tiny
preset: bs_bimamba_abl2
n_channels: 8
n_layers: 1
expansion: 1
"""


def voice(rng, seconds, rate=16000):
    """Bursts of harmonics, enough like speech for PESQ, and the same in noise."""
    time = np.arange(int(seconds * rate)) / rate
    envelope = np.clip(np.sin(2 * np.pi * (2 + rng.random()) * time + rng.random()), 0, 1)
    pitch = 100 + 60 * rng.random()
    clean = 0.1 * envelope * sum(np.sin(2 * np.pi * k * pitch * time) / k for k in range(1, 20))
    return clean, clean + 0.02 * rng.standard_normal(len(time))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Six pairs to train on, two to validate, two to test."""
    root = tmp_path_factory.mktemp("voicebank")
    rng = np.random.default_rng(0)
    files = {"trainset_28spk": [f"p228_{i:03d}" for i in range(6)] + ["p226_001", "p226_002"]}
    files["testset"] = ["p232_001", "p257_001"]
    for name, stems in files.items():
        for stem in stems:
            write_pair(root, name, stem, *voice(rng, 1.0 + rng.random()))
    return root


def write_pair(root, name, stem, clean, noisy):
    for kind, x in (("clean", clean), ("noisy", noisy)):
        audio.write(root / f"{kind}_{name}_wav" / f"{stem}.wav", x, 16000)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    path = tmp_path_factory.mktemp("hparams") / "tiny.yaml"
    path.write_text(TINY.format(recipe=RECIPE))
    return path


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def run(data, tiny, tmp_path_factory):
    """A finished run of two epochs, in a process of its own, with the metric discriminator in the second."""
    folder = tmp_path_factory.mktemp("run")
    command = [sys.executable, "train.py", tiny, "--data_folder", data, "--output_folder", folder, "--N_epochs", 2,
               "--metric_start", 2, "--pesq_workers", 1, *SMALL]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(list(map(str, command)), cwd=RECIPE, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder


def test_every_epoch_is_a_row_and_a_picture(run):
    first, second = table(run / "learning_curve.csv")
    assert [first["step"], second["step"]] == ["3", "6"]
    for name in ("train_loss", "valid_loss", "valid_pesq", "valid_stoi", "valid_si_sdr", "lr", "seconds"):
        assert np.isfinite(float(first[name])), name
    assert 1 <= float(first["valid_pesq"]) < 4.65 and float(first["peak_megabytes"]) > 100
    for name in ("magnitude", "phase", "complex", "time", "consistency"):
        assert float(first[f"train_{name}"]) > 0, name
    assert (run / "learning_curve.png").read_bytes()[:4] == b"\x89PNG"


def test_the_discriminator_starts_in_the_epoch_that_uses_it(run):
    first, second = table(run / "learning_curve.csv")
    assert first["train_metric"] == first["train_discriminator"] == ""
    assert float(second["train_metric"]) > 0 and float(second["train_discriminator"]) > 0
    checkpoint = torch.load(next(run.glob("save/CKPT*/metric_gan.ckpt")), weights_only=True)
    assert set(checkpoint) == {"discriminator", "optimizer"}


def test_the_test_stands_beside_the_noisy_input_and_pcs(run):
    summary = json.loads((run / "summary.json").read_text())
    assert summary["n"] == 2 and summary["noisy"]["si_sdri"] == 0
    rows = table(run / "per_utterance.csv")
    assert [row["id"] for row in rows] == ["p232_001", "p257_001"] and all(row["status"] == "ok" for row in rows)
    for name in ("pesq", "stoi", "estoi", "ssnr", "csig", "cbak", "covl", "csig_float"):
        assert np.isfinite(float(rows[0][name])), name
    for name in ("noisy", "pcs", "noisy_pcs"):
        assert len(table(run / f"per_utterance_{name}.csv")) == 2 and summary[name]["pesq"] > 1
    assert (run / "audio" / "p232_001" / "s1_hat.wav").is_file()


def test_judges_can_be_asked_for_and_word_errors_need_a_text(train, run, data, tiny, tmp_path):
    again = shutil.copytree(run, tmp_path / "run")
    metrics = ["--test_metrics", "[si_sdr,speech_activity,wer]", "--recogniser", "pocketsphinx", "--scoring_workers", 0]
    train("VoiceBank", tiny, "--data_folder", data, "--output_folder", again, "--N_epochs", 2, "--metric_start", 2,
          "--test_only", *metrics, *SMALL)  # fmt: skip
    summary, rows = json.loads((again / "summary.json").read_text()), table(again / "per_utterance.csv")
    assert summary["failures"]["wer: no text"] == 2 and summary["recogniser"] == "pocketsphinx"
    for row in rows:
        assert 0 <= float(row["speech_activity"]) <= 1 and row["speech_missed_in"] and row["wer"] == row["wer_in"] == ""
        assert np.isfinite(float(row["si_sdr"])) and row["status"].startswith("wer: no text (source 1)")
    assert not (again / "scored.jsonl").exists()


def test_finished_run_trains_no_more(train, run, data, tiny):
    before = (run / "learning_curve.csv").read_bytes()
    train(
        "VoiceBank", tiny, "--data_folder", data, "--output_folder", run, "--N_epochs", 2, "--metric_start", 2, *SMALL
    )
    assert (run / "learning_curve.csv").read_bytes() == before


def test_the_checkpoint_of_the_highest_pesq_is_chosen(run):
    scores = [float(row["valid_pesq"]) for row in table(run / "learning_curve.csv")]
    notes = [load_hyperpyyaml(path.read_text()) for path in run.glob("save/CKPT*/CKPT.yaml")]
    assert max(note["pesq"] for note in notes) == pytest.approx(max(scores), rel=1e-5)


def test_export_and_enhance(run, tmp_path, monkeypatch, capsys):
    from speechbrain.inference.enhancement import WaveformEnhancement

    exported = export_pretrained(run, tmp_path / "exported")
    noisy = next((run / "audio").glob("*/mix.wav"))
    enhancer = WaveformEnhancement.from_hparams(source=str(exported), savedir=str(tmp_path / "saved"))
    samples = audio.read_mono(noisy)
    enhanced = enhancer.enhance_batch(torch.from_numpy(samples)[None])
    assert enhanced.shape == (1, len(samples)) and enhancer.hparams.sample_rate == 16000
    app(
        ["enhance", str(run), str(noisy), "-o", str(tmp_path / "out"), "--pcs", "--device", "cpu"],
        standalone_mode=False,
    )
    written = {path.stem: audio.read_mono(path) for path in (tmp_path / "out").glob("*.wav")}
    assert set(written) == {"mix_enhanced", "mix_enhanced_pcs"}
    assert np.abs(written["mix_enhanced"] - enhanced[0].numpy()).max() < 2e-4  # 16 bits
    power = {name: np.square(x).mean() for name, x in written.items()}
    assert power["mix_enhanced_pcs"] == pytest.approx(power["mix_enhanced"], rel=0.05)


def test_three_runs_side_by_side(data, tiny, tmp_path):
    def start(seed):
        command = [sys.executable, "train.py", tiny, "--data_folder", data, "--output_folder", tmp_path / f"run{seed}",
                   "--max_steps", 1, "--seed", seed, "--test_metrics", "[si_sdr]", *SMALL]  # fmt: skip
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(list(map(str, command)), cwd=RECIPE, env=environment, stdout=subprocess.DEVNULL)

    assert [process.wait() for process in [start(seed) for seed in (1, 2, 3)]] == [0, 0, 0]
    losses = {
        (tmp_path / f"run{seed}" / "learning_curve.csv").read_text().splitlines()[1].split(",")[3] for seed in (1, 2, 3)
    }
    assert len(losses) == 3


@pytest.mark.parametrize(
    "objective, precision", [("compressed", "fp32"), ("compressed", "bf16"), ("published", "bf16")]
)
def test_odd_clips_stay_finite(train, tiny, tmp_path, objective, precision):
    """50 steps with a silent pair, a silent input, a clipped pair and a pair 120 dB down in the batches."""
    rng, root = np.random.default_rng(1), tmp_path / "data"
    clean, noisy = voice(rng, 0.5)
    silence = np.zeros_like(clean)
    odd = [(silence, silence), (clean, silence), (np.clip(40 * clean, -1, 1), np.clip(40 * noisy, -1, 1))]
    for number, (x, y) in enumerate(12 * [*odd, (1e-6 * clean, 1e-6 * noisy)]):
        for kind, samples in (("clean", x), ("noisy", y)):  # 16 bits would round the quiet pair to silence
            audio.write(root / f"{kind}_trainset_28spk_wav" / f"p228_{number}.wav", samples, 16000, "FLOAT")
    write_pair(root, "trainset_28spk", "p226_0", clean, noisy)
    write_pair(root, "testset", "p232_0", clean, noisy)
    train("VoiceBank", tiny, "--data_folder", root, "--output_folder", tmp_path / "run", "--training_signal_len", 4000,
          "--max_steps", 50, "--N_epochs", 9, "--objective", objective, "--precision", precision, "--lr", 0.01,
          "--test_metrics", "[si_sdr]", *SMALL)  # fmt: skip
    rows = table(tmp_path / "run" / "learning_curve.csv")
    assert len(rows) == 3 and all(row["skipped"] == "0" for row in rows)
    assert all(np.isfinite(float(row["train_loss"])) for row in rows)
    weights = torch.load(next((tmp_path / "run").glob("save/CKPT*/separator.ckpt")), weights_only=True)
    assert all(bool(torch.isfinite(value).all()) for value in weights.values())


def test_segments(recipe_module):
    recipe = recipe_module("VoiceBank", "train")
    rng = np.random.default_rng(0)
    signals = (np.arange(10.0), 10 + np.arange(10.0))
    one, two = recipe.segment(signals, 4, rng)
    assert len(one) == 4 and np.array_equal(two - one, np.full(4, 10))
    assert recipe.segment(signals, 25, rng)[0].tolist() == [*range(10), *range(10), *range(5)]


def test_a_pcs_target_keeps_the_level(recipe_module, data):
    recipe = recipe_module("VoiceBank", "train")
    hparams = {"seed": 1, "sample_rate": 16000, "training_signal_len": 8000, "pcs_target": False}
    hparams |= {**dict.fromkeys(recipe.KEYS), "augment_share": 1.0}
    paths = {
        f"{p}_wav": str(data / f"{kind}_testset_wav" / "p232_001.wav")
        for p, kind in (("mix", "noisy"), ("s1", "clean"))
    }
    rows, clock = [{"ID": "p232_001", **paths}], torch.zeros(1, dtype=torch.int64)
    plain, stretched = (
        recipe.dataset({**hparams, "pcs_target": target}, rows, clock, training=True)[0] for target in (False, True)
    )
    assert torch.equal(plain["mix_sig"], stretched["mix_sig"])
    ratio = stretched["sources_sig"].square().mean() / plain["sources_sig"].square().mean()
    assert 0.5 < float(ratio) < 2 and not torch.allclose(plain["sources_sig"], stretched["sources_sig"], atol=1e-3)
    valid = recipe.dataset({**hparams, "pcs_target": True}, rows, clock, training=False)[0]
    assert np.array_equal(valid["sources_sig"][:, 0].numpy(), audio.read_mono(paths["s1_wav"]))


@pytest.mark.parametrize(
    "options, message",
    [
        (["--objective", "compresed"], "objective: expected compressed or published, got 'compresed'"),
        (["--pesq_workers", 0, "--metric_start", 1], "pesq_workers: expected at least 1"),
        (["--batchsize", 2], "did you mean"),
    ],
)
def test_mistakes_are_one_line(train, tiny, data, tmp_path, capsys, options, message):
    with pytest.raises(SystemExit) as exit_:
        train("VoiceBank", tiny, "--data_folder", data, "--output_folder", tmp_path, *options, *SMALL)
    error = capsys.readouterr().err
    assert exit_.value.code == 2 and message.lower() in error.lower() and error.count("\n") == 1


@pytest.mark.parametrize(("file", "preset"), TRAINED)
def test_hparams_load(file, preset, tmp_path):
    overrides = {"data_folder": "x", "output_folder": str(tmp_path), "preset": preset}
    hparams = load_hyperpyyaml(resolve(RECIPE / "hparams" / f"{file}.yaml", overrides))
    model = hparams["modules"]["separator"]
    assert model.num_sources == 1 and model.sample_rate == hparams["sample_rate"] == 16000
    steps = [torch.nn.functional.softplus(p) for name, p in model.named_parameters() if name.endswith("dt_proj.bias")]
    assert all(bool((step >= 0.99e-3).all() and (step <= 1.01e-1).all()) for step in steps)
    assert bool(steps) != preset.startswith("bsrnn")


def test_ablations_differ_in_the_stated_keys_alone():
    first, *others = [
        YAML().load(
            resolve(RECIPE / "hparams" / "mbs_net.yaml", {"data_folder": "x", "preset": f"bs_bimamba_abl{number}"})
        )
        for number in (1, 2, 3)
    ]
    for other in others:
        different = {key for key in first if first[key] != other[key]}
        named = {"experiment_name", "output_folder", "save_folder", "train_log", "preset"}
        assert different == {"ablation", "modules", "checkpointer", *named}
