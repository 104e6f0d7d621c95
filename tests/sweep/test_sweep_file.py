"""The file of a sweep: what it may say, and every mistake in one line before anything is trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from lobes.errors import UserError
from lobes.sweep.space import SearchList, SearchRange, typed
from lobes.sweep.sweep_file import read_sweep

ROOT = Path(__file__).resolve().parents[2]
GOOD = """recipe: PolSESS/spmamba_tiny.yaml
options: {task: ES, data_folder: data}
search:
    lr: {low: 1.0e-4, high: 1.0e-2, log: true}
    n_layers: {low: 1, high: 3}
    precision: [fp32, bf16]
trials: 4
"""


@pytest.fixture
def written(tmp_path):
    pytest.importorskip("optuna", reason="the extra hpo is not installed")

    def write(*changes):
        text = GOOD
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        return path

    return write


def test_what_it_says(written):
    sweep = read_sweep(written(), {"max_steps": "7"})
    assert sweep.recipe.parts[-3:] == ("PolSESS", "hparams", "spmamba_tiny.yaml") and sweep.name == "mine"
    assert sweep.search["lr"] == SearchRange(1e-4, 1e-2, log=True)
    assert sweep.search["n_layers"] == SearchRange(1, 3, whole=True)
    assert sweep.search["precision"] == SearchList(("fp32", "bf16"))
    assert sweep.options["max_steps"] == "7" and sweep.options["task"] == "ES"
    assert sweep.pruning == {"after_trials": 5, "after_epochs": 1} and (sweep.seed, sweep.trials) == (1234, 4)


@pytest.mark.parametrize("path", sorted((ROOT / "sweeps").glob("*.yaml")), ids=lambda path: path.name)
def test_the_files_that_come_along_fit_their_recipes(path):
    pytest.importorskip("optuna", reason="the extra hpo is not installed")
    assert read_sweep(path, {"data_folder": "x"}).trials > 1


def test_a_preset_may_be_searched(written):
    path = written(("precision: [fp32, bf16]", "preset: [spmamba_tiny, spmamba_mini]"))
    assert read_sweep(path).search["preset"].ends() == ["spmamba_tiny", "spmamba_mini"]


def test_folders_may_differ_when_a_sweep_goes_on(written):
    one, other = (read_sweep(written(), {"data_folder": place}) for place in ("a", "b"))
    assert one.fingerprint() == other.fingerprint() != read_sweep(written(), {"batch_size": "2"}).fingerprint()


MISTAKES = {
    "an unknown key": ([("trials:", "trails:")], "unknown key 'trails' of a sweep. Did you mean 'trials'"),
    "no recipe": ([("recipe: PolSESS/spmamba_tiny.yaml\n", "")], "recipe missing"),
    "a recipe that there is not": ([("spmamba_tiny", "spmamba_tny")], "no such recipe file.*Did you mean"),
    "no trials": ([("trials: 4", "trials: 0")], "trials: expected a whole number from 1 up, got 0"),
    "an option that there is not": ([("task: ES", "tsk: ES")], "mine.yaml: unknown option --tsk. Did you mean 'task'"),
    "a searched key that there is not": (
        [("n_layers", "n_layer")],
        "unknown option --n_layer. Did you mean 'n_layers'",
    ),
    "an end out of range": ([("low: 1, high: 3", "low: -1, high: 3")], "n_layers: expected a whole number"),
    "a value that there is not": ([("[fp32, bf16]", "[fp32, bf61]")], "precision: expected .* got 'bf61'"),
    "a preset that there is not": ([("precision: [fp32, bf16]", "preset: [spmamba_tin]")], "spmamba_tin"),
    "low above high": ([("low: 1, high: 3", "low: 3, high: 1")], "expected low below high"),
    "half a layer": ([("low: 1, high: 3", "low: 1, high: 2.5")], "expected whole numbers low and high"),
    "no high": ([("low: 1, high: 3", "low: 1")], "expected whole numbers low and high"),
    "a misspelt word of a range": ([("high: 3", "hihg: 3")], "unknown word 'hihg' of a range. Did you mean 'high'"),
    "a logarithm of zero": ([("1.0e-4", "0")], "with log: true low is above 0"),
    "neither list nor range": ([("[fp32, bf16]", "fp32")], "expected a list such as"),
    "a value twice": ([("[fp32, bf16]", "[fp32, fp32]")], "a value stands twice"),
    "a key under both": ([("task: ES", "task: ES, lr: 0.1")], "lr stands under search and under options"),
    "a folder of all trials": ([("task: ES", "task: ES, output_folder: x")], "output_folder: every trial has a folder"),
    "pruning by an unknown word": ([("trials: 4", "trials: 4\npruning: {after: 3}")], "pruning: expected"),
    "another sampler": ([("trials: 4", "trials: 4\nsampler: grid")], "sampler: expected tpe or random, got 'grid'"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(written, mistake):
    changes, message = MISTAKES[mistake]
    with pytest.raises(UserError, match=message) as caught:
        read_sweep(written(*changes))
    assert len(str(caught.value).splitlines()) == 1


def test_values_are_typed_as_on_a_command_line():
    from lobes.config.lists import read_list

    value = ["a, b", "c", [1, True, None]]
    assert read_list(typed(value)) == ["a, b", "c", ["1", "true", "null"]]
    assert typed({"phase": 0.3}) == "{phase: 0.3}" and typed(False) == "false"
