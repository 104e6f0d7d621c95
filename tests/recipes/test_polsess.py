"""The PolSESS recipe as a user runs it: train, resume, test, and its errors.

The first run and one mistake go through a process of their own; the others call the same `main`, without the imports.
"""

import csv
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch

RECIPE = Path(__file__).parents[2] / "recipes" / "PolSESS"
SMALL = [
    "--device",
    "cpu",
    "--batch_size",
    "2",
    "--noprogressbar",
    "--test_metrics",
    "[si_sdr]",
    "--n_audio_to_save",
    "1",
]


def launch(*arguments):
    """Run train.py in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "train.py", *map(str, arguments)]
    return subprocess.run(command, cwd=RECIPE, capture_output=True, text=True, env=environment)


def curve(run):
    with (run / "learning_curve.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def run(corpus, tmp_path_factory):
    """A finished run of two epochs on task SB."""
    folder = tmp_path_factory.mktemp("run")
    done = launch("hparams/spmamba_tiny.yaml", "--data_folder", corpus, "--output_folder", folder, "--task", "SB",
                  "--N_epochs", 2, *SMALL)  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder, done.stdout


def test_run_folder_holds_what_it_promises(run):
    folder, screen = run
    assert screen.splitlines()[0].startswith("Lobes ")
    assert "first step after" in screen
    assert [row["step"] for row in curve(folder)] == ["4", "8"]
    rows = list(csv.DictReader((folder / "per_utterance.csv").open(newline="")))
    assert len(rows) == 4 and all(row["status"] == "ok" for row in rows)
    assert all(float(r["si_sdri"]) == pytest.approx(float(r["si_sdr"]) - float(r["si_sdr_in"]), abs=2e-6) for r in rows)
    assert "\ninput " in screen and "\nimproved " in screen
    assert {"mean", "groups", "against_input"} <= set(json.loads((folder / "summary.json").read_text()))
    facts = json.loads((folder / "train_time.json").read_text())
    assert facts["steps"] == 8 and facts["seconds"] > 0 and facts["seed"] == 1234
    assert len(list((folder / "audio").iterdir())) == 1
    assert "SI-SDRi" in (folder / "train_log.txt").read_text()


def test_N08_mamba_keeps_its_initial_step_sizes(train, corpus, tmp_path):
    train("PolSESS", "hparams/spmamba_tiny.yaml", "--data_folder", corpus, "--output_folder", tmp_path,
          "--max_steps", 1, "--lr", "1e-12", "--weight_decay", "0.1", *SMALL)  # fmt: skip
    weights = torch.load(next(tmp_path.glob("save/CKPT*/separator.ckpt")), weights_only=True)
    steps = [torch.nn.functional.softplus(value) for key, value in weights.items() if key.endswith("dt_proj.bias")]
    assert steps and all(bool((step >= 0.99e-3).all() and (step <= 1.01e-1).all()) for step in steps)
    logs = [value for key, value in weights.items() if key.endswith("A_log")]
    assert all(torch.allclose(log, torch.arange(1.0, log.shape[1] + 1).log().expand_as(log), atol=1e-5) for log in logs)


def test_finished_run_trains_no_more(train, run, corpus):
    folder, _ = run
    before = curve(folder)
    train("PolSESS", "hparams/spmamba_tiny.yaml", "--data_folder", corpus, "--output_folder", folder, "--task", "SB",
          "--N_epochs", 2, *SMALL)  # fmt: skip
    assert curve(folder) == before


def test_the_test_leaves_the_facts_of_the_training(train, run, corpus, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(run[0], folder)
    (folder / "train_time.json").write_text("as the training left it")
    train("PolSESS", "hparams/spmamba_tiny.yaml", "--data_folder", corpus, "--output_folder", folder, "--task", "SB",
          "--N_epochs", 2, "--test_only", *SMALL)  # fmt: skip
    assert (folder / "train_time.json").read_text() == "as the training left it"


def test_stopped_run_continues_as_if_never_stopped(train, corpus, tmp_path):
    common = ["hparams/spmamba_tiny.yaml", "--data_folder", corpus, "--lr_scheduler_interval", "epoch",
              "--lr_scheduler", "null", *SMALL]  # fmt: skip
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    train("PolSESS", *common, "--output_folder", whole, "--N_epochs", 2)
    train("PolSESS", *common, "--output_folder", halves, "--N_epochs", 1)
    train("PolSESS", *common, "--output_folder", halves, "--N_epochs", 2)
    assert "resumed at step 4" in (halves / "log.txt").read_text()
    drop_time = lambda rows: [{k: v for k, v in row.items() if k != "seconds"} for row in rows]  # noqa: E731
    assert drop_time(curve(halves)) == drop_time(curve(whole))


def test_debug_runs_two_batches_and_keeps_no_checkpoint(train, corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    train("PolSESS", "hparams/spmamba_tiny.yaml", "--preset", "convtasnet_tiny", "--data_folder", corpus,
          "--output_folder", tmp_path / "run", "--debug", *SMALL)  # fmt: skip
    [folder] = tmp_path.glob("lobes_debug_*")
    assert [row["step"] for row in curve(folder)] == ["2", "4"]
    assert len(list(csv.DictReader((folder / "per_utterance.csv").open(newline="")))) == 2
    assert not list(folder.glob("save/CKPT*")) and not (tmp_path / "run").exists()


def test_cosine_follows_the_budget(train, corpus, tmp_path):
    train("PolSESS", "hparams/spmamba_tiny.yaml", "--preset", "convtasnet_tiny", "--data_folder", corpus,
          "--output_folder", tmp_path, "--max_steps", 8, "--warmup_steps", 0, "--lr", 0.1, *SMALL)  # fmt: skip
    used = [0.05 * (1 + math.cos(math.pi * step / 8)) for step in (3, 7)]  # by the last step of each epoch
    assert [float(row["lr"]) for row in curve(tmp_path)] == pytest.approx(used, rel=1e-5)


def test_convtasnet_trains_in_the_same_recipe(train, corpus, tmp_path):
    train("PolSESS", "hparams/spmamba_tiny.yaml", "--preset", "convtasnet_tiny", "--data_folder", corpus,
          "--output_folder", tmp_path, "--max_steps", 2,
          "--dynamic_mixing", "true", "--speed_changes", "[0.95, 1.05]", *SMALL)  # fmt: skip
    assert curve(tmp_path)[-1]["step"] == "2"


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["hparams/spmamba_tiny.yaml", "--data_folder", "{tmp}/nowhere"], "nowhere"),
        (["hparams/spmamba_tiny.yaml", "--data_folder", "{corpus}", "--batch_sise", "2"], "Did you mean 'batch_size'"),
        (["hparams/spmamba_tny.yaml"], "no such recipe file"),
        (["hparams/spmamba_tiny.yaml"], "--data_folder"),
        (["hparams/spmamba_tiny.yaml", "--data_folder", "{corpus}", "--test_only"], "no checkpoint"),
        (["hparams/spmamba_tiny.yaml", "--data_folder", "{corpus}", "--task", "EX"], "EX"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(train, corpus, tmp_path, arguments, message, capsys):
    filled = [text.format(tmp=tmp_path, corpus=corpus) for text in arguments]
    with pytest.raises(SystemExit) as stop:
        train("PolSESS", *filled, "--output_folder", tmp_path / "run")
    error = capsys.readouterr().err
    assert stop.value.code == 2 and message in error
    assert len(error.strip().splitlines()) == 1


def test_truncated_wav_is_one_line_that_names_it(corpus, tmp_path):
    broken = tmp_path / "mini"
    shutil.copytree(corpus, broken)
    victim = sorted((broken / "train" / "scene").iterdir())[0]
    victim.write_bytes(victim.read_bytes()[: victim.stat().st_size // 2])
    done = launch("hparams/spmamba_tiny.yaml", "--data_folder", broken, "--output_folder", tmp_path / "run")
    assert done.returncode == 2 and victim.name in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and "Traceback" not in done.stdout


@pytest.mark.parametrize(
    "words, message",
    [
        (["--variants", "[Q]"], "Q"),
        (["--curriculum", "[{epch: 1}]"], "curriculum entry 1: unknown key 'epch'.*Did you mean 'epoch'"),
        (["--curriculum", "[{epoch: 1, variants: [Q]}]"], "curriculum entry 1: .*Q"),
        (["--speed_changes", "[0]"], "speed_changes: expected a list"),
        (["--task", "XX"], "Unknown task 'XX'"),
    ],
)
def test_its_own_options_are_checked_before_anything_is_written(train, tmp_path, capsys, words, message):
    run = tmp_path / "run"
    with pytest.raises(SystemExit):
        train("PolSESS", "spmamba_tiny", "--data_folder", tmp_path, "--output_folder", run, *words)
    line = capsys.readouterr().err
    assert re.search(message, line) and line.count("\n") == 1 and not run.exists()
