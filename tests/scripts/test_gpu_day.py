"""scripts/gpu_day.py: rows that are there are not done again, failures stay apart, and a call ends in time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from lobes.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
ABOUT = {"commit": "c0ffee", "machine": "a fast one", "command": "python scripts/gpu_day.py"}
LATE, EARLY = 0.0, float("inf")


@pytest.fixture
def rows(load, monkeypatch):
    """gpu_day_rows with a part of three rows, `calls` of which it counts; what `ends` has is raised."""
    module = load("gpu_day_rows")
    module.calls, module.ends = [], {}

    def work(label):
        def run():
            module.calls.append(label)
            if label in module.ends:
                raise module.ends[label]
            return {"value": len(label)}

        return run

    fake = SimpleNamespace(SECONDS=60.0, rows=lambda settings: {name: work(name) for name in ("a x", "b", "c x")})
    monkeypatch.setattr(module, "part", lambda number: fake)
    return module


def begun(rows, tmp_path, dry=True):
    file = rows.PartFile(rows.path_of(tmp_path, 2))
    file.begin({**ABOUT, "part": 2}, dry)
    return file


def work_off(rows, tmp_path, *words, until=EARLY, minutes=9.0):
    begun(rows, tmp_path)
    return rows.work_off(2, rows.Settings(tmp_path, dry=True), list(words), until, minutes)


def content(tmp_path):
    return json.loads((tmp_path / "part_2.json").read_text())


def test_rows_are_kept_and_not_done_again(rows, tmp_path):
    assert work_off(rows, tmp_path) == rows.DONE
    assert content(tmp_path)["finished"] and content(tmp_path)["rows"]["a x"]["value"] == 3
    assert work_off(rows, tmp_path) == rows.DONE
    assert rows.calls == ["a x", "b", "c x"] and content(tmp_path)["commit"] == "c0ffee"


def test_a_row_that_fails_does_not_lose_the_others_and_is_done_again(rows, tmp_path):
    rows.ends["b"] = RuntimeError("no\n  kernel")
    assert work_off(rows, tmp_path) == rows.DONE
    assert content(tmp_path)["rows"]["b"]["failed"] == "RuntimeError: no kernel" and len(content(tmp_path)["rows"]) == 3
    rows.ends.clear()
    assert work_off(rows, tmp_path) == rows.DONE
    assert rows.calls == ["a x", "b", "c x", "b"]
    assert not [row for row in content(tmp_path)["rows"].values() if "failed" in row]


def test_words_choose_rows(rows, tmp_path):
    assert work_off(rows, tmp_path, "x") == rows.DONE
    assert rows.calls == ["a x", "c x"] and not content(tmp_path)["finished"]


def test_no_row_starts_that_may_outlast_the_call(rows, tmp_path):
    assert work_off(rows, tmp_path, until=time.time() + 59) == rows.LEFT and rows.calls == []
    assert work_off(rows, tmp_path, until=time.time() + 70) == rows.DONE
    rows.calls.clear()
    (tmp_path / "part_2.json").unlink()
    assert work_off(rows, tmp_path, until=time.time() + 59, minutes=1.0) == rows.DONE  # it never fits a whole call


def test_a_device_that_no_longer_answers_needs_a_new_process(rows, tmp_path, monkeypatch):
    rows.ends["a x"] = RuntimeError("an illegal memory access was encountered")
    monkeypatch.setattr(rows, "usable", lambda device: False)
    assert work_off(rows, tmp_path) == rows.AGAIN
    assert rows.calls == ["a x"]


def test_a_part_that_cannot_be_loaded_says_why(rows, tmp_path, monkeypatch):
    def gone(number):
        raise ModuleNotFoundError("No module named 'speechbrain'")

    monkeypatch.setattr(rows, "part", gone)
    assert work_off(rows, tmp_path) == rows.DONE
    assert "speechbrain" in content(tmp_path)["rows"]["start"]["failed"]


def test_results_of_another_commit_or_of_a_dry_run_are_refused(rows, tmp_path):
    begun(rows, tmp_path)
    with pytest.raises(UserError, match="has dry True, and this call False. Give another folder"):
        begun(rows, tmp_path, dry=False)
    with pytest.raises(UserError, match="has commit c0ffee, and this call decaf"):
        rows.PartFile(rows.path_of(tmp_path, 2)).begin({**ABOUT, "commit": "decaf"}, True)


# ------------------------------------------------------------------ the command
@pytest.fixture
def day(load, monkeypatch, tmp_path):
    """The program; `play` says how the processes of its parts end and what they leave, and calls it."""
    module = load("gpu_day")
    module.started = []

    def play(*ends, words=("--parts", "2")):
        left = iter(ends)

        def in_a_process(number, options, until, log):
            module.started.append(number)
            file = module.PartFile(module.path_of(tmp_path, number))
            code, values = next(left)
            file.content.update(values.pop("set", {}))
            file.rows.update(values)
            file.save()
            return code

        monkeypatch.setattr(module, "in_a_process", in_a_process)
        return module.main(["-o", str(tmp_path), "--dry", *words])

    module.play = play
    return module


def test_the_exit_code_says_how_the_rows_ended(day, tmp_path, capsys):
    assert day.play((0, {"a": {}, "set": {"finished": True}})) == 0
    assert day.play() == 0 and "done before" in capsys.readouterr().out
    (tmp_path / "part_2.json").unlink()
    assert day.play((3, {"a": {}})) == 3
    assert day.play((0, {"b": {"failed": "no kernel"}}), (3, {}), words=("--parts", "2", "4")) == 1
    assert "part 2: 1 rows; failed in b" in capsys.readouterr().out and day.started == [2, 2, 2, 4]


def test_a_process_that_dies_fails_one_row_and_another_goes_on(day, tmp_path):
    assert day.play((-11, {"set": {"running": "a"}}), (4, {"b": {"failed": "x"}}), (0, {"c": {}})) == 1
    found = content(tmp_path)["rows"]
    assert "exit code -11: see gpu_day.log" in found["a"]["failed"] and set(found) == {"a", "b", "c"}


def test_a_process_that_is_ended_in_order_leaves_its_row_for_the_next_call(day, tmp_path, monkeypatch):
    monkeypatch.setattr(day.time, "time", iter([0.0, 0.0] + 9 * [1e9]).__next__)
    assert day.play((128 + signal.SIGTERM, {"set": {"running": "a"}})) == 3
    assert content(tmp_path)["rows"] == {}


def test_without_a_gpu_it_is_one_line(day, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UserError, match="finds no CUDA device here. Give --dry"):
        day.main(["-o", str(tmp_path)])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "words, message",
    [
        (["--parts", "6"], "there are parts 0 to 5"),
        (["--peer", "x.tar"], "--peer x.tar: no such file"),
        (["--dri"], "Did you mean '--dry'"),
    ],
)
def test_mistakes_are_one_line(day, words, message):
    with pytest.raises(UserError, match=message):
        day.main(words)


def test_the_whole_way_in_processes(tmp_path):
    """The facts in a dry run: the JSON file, the log, and a second call that does nothing."""
    command = [sys.executable, ROOT / "scripts" / "gpu_day.py", "-o", tmp_path, "--dry", "--parts", "0", "--rows"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for _ in range(2):
        done = subprocess.run([*command, "facts", "copy"], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "part_0.json").read_text())
    assert found["dry"] and set(found["rows"]) == {"facts", "copy"} and found["rows"]["facts"]["backends"]["torch"]
    assert (tmp_path / "gpu_day.log").read_text().count("0 copy: done") == 1
