"""The comparison of recipe files: one budget, every run once, a section that is replaced, options that are checked."""

import importlib
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from lobes.data.manifest import read_manifest, write_manifest
from lobes.errors import UserError

RECIPES = Path(__file__).parents[2] / "recipes"


class Network(nn.Linear):
    sample_rate, num_sources, causal = 8000, 1, False

    def __init__(self):
        super().__init__(1, 1, bias=False)

    def forward(self, mix, lengths=None):
        return super().forward(mix[..., None])


@pytest.fixture
def comparison(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(RECIPES)
    monkeypatch.delitem(sys.modules, "comparison", raising=False)
    module = importlib.import_module("comparison")
    module.places = ["--output", str(tmp_path / "out"), "--results", str(tmp_path / "RESULTS.md")]
    return module


def second_manifest(recipe_module, corpus, folder):
    """The corpus's own test set under another name."""
    recipe_module("PolSESS", "polsess_prepare").prepare_polsess(corpus, folder, splits=["test"])
    write_manifest(folder / "second.csv", read_manifest(folder / "test.csv", corpus))
    return folder / "second.csv"


def test_two_small_models_to_the_table(comparison, recipe_module, corpus, tmp_path):
    """Real training, two steps of each, and both tests."""
    words = ["PolSESS", "--hparams", "spmamba_tiny", "spmamba_tiny:dprnn_tiny"]
    words += ["--data_folder", str(corpus), "--steps", "2"]
    settings = "task=SB device=cpu batch_size=1 training_signal_len=800 test_metrics=[si_sdr] n_audio_to_save=0".split()
    words += ["--options", *settings, "--seeds", "1", "2", "--threads", "1", "--jobs", "2", "--name", "small"]
    words += ["--second_test", str(second_manifest(recipe_module, corpus, tmp_path / "manifests"))]
    comparison.main([*words, *comparison.places])
    text = (tmp_path / "RESULTS.md").read_text()
    assert "### Comparison of 2 models: small, 2 steps each" in text and "comparison_small.svg" in text
    sides = next(line.strip("| ") for line in text.splitlines() if line.startswith("| dprnn_tiny | SI-SDR |")).split(
        " | "
    )
    assert sides[2:5] == sides[5:] != ["-", "-", "-"] and "manifests/second.csv" in text and "4 mixtures" in text
    assert {line.split(" | ")[0] for line in text.splitlines() if line.startswith(("| sp", "| dp"))} == {
        "| spmamba_tiny",
        "| dprnn_tiny",
    }
    assert (tmp_path / "comparison_small.svg").is_file()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("out/small/*/train_time.json")}
    assert len(before) == 4
    comparison.main([*words, *comparison.places])
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert (tmp_path / "RESULTS.md").read_text().count("### Comparison of") == 1


def test_a_budget_in_macs_gives_the_costlier_model_fewer_steps(comparison, tmp_path):
    words = [
        "PolSESS",
        "--hparams",
        "spmamba_tiny",
        "--data_folder",
        str(tmp_path),
        "--options",
        "task=ES",
        *comparison.places,
    ]
    options = comparison.parse([*words, "--gmacs", "1000"])
    steps = {
        name: comparison.make_run(options, name, 1).options["max_steps"] for name in ("spmamba_tiny", "spmamba_mini")
    }
    assert steps["spmamba_tiny"] > 1.5 * steps["spmamba_mini"] > 100
    file = RECIPES / "PolSESS" / "hparams" / "spmamba_tiny.yaml"
    cost = comparison.macs_of_a_step(file, options.settings | {"data_folder": "x"})
    assert steps["spmamba_tiny"] == int(1e12 / cost)


@pytest.mark.parametrize(
    "words, message",
    [
        (["PolSES", "--steps", "1"], "no train.py.*PolSESS, VoiceBank"),
        (["PolSESS"], "give one budget"),
        (["PolSESS", "--steps", "1", "--minutes", "1"], "give one budget"),
        (["PolSESS", "--steps", "1", "--options", "task"], "expected key=value, got task"),
        (["PolSESS", "--steps", "1", "--second_test", "none.csv"], "--second_test none.csv: no such manifest"),
    ],
)
def test_mistakes(comparison, words, message):
    with pytest.raises(UserError, match=message):
        comparison.parse([*words, "--hparams", "spmamba_tiny", "--data_folder", "x"])


def test_costs_are_those_of_the_network_and_threads_are_put_back(comparison):
    before = torch.get_num_threads()
    gmacs, rtf = comparison.cost_of(Network(), 1)
    assert gmacs == pytest.approx(8e-6) and 0 < rtf < 1
    assert torch.get_num_threads() == before
