"""The comparison of recipe files: one budget, every run once, a section that is replaced, options that are checked."""

import importlib
import os
import shutil
import sys
from functools import partial
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


def test_two_small_models_to_the_table(comparison, recipe_module, corpus, monkeypatch, tmp_path):
    """Real training, two steps of each, and both tests; then again from the scores alone."""
    words = ["PolSESS", "--hparams", "spmamba_tiny", "spmamba_tiny:dprnn_tiny"]
    words += ["--data_folder", str(corpus), "--steps", "2"]
    settings = "task=SB device=cpu batch_size=1 training_signal_len=800 test_metrics=[si_sdr] n_audio_to_save=0".split()
    words += ["--options", *settings, "--seeds", "1", "2", "--threads", "1", "--jobs", "2", "--name", "small"]
    words += ["--second_test", str(second_manifest(recipe_module, corpus, tmp_path / "manifests"))]
    words += ["--scores", str(tmp_path / "scores")]
    monkeypatch.setattr(comparison, "real_time_factor", partial(comparison.real_time_factor, seconds=0.5, repeats=1))
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

    shutil.rmtree(tmp_path / "out")
    (tmp_path / "RESULTS.md").unlink()
    monkeypatch.setattr("lobes.runs.launcher.start", lambda *_: pytest.fail("a run was started"))
    comparison.main([*words, *comparison.places])
    again = (tmp_path / "RESULTS.md").read_text()
    scores = [one.partition("| first | second |")[2] for one in (text, again)]  # of both tests; no times
    assert scores[0] == scores[1] != ""
    kept = [path.read_text() for path in tmp_path.glob("scores/*/*.json")]
    assert len(kept) == 12 and not any(str(tmp_path) in one for one in kept)
    words[words.index("--steps") + 1] = "3"
    with pytest.raises(UserError, match=r"scores of other settings \(max_steps: there 2, now 3\)"):
        comparison.main([*words, "--output", str(tmp_path / "elsewhere")])


def test_a_budget_in_macs_gives_the_costlier_model_fewer_steps(comparison, tmp_path):
    words = [
        "PolSESS",
        "--hparams",
        "spmamba_tiny",
        "spmamba_mini",
        "--data_folder",
        str(tmp_path),
        "--options",
        "task=ES",
        *comparison.places,
    ]
    options = comparison.parse([*words, "--gmacs", "1000"])
    steps = {
        one.label: comparison.make_run(options, one, 1).options["max_steps"] for one in comparison.entries(options)
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


def of(comparison, *words):
    return comparison.parse([*words, "--data_folder", "x", "--steps", "1", *comparison.places])


def test_mixers_at_equal_size(comparison):
    from lobes.evaluation.complexity import parameters_of
    from lobes.models import get_model

    words = ["PolSESS", "--hparams", "spmamba_tiny:dprnn_tiny", "--mixers", "mamba", "lstm", "--match", "parameters"]
    options = of(comparison, *words, "--options", "task=ES", "n_layers=1")
    options.entries = comparison.entries(options)
    assert [one.label for one in options.entries] == ["dprnn_tiny mamba", "dprnn_tiny lstm"]
    wanted = parameters_of(get_model("dprnn_tiny", n_layers=1, num_sources=1))  # of task ES
    for one in options.entries:
        sizes = {key: value for key, value in one.options.items() if key != "preset"}
        found = parameters_of(get_model("dprnn_tiny", n_layers=1, num_sources=1, **sizes))
        assert abs(found / wanted - 1) < 0.02 and f"{found:,} parameters" in one.size and sizes["mixer"] in one.label
    run = comparison.make_run(options, options.entries[1], 7)
    assert run.name == "dprnn_tiny_lstm_seed7" and run.options["mixer"] == "lstm" and run.options["seed"] == 7


def test_a_recipe_file_from_anywhere(comparison, tmp_path):
    file = tmp_path / "best.yaml"
    base = RECIPES / "PolSESS" / "hparams" / "spmamba_tiny.yaml"
    file.write_text(f"base: {os.path.relpath(base, tmp_path)}\nlr: 0.002\n")
    options = of(comparison, "PolSESS", "--hparams", str(file), "spmamba_tiny", "--options", "task=ES")
    found = comparison.entries(options)
    assert [one.label for one in found] == ["best", "spmamba_tiny"]
    runs = [comparison.make_run(options, one, 1) for one in found]
    assert [run.hparams for run in runs] == [str(file), "hparams/spmamba_tiny.yaml"]


NAMES = {
    "a file": (["--hparams", "spmamba_tny"], "no such file; PolSESS/hparams has .*Did you mean 'spmamba_tiny'"),
    "a path": (["--hparams", "none/best.yaml"], "none/best.yaml: no such file"),
    "a preset": (["--hparams", "spmamba_tiny:dprn_tiny"], "dprn_tiny"),
    "a mixer": (["--hparams", "spmamba_tiny", "--mixers", "lstn"], "got 'lstn'. Did you mean 'lstm'"),
    "a mixer that does not fit": (["--hparams", "convtasnet_mini", "--mixers", "lstm"], "mixer"),
    "an option": (["--hparams", "spmamba_tiny", "--options", "task=ES", "lrr=1"], "unknown option --lrr. Did you mean"),
    "a value": (["--hparams", "spmamba_tiny", "--options", "task=XX"], "task"),
    "a measure": (
        ["--hparams", "spmamba_tiny", "--options", "task=ES", "test_metrics=[si_sdr]", "--measures", "pesq"],
        "--measures pesq: the test has si_sdr. Change test_metrics",
    ),
    "one name twice": (["--hparams", "spmamba_tiny", "spmamba_tiny"], "two lines would have the name spmamba_tiny"),
    "a match without mixers": (["--hparams", "spmamba_tiny", "--match", "macs"], "--match needs --mixers"),
    "a folder": (
        ["--hparams", "spmamba_tiny", "--options", "task=ES", "--data_folder", "none"],
        "none: no such folder",
    ),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_name_is_found_before_the_first_run(comparison, monkeypatch, tmp_path, name):
    words, message = NAMES[name]
    monkeypatch.setattr(comparison, "run_all", lambda *_, **__: pytest.fail("a run was started"))
    data = [] if "--data_folder" in words else ["--data_folder", str(tmp_path)]
    with pytest.raises(UserError, match=message):
        comparison.main(["PolSESS", *words, *data, "--steps", "1", *comparison.places])
    assert not (tmp_path / "out").exists() and not (tmp_path / "RESULTS.md").exists()


def test_without_results_all_is_written_into_the_output_folder(comparison, tmp_path):
    options = comparison.parse(
        ["PolSESS", "--hparams", "a", "--data_folder", "x", "--steps", "1", "--output", str(tmp_path / "mine")]
    )
    assert options.results is None and options.output == (tmp_path / "mine" / "PolSESS").resolve()


def test_what_is_left_and_how_long_it_takes(comparison, tmp_path):
    options = of(comparison, "PolSESS", "--hparams", "spmamba_tiny", "--options", "task=ES")
    options.entries, options.minutes, options.jobs = comparison.entries(options), 10.0, 2
    runs = [comparison.make_run(options, options.entries[0], seed) for seed in (1, 2, 3)]
    each = 10.0 + comparison.EXTRA_MINUTES
    assert comparison.minutes_left(options, runs) == 2 * each, "two at a time"
    options.second_test = tmp_path / "test.csv"
    assert comparison.minutes_left(options, runs) == 2 * each + 3 * comparison.SECOND_MINUTES
    runs[0].folder.mkdir(parents=True)
    for name in ("summary.json", "train_time.json", "learning_curve.csv", "per_utterance.csv"):
        (runs[0].folder / name).touch()
    assert comparison.minutes_left(options, runs) == each + 2 * comparison.SECOND_MINUTES
    assert f"takes about {comparison.minutes_left(options, runs):.0f} min" in comparison.plan(options, runs)
