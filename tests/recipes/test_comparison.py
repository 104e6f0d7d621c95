"""The race over recipe files: one budget, every run once, a section that is replaced, options that are checked."""

import importlib
import sys
from pathlib import Path

import pytest

from lobes.errors import UserError

RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.fixture
def race(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(RECIPES)
    monkeypatch.delitem(sys.modules, "race", raising=False)
    module = importlib.import_module("comparison")
    module.places = ["--output", str(tmp_path / "out"), "--results", str(tmp_path / "RESULTS.md")]
    return module


def test_two_small_models_to_the_table(race, corpus, tmp_path):
    """Real training, two steps of each."""
    words = ["PolSESS", "--hparams", "spmamba_tiny", "spmamba_tiny:dprnn_tiny"]
    words += ["--data_folder", str(corpus), "--steps", "2"]
    settings = "task=SB device=cpu batch_size=1 training_signal_len=800 test_metrics=[si_sdr] n_audio_to_save=0".split()
    words += ["--options", *settings, "--seeds", "1", "2", "--threads", "1", "--jobs", "2", "--name", "small"]
    race.main([*words, *race.places])
    text = (tmp_path / "RESULTS.md").read_text()
    assert "### A race of 2: small, 2 steps each" in text and "race_small.svg" in text
    assert {line.split(" | ")[0] for line in text.splitlines() if line.startswith(("| sp", "| dp"))} == {
        "| spmamba_tiny",
        "| dprnn_tiny",
    }
    assert (tmp_path / "race_small.svg").is_file()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("out/small/*/train_time.json")}
    assert len(before) == 4
    race.main([*words, *race.places])
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert (tmp_path / "RESULTS.md").read_text().count("### A race") == 1


def test_a_budget_in_macs_gives_the_costlier_model_fewer_steps(race, tmp_path):
    words = [
        "PolSESS",
        "--hparams",
        "spmamba_tiny",
        "--data_folder",
        str(tmp_path),
        "--options",
        "task=ES",
        *race.places,
    ]
    options = race.parse([*words, "--gmacs", "1000"])
    steps = {name: race.make_run(options, name, 1).options["max_steps"] for name in ("spmamba_tiny", "spmamba_mini")}
    assert steps["spmamba_tiny"] > 2 * steps["spmamba_mini"] > 100
    file = RECIPES / "PolSESS" / "hparams" / "spmamba_tiny.yaml"
    cost = race.macs_of_a_step(file, options.settings | {"data_folder": "x"})
    assert steps["spmamba_tiny"] == int(1e12 / cost)


@pytest.mark.parametrize(
    "words, message",
    [
        (["PolSES", "--steps", "1"], "no train.py.*PolSESS, VoiceBank"),
        (["PolSESS"], "give one budget"),
        (["PolSESS", "--steps", "1", "--minutes", "1"], "give one budget"),
        (["PolSESS", "--steps", "1", "--options", "task"], "expected key=value, got task"),
    ],
)
def test_mistakes(race, words, message):
    with pytest.raises(UserError, match=message):
        race.parse([*words, "--hparams", "spmamba_tiny", "--data_folder", "x"])
