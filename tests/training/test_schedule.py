"""Warm-up composes with any torch scheduler."""

import math

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, ExponentialLR, ReduceLROnPlateau

from lobes.errors import UserError
from lobes.training.budget import Budget
from lobes.training.schedule import BudgetCosine, WarmupSchedule


def optimizer(lr=1.0):
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)


def test_warmup_is_linear_then_full():
    schedule = WarmupSchedule(optimizer(), None, warmup_steps=4)
    rates = []
    for _ in range(6):
        rates.append(schedule.lr)
        schedule.optimizer.step()
        schedule.after_step()
    assert rates == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


def test_recursive_scheduler_is_not_disturbed_by_warmup():
    # CosineAnnealingLR computes each rate from the last one in the optimizer.
    alone = optimizer()
    cosine = CosineAnnealingLR(alone, T_max=10)
    schedule = WarmupSchedule(optimizer(), lambda o: CosineAnnealingLR(o, T_max=10), warmup_steps=5, interval="step")
    for step in range(1, 9):
        for each in (alone, schedule.optimizer):
            each.step()
        cosine.step()
        schedule.after_step()
        share = min(1.0, (step + 1) / 5)
        assert schedule.lr == pytest.approx(alone.param_groups[0]["lr"] * share)


def test_plateau_steps_on_the_metric_and_nan_is_worst():
    schedule = WarmupSchedule(optimizer(), lambda o: ReduceLROnPlateau(o, mode="max", factor=0.5, patience=0))
    for metric, expected in ((1.0, 1.0), (2.0, 1.0), (math.nan, 0.5), (3.0, 0.5)):
        schedule.after_epoch(metric)
        assert schedule.lr == expected


def test_budget_cosine_follows_the_budget():
    budget = Budget(max_epochs=100, max_steps=4)
    schedule = WarmupSchedule(optimizer(), lambda o: BudgetCosine(o, budget), interval="step")
    rates = []
    for _ in range(4):
        schedule.optimizer.step()
        budget.count_step(0.01)
        schedule.after_step()
        rates.append(schedule.lr)
    assert rates == pytest.approx([0.5 * (1 + math.cos(math.pi * k / 4)) for k in (1, 2, 3, 4)])


@pytest.mark.parametrize("factory", [None, lambda o: ExponentialLR(o, 0.9), lambda o: ReduceLROnPlateau(o, mode="max")])
def test_state_survives(factory):
    first = WarmupSchedule(optimizer(), factory, warmup_steps=3)
    for metric in (1.0, 0.5):
        first.optimizer.step()
        first.after_step()
        first.after_epoch(metric)
    second = WarmupSchedule(optimizer(), factory, warmup_steps=3)
    second.load_state_dict(first.state_dict())
    assert second.lr == first.lr
    for each in (first, second):
        each.optimizer.step()
        each.after_step()
        each.after_epoch(0.1)
    assert second.lr == first.lr


def test_unknown_interval_is_refused():
    with pytest.raises(UserError, match="'step' or 'epoch'"):
        WarmupSchedule(optimizer(), None, interval="batch")
