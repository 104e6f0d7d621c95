"""Curve, meter and early stopping."""

import math
from itertools import permutations

import pytest

from lobes.training.progress import EarlyStopping, GroupMeter, LearningCurve


def test_curve_forgets_what_a_resumed_run_takes_again(tmp_path):
    curve = LearningCurve(tmp_path / "curve.csv")
    for step in (10, 20, 30):
        curve.add({"step": step, "train_loss": -1.0})
    curve.forget_after(20)
    curve.add({"step": 30, "train_loss": -2.0})
    assert [(row["step"], row["train_loss"]) for row in curve.rows()] == [("10", "-1"), ("20", "-1"), ("30", "-2")]


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
