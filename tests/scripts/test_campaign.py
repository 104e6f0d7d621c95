"""The parts of `make campaign`: where it kills, what it compares, and what it writes. test_kills.py runs it."""

import importlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPTS = Path(__file__).parents[2] / "scripts"
NUMBERS = {"batches": 56, "start": 30, "batch": 56, "save": 400, "tables": 20, "validation": 8, "test": 11}


@pytest.fixture
def part(monkeypatch):
    """part("campaign_life"): a module of the command."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module


@pytest.fixture
def life(part, tmp_path):
    """life(kill): one that writes into the test's folder, with an empty board."""
    module = part("campaign_life")

    def make(kill=None):
        module.Board.clear(tmp_path / "board")
        return module.Life(str(tmp_path), ["a"], str(tmp_path / "run"), str(tmp_path / "board"), kill)

    return make


@pytest.fixture
def run(tmp_path):
    """A finished run folder with one checkpoint."""
    checkpoint = tmp_path / "run" / "save" / "CKPT+1"
    checkpoint.mkdir(parents=True)
    (checkpoint / "CKPT.yaml").write_text("end-of-epoch: true\nunixtime: 1.0\n")
    (checkpoint / "budget.ckpt").write_text('{"steps": 4, "seconds": 2.5}')
    torch.save({"conv": torch.ones(3)}, checkpoint / "separator.ckpt")
    torch.save({"state": {0: {"step": torch.tensor(4.0)}}, "groups": [{"lr": 0.1}]}, checkpoint / "optimizer.ckpt")
    (tmp_path / "run" / "learning_curve.csv").write_text("step,seconds,train_loss\n4,2.5,1.25\n")
    (tmp_path / "run" / "train_log.txt").write_text("epoch 1, step 4, 2 s: train loss 1.25\n")
    (tmp_path / "run" / "per_utterance.csv").write_text("id,si_sdr\na,1\n")
    (tmp_path / "run" / "summary.json").write_text('{"n": 1}')
    return tmp_path / "run"


def test_a_life_is_read_as_it_was_written(part, life, tmp_path):
    module = part("campaign_life")
    one = life(module.Kill("save", 3, 0.01, rank=1))
    one.write(tmp_path / "life.json")
    assert module.Life.read(tmp_path / "life.json") == one


def test_moments_are_changes_below_the_run_folder_sorted_by_phase_and_place(part, life, tmp_path):
    watch = part("campaign_life").Watch(life(), rank=0)
    writes, run = os.O_WRONLY | os.O_CREAT, tmp_path / "run"
    watch.on_event("open", (run / "hyperparams.yaml", "w", writes))
    watch.phase = "train"
    for event, arguments in (
        ("open", (run / "save" / "a", "w", writes)),
        ("os.rename", (str(run / "save" / "a"), str(run / "save" / "b"), -1, -1)),
        ("os.remove", ("b", 7)),  # by the descriptor of its folder, as shutil.rmtree does
        ("open", (run / "learning_curve.csv", "w", writes)),
        ("open", (run / "learning_curve.csv", "r", os.O_RDONLY)),
        ("open", (tmp_path / "elsewhere", "w", writes)),
        ("open", (7, "w", writes)),
    ):
        watch.on_event(event, arguments)
    watch.phase = "test"
    watch.on_event("open", (run / "summary.json", "w", writes))
    counted = {kind: watch.board.get(kind) for kind in ("start", "save", "tables", "test")}
    assert counted == {"start": 1, "save": 3, "tables": 1, "test": 1}
    assert watch.board.said() == "test 1: open summary.json"


@pytest.mark.parametrize("delay", [0.0, 0.01])
def test_a_process_dies_at_its_moment_and_its_counts_stay(delay, part, life, tmp_path):
    module = part("campaign_life")
    one = life(module.Kill("start", 2, delay))
    one.write(tmp_path / "life.json")
    code = (
        "import sys, time, pathlib, campaign_life as c; life = c.Life.read(pathlib.Path(sys.argv[1]));"
        "watch = c.Watch(life, 0); sys.addaudithook(watch.on_event); run = pathlib.Path(life.run); run.mkdir()\n"
        "(run / 'a').write_text('1'); (run / 'b').write_text('2') if not life.kill.delay else time.sleep(20)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "life.json")], cwd=SCRIPTS)
    board = module.Board(tmp_path / "board")
    assert done.returncode == -signal.SIGKILL and board.get("killed") == 1 and board.said() == "start 2: open a"
    assert not (tmp_path / "run" / "b").exists()
    again = module.Watch(module.Life.read(tmp_path / "life.json"), 0)
    assert again.kill is None  # torchrun starts a rank again: it is killed once


def test_kills_are_drawn_by_the_seed_within_what_a_run_has(part):
    draw, kinds = part("campaign_runs").draw, part("campaign_life").KINDS
    draws = [draw(random.Random(seed), NUMBERS, 2) for seed in range(600)]
    assert draws == [draw(random.Random(seed), NUMBERS, 2) for seed in range(600)]
    assert {kill.kind for kill in draws} == set(kinds) and {kill.rank for kill in draws} == {0, 1}
    assert all(1 <= kill.number <= NUMBERS[kill.kind] and 0 <= kill.delay <= 0.03 for kill in draws)
    assert {kill.kind for kill in draws if kill.rank == 1} == {"start", "batch", "validation"}
    assert 0.3 < sum(kill.delay > 0 for kill in draws) / 600 < 0.5


def test_clocks_and_the_way_of_packing_are_no_difference(part, run):
    module = part("campaign_outcome")
    before = module.outcome(run)
    (run / "learning_curve.csv").write_text("step,seconds,train_loss\n4,99.5,1.25\n")
    (run / "train_log.txt").write_text("epoch 1, step 4, 99 s: train loss 1.25\n")
    (run / "save" / "CKPT+1").rename(run / "save" / "CKPT+2")
    checkpoint = run / "save" / "CKPT+2"
    weights = {"conv": torch.ones(3)}
    torch.save(weights, checkpoint / "separator.ckpt", _use_new_zipfile_serialization=False)
    assert module.differences(json.loads(json.dumps(module.outcome(run))), before) == []


CHANGES = {
    "weights": ("save/CKPT+1/separator.ckpt", {"conv": torch.tensor([1, 1, 1 + 2**-23])}),
    "optimizer": ("save/CKPT+1/optimizer.ckpt", {"state": {0: {"step": torch.tensor(5.0)}}, "groups": [{"lr": 0.1}]}),
    "kept": ("save/CKPT+1/budget.ckpt", '{"steps": 5}'),
    "table": ("per_utterance.csv", "id,si_sdr\na,2\n"),
    "summary": ("summary.json", '{"n": 2}'),
    "leftovers": ("save/.partial", ""),
    "curve": ("learning_curve.csv", "step,seconds,train_loss\n4,2.5,1.26\n"),
    "log": ("train_log.txt", "epoch 1, step 4, 2 s: train loss 1.25\n" * 2),
}


@pytest.mark.parametrize("name", CHANGES)
def test_every_difference_is_seen(name, part, run):
    module = part("campaign_outcome")
    before, (path, content) = module.outcome(run), CHANGES[name]
    (run / path).write_text(content) if isinstance(content, str) else torch.save(content, run / path)
    assert module.differences(module.outcome(run), before) == [name]


def test_a_missing_file_is_a_difference(part, run):
    module = part("campaign_outcome")
    before = module.outcome(run)
    shutil.rmtree(run / "save")
    assert {"weights", "optimizer", "kept"} <= set(module.differences(module.outcome(run), before))


def record(configuration, kinds, lost=(), differs=()):
    kills = [{"kind": kind, "fresh": kind == "save", "place": kind} for kind in kinds]
    lost = [{"after": "save 3: open CKPT.yaml", "words": word, "folder": ""} for word in lost]
    return {"configuration": configuration, "kills": kills, "lost": lost, "differs": list(differs), "repeated": 6}


def test_the_section_counts_what_was_found(part, tmp_path):
    from lobes.reports.tables import replace_section

    runs = [
        record("a", ["start", "save", "save", "batch"]),
        record("a", ["test"], lost=["EOFError: x"], differs=["no end"]),
        record("b", ["batch"], differs=["curve"]),
    ]
    head = {"command": "python scripts/campaign.py", "commit": "abc", "seed": 1, "machine": "CPU"}
    result = {**head, "references": {"a": {"repeats": None}, "b": {"repeats": False}}, "runs": runs}
    table = part("campaign_table")
    replace_section(tmp_path / "page.md", "campaign", table.section(result))
    page = (tmp_path / "page.md").read_text()
    assert "`python scripts/campaign.py`, commit abc; seed 1; CPU." in page
    assert "| a | 5 | 2 | 1 | 2 | 1 of 2 | 1 of 2 | 2.4 |" in page
    assert "| b | 1 | 0 | 0 | 1 | 1 of 1 | 0 of 1 | 6.0 |" in page
    assert "| all | 6 | 2 | 1 | 3 | 2 of 3 | 1 of 3 | 3.0 |" in page
    assert "| in a save | 2 |" in page and "- a: lost after save 3: open CKPT.yaml: EOFError: x" in page
    assert "- b: two undisturbed runs differ as well" in page
    assert "kills: 6" in table.verdict(result) and "starts lost: 1" in table.verdict(result)


def test_only_the_same_command_on_the_same_commit_goes_on(part, tmp_path):
    known = part("campaign").known_result
    head = {"command": "c", "commit": "abc", "seed": 1}
    (tmp_path / "r.json").write_text(json.dumps({**head, "runs": [1]}))
    assert known(tmp_path / "r.json", head)["runs"] == [1]
    assert known(tmp_path / "r.json", {**head, "seed": 2}) == known(tmp_path / "none.json", head) == {}
    (tmp_path / "r.json").write_text(json.dumps({**head, "commit": "abc+"}))
    assert known(tmp_path / "r.json", {**head, "commit": "abc+"}) == {}


def test_shares_sum_to_the_kills(part):
    campaign = part("campaign")
    weights = {name: configuration.share for name, configuration in campaign.CONFIGURATIONS.items()}
    assert sum(weights.values()) == 100
    assert all(sum(campaign.shares_of(weights, kills).values()) == kills for kills in range(1, 210))
