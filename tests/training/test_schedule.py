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


def adam(lr=1.0, weight_decay=0.0):
    weight = torch.zeros(1, requires_grad=True)
    weight.grad = torch.ones(1)
    return torch.optim.AdamW([weight], lr=lr, weight_decay=weight_decay, betas=(0.9, 0.99))


def continued(first, optimizer, *built, **options):
    """A schedule on another optimizer, with the state of a first one; both are loaded as a checkpoint's are."""
    second = WarmupSchedule(optimizer, *built, **options)
    optimizer.load_state_dict(first.optimizer.state_dict())
    second.load_state_dict(first.state_dict())
    return second


def plateau(factor=0.5, patience=0):
    return lambda o: ReduceLROnPlateau(o, mode="max", factor=factor, patience=patience)


def test_another_rate_and_decay_are_those_of_the_command_and_the_rest_is_the_checkpoints():
    first = WarmupSchedule(adam(0.1), plateau())
    for metric in (1.0, 0.5):  # the second halves the rate
        first.optimizer.step()
        first.after_step()
        first.after_epoch(metric)
    other = adam(0.4, weight_decay=0.3)
    built = continued(first, other, plateau())
    [group] = other.param_groups
    assert built.lr == pytest.approx(0.2) and group["weight_decay"] == 0.3 and group["betas"] == (0.9, 0.99)
    assert built.scheduler.best == 1.0 and built.steps == 2
    assert other.state[group["params"][0]]["step"] == 2
    built.after_epoch(0.9)  # worse than the best of the first run
    assert built.lr == pytest.approx(0.1)


@pytest.mark.parametrize("factory, again", [
    (None, lambda o: ExponentialLR(o, 0.5)), (plateau(), None), (plateau(), lambda o: ExponentialLR(o, 0.5)),
])  # fmt: skip
def test_another_scheduler_starts_from_the_rate_of_the_command(factory, again):
    first = WarmupSchedule(adam(), factory)
    for metric in (1.0, 0.5):
        first.optimizer.step()
        first.after_epoch(metric)
    second = continued(first, adam(), again)
    assert second.lr == 1.0
    second.optimizer.step()
    second.after_epoch(0.0)
    assert second.lr == (0.5 if again else 1.0)


def test_the_settings_of_a_scheduler_are_those_of_the_command():
    first = WarmupSchedule(adam(), plateau(factor=0.5))
    for metric in (1.0, 0.5):
        first.optimizer.step()
        first.after_epoch(metric)
    second = continued(first, adam(), plateau(factor=0.1, patience=1))
    rates = [second.lr]
    for _ in range(2):
        second.after_epoch(0.0)
        rates.append(second.lr)
    assert rates == pytest.approx([0.5, 0.5, 0.05])


def test_a_longer_budget_lifts_the_cosine_from_the_first_step_on():
    short, long = Budget(max_epochs=100, max_steps=2), Budget(max_epochs=100, max_steps=4)
    first = WarmupSchedule(adam(), lambda o: BudgetCosine(o, short), interval="step")
    for _ in range(2):
        first.optimizer.step()
        short.count_step(0.01)
        first.after_step()
    assert first.lr == 0.0
    long.steps = 2
    second = continued(first, adam(), lambda o: BudgetCosine(o, long), interval="step")
    assert second.lr == pytest.approx(0.5)
