"""Curve, meter and early stopping."""

import math
from itertools import permutations

import pytest

from lobes.errors import UserError
from lobes.training.progress import EarlyStopping, GroupMeter, LearningCurve, TrainLog


def test_curve_forgets_what_a_resumed_run_does_again(tmp_path):
    curve = LearningCurve(tmp_path / "curve.csv")
    for epoch in (1, 2, 3):
        curve.add({"step": 20, "epoch": epoch, "train_loss": -1.0})
    curve.keep_until(2)
    curve.add({"step": 20, "epoch": 3, "train_loss": -2.0})
    assert [(row["epoch"], row["train_loss"]) for row in curve.rows()] == [("1", "-1"), ("2", "-1"), ("3", "-2")]


@pytest.mark.parametrize(
    "content", [b"\xff\xfe\0a", b"a,b\n1,2\n", b"step;epoch\n4;1\n", b"step,epoch\n4,inf\n", b"step,epoch\n4\n"]
)
def test_a_file_that_is_no_curve_is_one_line(content, tmp_path):
    curve = LearningCurve(tmp_path / "curve.csv")
    curve.path.write_bytes(content)
    with pytest.raises(UserError, match="curve.csv: is no learning curve"):
        curve.keep_until(1)
    assert curve.path.read_bytes() == content


def test_log_forgets_what_a_resumed_run_does_again_and_keeps_what_it_did_not_write(tmp_path):
    log = TrainLog(tmp_path / "train_log.txt")
    log.path.write_bytes(b"my own note \xff\n")
    for epoch in (1, 2, 12):
        log.add(f"epoch {epoch}, step 20, 1 s: train loss -1.00")
    log.keep_until(2)
    log.add("epoch 3, step 20, 1 s: train loss -2.00")
    lines = log.path.read_bytes().splitlines()
    assert lines[0] == b"my own note \xff" and [line.split()[1] for line in lines[1:]] == [b"1,", b"2,", b"3,"]


def test_a_part_of_the_loss_that_appears_later_gets_a_column(tmp_path):
    curve = LearningCurve(tmp_path / "curve.csv")
    curve.add({"step": 10, "train_loss": -1.0})
    curve.add({"step": 20, "train_loss": -2.0, "train_metric": 0.5})
    assert [row["train_metric"] for row in curve.rows()] == ["", "0.5"]


def test_meter_mean_is_unweighted_over_groups():
    meter = GroupMeter()
    meter.add(["SER"] * 3 + ["SE"], si_sdr=[1.0, 2.0, 3.0, 10.0])
    assert meter.per_group("si_sdr") == {"SE": 10.0, "SER": 2.0}
    assert meter.mean("si_sdr") == 6.0


def test_meter_counts_what_is_missing():
    meter = GroupMeter()
    meter.add(["R", "R"], si_sdri=[math.nan, 4.0])
    assert meter.mean("si_sdri") == 4.0 and meter.missing == 1
    assert math.isnan(GroupMeter().mean("si_sdri"))  # never 0.0, which would look like a score


@pytest.mark.parametrize("history", list(permutations([5.0, 7.0, math.nan])))
def test_nan_is_never_the_best(history):
    stopping = EarlyStopping(patience=None)
    for metric in history:
        stopping.update(metric)
    assert stopping.best == 7.0


def test_stopping_state_survives(tmp_path):
    stopping = EarlyStopping(patience=2)
    stopping.update(3.0)
    stopping.update(1.0)
    stopping.save(tmp_path / "stopping")
    again = EarlyStopping(patience=2)
    again.load(tmp_path / "stopping")
    assert again.update(2.0) and again.exhausted


def test_the_order_of_scores_does_not_change_their_mean():
    """Ranks take them in another order."""
    scores = [0.1, 0.2, 0.3, 1e16, -1e16]
    meters = [GroupMeter(), GroupMeter(), GroupMeter()]
    meters[0].add([""] * 5, si_sdr=scores)
    meters[1].add([""] * 3, si_sdr=[1e16, math.nan, 0.3])
    meters[2].add([""] * 3, si_sdr=[0.2, -1e16, 0.1])
    meters[1].take(meters[2])
    assert meters[0].mean("si_sdr") == meters[1].mean("si_sdr") == pytest.approx(0.12)
    assert meters[1].missing == 1
