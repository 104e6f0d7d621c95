"""Sweeps with real processes: workers on one storage, a killed one whose trial goes on, pruning, the results."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
import yaml

from lobes.errors import UserError

pytest.importorskip("optuna", reason="the extra hpo is not installed")

STORAGES = ("trials.db", "trials.journal")
LONG_S = 400


def study_of(file: Path, place, folder: Path):
    from lobes.sweep.storage import open_study
    from lobes.sweep.sweep_file import read_sweep

    return open_study(read_sweep(file), str(place), folder)


def wait_for(condition, process) -> None:
    deadline = time.monotonic() + LONG_S
    while not condition():
        assert time.monotonic() < deadline and process.poll() is None, process.communicate()[0]
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("storage", STORAGES)
def test_two_workers_share_the_trials_and_write_the_results(sweep_file, start, tmp_path, storage):
    place = tmp_path / storage
    both = [start(sweep_file, "--storage", place) for _ in range(2)]
    texts = [process.communicate(timeout=LONG_S)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], texts
    study = study_of(sweep_file, place, tmp_path)
    assert len(study.trials) == 6 and {trial.state.name for trial in study.trials} == {"COMPLETE"}
    assert len({trial.user_attrs["worker"]["pid"] for trial in study.trials}) == 2
    begun = [path.read_text().count("\n") for path in sorted(tmp_path.glob("out/trials/*/begun.txt"))]
    assert begun == [1] * 6
    best = max(study.trials, key=lambda trial: trial.params["lr"])
    assert study.best_trial.number == best.number and best.value == pytest.approx(10 * best.params["lr"] + 0.04)
    page = (tmp_path / "out" / "sweep.md").read_text()
    assert page.count("| trained |") == 6 and "![" in page and (tmp_path / "out" / "sweep.svg").is_file()
    found = yaml.safe_load((tmp_path / "out" / "best.yaml").read_text())
    assert found.pop("base") == "../recipes/quick/hparams/tiny.yaml"
    assert found == {"N_epochs": 4, "lr": best.params["lr"], "batch_size": int(best.params["batch_size"])}


@pytest.fixture
def here(sweep_file, monkeypatch, tmp_path):
    """here(*options): the command in this process; the trainings have processes of their own."""
    from lobes.sweep.command import run_sweep

    def call(*options, at_a_time=2, epoch_s=0.02):
        monkeypatch.setenv("EPOCH_S", str(epoch_s))
        run_sweep(sweep_file, tmp_path / "out", None, at_a_time, 1, options)

    return call


def test_the_best_recipe_resolves_to_the_values_of_the_best_trial(here, tmp_path):
    from lobes.config import load, resolve

    with pytest.raises(UserError, match="unknown option --trials"):
        here("trials=9")
    here("weight_decay=0.5", at_a_time=3)
    found = load(resolve(tmp_path / "out" / "best.yaml", {"data_folder": "x"}))
    assert found["weight_decay"] == 0.5 and found["N_epochs"] == 4
    words = (tmp_path / "out" / "sweep.md").read_text().split("|---:|---:|\n")[1].split(" | ")
    assert float(words[1]) == pytest.approx(10 * found["lr"] + 0.04, abs=6e-4)  # the last epoch is the best one
    begun = [path.stat().st_mtime_ns for path in tmp_path.glob("out/trials/*/begun.txt")]
    here("weight_decay=0.5")  # nothing is left
    assert len(begun) == 6 and begun == [path.stat().st_mtime_ns for path in tmp_path.glob("out/trials/*/begun.txt")]


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX systems")
@pytest.mark.parametrize("storage", STORAGES)
def test_the_trial_of_a_killed_worker_goes_on_in_its_folder(sweep_file, start, tmp_path, storage):
    place = tmp_path / storage
    sweep_file.write_text(sweep_file.read_text().replace("N_epochs: 4", "N_epochs: 30"))
    first = start(sweep_file, "--storage", place, epoch_s=2)  # its training goes on alone when it is killed
    curve = tmp_path / "out" / "trials" / "0000" / "learning_curve.csv"
    wait_for(lambda: curve.is_file() and curve.read_text().count("\n") >= 3, first)
    first.send_signal(signal.SIGKILL)
    first.wait()
    second = start(sweep_file, "--storage", place)
    text = second.communicate(timeout=LONG_S)[0]
    assert second.returncode == 0 and "trial 0: its worker has ended; it is taken up again" in text, text
    study = study_of(sweep_file, place, tmp_path)
    left, others = study.trials[0], study.trials[1:]
    assert left.state.name == "FAIL" and left.user_attrs["left"] and len(others) == 6
    again = next(trial for trial in others if trial.user_attrs.get("first") == 0)
    assert again.params == left.params and again.state.name == "COMPLETE" and len(again.intermediate_values) == 30
    folders = sorted(path.name for path in tmp_path.glob("out/trials/*"))
    assert len(folders) == 6 and (tmp_path / "out/trials/0000/begun.txt").read_text().count("\n") == 2


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX systems")
def test_a_stop_and_the_same_command_again(sweep_file, start, tmp_path):
    first = start(sweep_file, epoch_s=0.4)
    curve = tmp_path / "out" / "trials" / "0000" / "learning_curve.csv"
    wait_for(curve.is_file, first)
    first.send_signal(signal.SIGTERM)
    assert first.communicate(timeout=LONG_S) and first.returncode == 143
    again = start(sweep_file)
    assert again.communicate(timeout=LONG_S) and again.returncode == 0
    once_more = start(sweep_file)
    assert once_more.communicate(timeout=LONG_S) and once_more.returncode == 0
    assert len(list(tmp_path.glob("out/trials/*"))) == 6


def test_one_worker_chooses_the_same_values_each_time_also_after_a_stop(sweep_file, tmp_path):
    from lobes.sweep.owners import TrialWatch
    from lobes.sweep.queue import next_trial
    from lobes.sweep.sweep_file import read_sweep

    sweep, found = read_sweep(sweep_file), []
    for name in ("a", "b", "c"):
        study = study_of(sweep_file, tmp_path / f"{name}.db", tmp_path)
        for number in range(3):
            if name == "c" and number == 1:  # another process goes on
                study = study_of(sweep_file, tmp_path / "c.db", tmp_path)
            trial = next_trial(sweep, study, TrialWatch(), tmp_path)
            found.append((name, trial.params))
    by_name = [[params for one, params in found if one == name] for name in "abc"]
    assert by_name[0] == by_name[1] == by_name[2] and len({params["lr"] for params in by_name[0]}) == 3


def test_a_poor_trial_is_stopped(sweep_file, here, tmp_path, capsys):
    text = sweep_file.read_text().replace("pruning: null", "pruning: {after_trials: 2, after_epochs: 0}")
    sweep_file.write_text(text.replace("N_epochs: 4", "N_epochs: 20"))
    here(epoch_s=0.1)
    assert "stopped after epoch" in capsys.readouterr().out
    trials = study_of(sweep_file, tmp_path / "out" / "trials.db", tmp_path).trials
    assert {trial.state.name for trial in trials} == {"COMPLETE", "PRUNED"}
    whole = [trial for trial in trials if trial.state.name == "COMPLETE"]
    assert all(len(trial.intermediate_values) == 20 for trial in whole)
    assert "| stopped early |" in (tmp_path / "out" / "sweep.md").read_text()


def test_failures_are_named_and_three_in_a_row_end_the_worker(sweep_file, here, tmp_path):
    sweep_file.write_text(sweep_file.read_text().replace("low: 0.01, high: 0.5", "low: 0.91, high: 1.0"))
    with pytest.raises(UserError, match="3 trials in a row failed, .*exit code 1.*console.txt"):
        here()
    page = (tmp_path / "out" / "sweep.md").read_text()
    assert "Failed:" in page and page.count("exit code 1") >= 3 and not (tmp_path / "out" / "best.yaml").exists()


def test_a_storage_goes_on_with_the_sweep_that_it_holds(sweep_file, tmp_path):
    study_of(sweep_file, tmp_path / "a.db", tmp_path)
    sweep_file.write_text(sweep_file.read_text().replace("trials: 6", "trials: 9"))
    study_of(sweep_file, tmp_path / "a.db", tmp_path)  # more trials are fine
    sweep_file.write_text(sweep_file.read_text().replace("high: 0.5", "high: 0.4"))
    with pytest.raises(UserError, match="another sweep of the name quick: search differ"):
        study_of(sweep_file, tmp_path / "a.db", tmp_path)


def asked(sweep_file, place, folder, watch=None):
    """The next trial of a sweep, as a worker of this process takes it."""
    from lobes.sweep.owners import TrialWatch
    from lobes.sweep.queue import next_trial
    from lobes.sweep.sweep_file import read_sweep

    study = study_of(sweep_file, place, folder)
    return next_trial(read_sweep(sweep_file), study, watch or TrialWatch(), folder)


@pytest.mark.parametrize("storage", STORAGES)
def test_the_trial_of_a_silent_worker_elsewhere_is_taken_after_two_minutes(sweep_file, tmp_path, storage):
    from lobes.sweep.owners import TrialWatch
    from lobes.sweep.queue import number_of_folder

    place, seconds = tmp_path / storage, [0.0]
    watch = TrialWatch(clock=lambda: seconds[0])
    first = asked(sweep_file, place, tmp_path)
    first.set_user_attr("worker", {"host": "elsewhere", "pid": os.getpid(), "started": 0.0})
    taken = []
    for now, beat in ((0.0, 1), (119.0, 1), (125.0, 2), (240.0, 2), (246.0, 2)):
        seconds[0] = now
        if beat != first.user_attrs.get("beat"):
            first.set_user_attr("beat", beat)
        taken.append(asked(sweep_file, place, tmp_path, watch))
    assert [trial.user_attrs.get("first") for trial in taken] == [None, None, None, None, 0]
    assert taken[-1].params == first.params and number_of_folder(taken[-1]) == 0


def test_a_worker_whose_trial_was_taken_ends_its_training(sweep_file, tmp_path, monkeypatch):
    from optuna.trial import TrialState

    from lobes.sweep.queue import finish
    from lobes.sweep.sweep_file import read_sweep
    from lobes.sweep.trial_run import TrialRun, run_of

    monkeypatch.setenv("EPOCH_S", "30")
    sweep, place = read_sweep(sweep_file), tmp_path / "trials.db"
    trial = asked(sweep_file, place, tmp_path)
    run = TrialRun(sweep, trial, run_of(sweep, trial, tmp_path / "out", 1))
    wait_for((run.run.folder / "begun.txt").is_file, run.process)
    assert not run.poll() and not run.is_lost
    other = study_of(sweep_file, place, tmp_path)
    assert finish(other.trials[0], TrialState.FAIL, study=other)
    assert not finish(other.trials[0], TrialState.COMPLETE, 1.0, other)  # the first one counts
    run.beat()
    deadline = time.monotonic() + LONG_S
    while not run.poll() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert run.is_lost and run.process.poll() is not None
    assert study_of(sweep_file, place, tmp_path).trials[0].state == TrialState.FAIL


def test_no_more_trials_than_wanted_when_two_machines_take_the_last_one(sweep_file, tmp_path, monkeypatch):
    """Between a look at the number of trials and the new trial, another machine makes one."""
    from lobes.sweep.owners import TrialWatch
    from lobes.sweep.queue import counted, next_trial
    from lobes.sweep.sweep_file import read_sweep

    place = tmp_path / "trials.db"
    for _ in range(5):
        assert asked(sweep_file, place, tmp_path) is not None
    study, other = (study_of(sweep_file, place, tmp_path) for _ in range(2))
    ask = study.ask
    monkeypatch.setattr(study, "ask", lambda space: (other.ask(space), ask(space))[1])
    assert next_trial(read_sweep(sweep_file), study, TrialWatch(), tmp_path) is None
    assert len(counted(study)) == 6 and study.trials[6].user_attrs["surplus"]
    assert asked(sweep_file, place, tmp_path) is None and len(study.trials) == 7


def test_the_space_of_a_picture(sweep_file, here, tmp_path):
    """Every name and the ends of each range stand in the picture, which is the same each time."""
    here()
    picture = (tmp_path / "out" / "sweep.svg").read_text()
    assert all(f">{word}<" in picture for word in ("lr", "batch_size", "0.01", "0.5"))
    (tmp_path / "out" / "sweep.svg").unlink()
    here()
    assert (tmp_path / "out" / "sweep.svg").read_text() == picture
