"""The real-speech table: every run once, resumable, and a section of RESULTS.md that is replaced, not doubled."""

import importlib
import shutil
import sys
from pathlib import Path

import pytest

from lobes.errors import UserError

RECIPE = Path(__file__).parents[2] / "recipes" / "PolSESS"


@pytest.fixture
def recipe(monkeypatch, tmp_path, second_tests):
    """The module, with a stand-in for training and corpora; `call` runs it."""
    monkeypatch.syspath_prepend(RECIPE)
    monkeypatch.delitem(sys.modules, "realdata", raising=False)
    module = importlib.import_module("realdata")
    script = shutil.copy(Path(__file__).with_name("fake_train.py"), tmp_path / "train.py")
    monkeypatch.setattr(module, "TRAIN_SCRIPT", Path(script))
    monkeypatch.setattr(module, "make_data", lambda data, task, output: output / "corpora" / f"real_{task.lower()}")
    module.tested = second_tests(module, module.out_of_domain_corpus)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "manifest.csv").write_text("path,split\n")
    places = ["--recordings", tmp_path / "data", "--output", tmp_path / "out", "--results", tmp_path / "RESULTS.md"]
    module.call = lambda *options: module.main([str(word) for word in (*places, *options)])
    return module


def starts(tmp_path):
    return {path.parent.name: len(path.read_text().splitlines()) for path in tmp_path.glob("out/*/*/starts.txt")}


def test_eight_runs_and_their_table(recipe, tmp_path, capsys):
    recipe.call("--minutes", 0.1)
    models = ("spmamba_mini", "convtasnet_tiny")
    assert starts(tmp_path) == {f"{m}_{t}_seed{s}": 1 for m in models for t in ("ES", "SB") for s in (1, 2)}
    text = (tmp_path / "RESULTS.md").read_text()
    assert text.count("| spmamba_mini, seed 1 | 3.00 | 4.50 | 1.50 | 75 % |") == 2
    assert "SER+SE" in text and "c0ffee" in text and "a fast one" in text and "0.1 min" in text
    assert "`python realdata.py --recordings data --preset spmamba_mini" in text and str(tmp_path) not in text
    assert "takes about" in capsys.readouterr().out


def test_every_run_has_a_second_test_and_both_stand_in_the_table(recipe, tmp_path):
    recipe.call("--minutes", 0.1, "--seeds", 1)
    assert {path.name for path in recipe.tested} == set(starts(tmp_path)) and len(recipe.tested) == 4
    text = (tmp_path / "RESULTS.md").read_text()
    assert text.count("| spmamba_mini | SI-SDR | - | - | - | 6.50 | 7.50 | 1.00 [") == 2  # the stand-in has no input
    assert (
        text.count("| pesq | - | - | 0.00 [0.00, 0.00] | no difference is shown |") == 2
        and "Polish of 24 voices" in text
    )


def test_a_second_call_does_only_what_is_missing_and_replaces_the_section(recipe, tmp_path):
    recipe.call("--minutes", 0.1, "--tasks", "SB")
    (tmp_path / "out" / "real_sb" / "spmamba_mini_SB_seed2" / "summary.json").unlink()
    recipe.call("--minutes", 0.1, "--tasks", "SB")
    assert starts(tmp_path) == {
        f"{m}_SB_seed{s}": 1 + (m == "spmamba_mini" and s == 2)
        for m in ("spmamba_mini", "convtasnet_tiny")
        for s in (1, 2)
    }
    text = (tmp_path / "RESULTS.md").read_text()
    assert text.count("### Real speech") == 1 and "Task ES" not in text


def test_two_jobs_get_one_thread_and_twice_the_minutes(recipe):
    options = recipe.parse(["--jobs", "2"])
    assert (options.threads, options.minutes) == (1, 20.0)
    options = recipe.parse([])
    assert (options.threads, options.minutes) == (2, 10.0)


def test_steps_are_a_budget_of_their_own_and_said_in_the_table(recipe):
    options = recipe.parse(["--steps", "7", "--seeds", "1"])
    run = recipe.make_run(options, Path("real_es"), "ES", "spmamba_mini", 1)
    assert run.options["max_steps"] == 7 and "max_minutes" not in run.options
    assert recipe.budget(options) == "7 steps" and "takes about" not in recipe.plan(options)
    with pytest.raises(UserError, match="one budget"):
        recipe.parse(["--steps", "7", "--minutes", "1"])


def test_other_minutes_do_not_continue_old_runs(recipe):
    recipe.call("--minutes", 0.1)
    with pytest.raises(UserError, match="max_minutes: there 0.1, now 0.2"):
        recipe.call("--minutes", 0.2)


def test_a_wrong_folder_is_named(recipe, tmp_path):
    with pytest.raises(UserError, match="nowhere: no manifest.csv.*--recordings FOLDER"):
        recipe.find_recordings(tmp_path / "nowhere")


def test_the_recordings_must_be_named_before_anything_is_made(recipe, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(recipe, "RECORDINGS", tmp_path / "none")
    with pytest.raises(
        UserError, match="--recordings is missing.*manifest.csv with the columns path and split.*recordings.py FOLDER"
    ) as error:
        recipe.main(["--output", str(tmp_path / "out")])
    assert "\n" not in str(error.value) and not (tmp_path / "out").exists() and capsys.readouterr().out == ""


def test_recordings_in_their_usual_place_need_no_option(recipe, monkeypatch, tmp_path):
    monkeypatch.setattr(recipe, "RECORDINGS", tmp_path / "data")
    assert recipe.find_recordings(None) == tmp_path / "data"


def test_variant_c_counts_only_where_there_is_something_to_improve(recipe):
    assert recipe.counted_variants("ES") == recipe.counted_variants("EB") == ("SER", "SR", "ER", "R", "SE", "S", "E")
    assert recipe.counted_variants("SB")[-1] == "C"


def test_the_tables_of_es_leave_variant_c_out(recipe, tmp_path):
    recipe.call("--minutes", 0.1)
    es, sb = (tmp_path / "RESULTS.md").read_text().split("Task ES:")[1].split("Task SB:")
    assert "| model | SER | SE | SER+SE |" in es and "| model | SER | SE | C | SER+SE |" in sb


def test_sounds_are_staged_by_class_in_the_split_of_the_manifest(recipe, realdata, tmp_path):
    corpora = sys.modules["realdata_corpora"]
    folder = corpora.stage_sounds(realdata, corpora.SCENES, tmp_path / "scenes")
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*.flac")}
    assert "train/home/doing_the_dishes.flac" in files and "test/home/exercise_bike.flac" in files
    for split in ("train", "val", "test"):
        assert {path.name for path in (folder / split).iterdir()} == set(corpora.SCENES)
    names = [Path(name).name for name in files]
    assert len(names) == len(set(names)) == 3 + 4 * 6


@pytest.mark.slow
def test_the_corpus_of_real_speech(realdata, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(RECIPE)
    monkeypatch.delitem(sys.modules, "realdata_corpora", raising=False)
    module = importlib.import_module("realdata_corpora")
    monkeypatch.setattr(module, "COUNTS", {"train": 12, "val": 4, "test": 4})
    folder = module.make_data(realdata, "SB", tmp_path)
    assert folder == tmp_path / "corpora" / "real_sb" and len(list((folder / "train" / "mix").glob("*.wav"))) == 12
    assert module.make_data(realdata, "SB", tmp_path) == folder
