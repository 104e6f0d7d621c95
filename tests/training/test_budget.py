"""The training budget counts training only and survives a checkpoint."""

import time

import pytest

from lobes.errors import UserError
from lobes.training.budget import Budget


def test_steps_and_epochs_end_whichever_first():
    budget = Budget(max_epochs=2, max_steps=10)
    for step in range(1, 4):
        budget.count_step(epoch_share=step / 4)
    assert budget.progress == pytest.approx(0.375)  # 3/4 of an epoch in 2 is more than 3 steps in 10
    assert not budget.spent
    for _ in range(7):
        budget.count_step(epoch_share=1.0)
    assert budget.spent and budget.progress == 1.0


def test_clock_stands_still_outside_training():
    budget = Budget(max_epochs=1, max_minutes=1.0)
    budget.start_clock()
    time.sleep(0.02)
    budget.stop_clock()
    trained = budget.seconds
    time.sleep(0.02)
    assert not budget.spent
    assert 0.02 <= trained == budget.seconds


def test_minutes_are_spent():
    budget = Budget(max_epochs=100, max_minutes=0.0001)
    budget.start_clock()
    time.sleep(0.02)
    assert budget.spent


def test_state_survives(tmp_path):
    budget = Budget(max_epochs=3, max_steps=9)
    budget.count_step(0.5)
    budget.seconds = 12.5
    budget.save(tmp_path / "budget")
    again = Budget(max_epochs=3, max_steps=9)
    again.load(tmp_path / "budget")
    assert (again.steps, again.seconds, again.epochs) == (1, 12.5, 0.5)


@pytest.mark.parametrize("limit", [{"max_steps": 0}, {"max_minutes": -1.0}])
def test_limits_must_be_positive(limit):
    with pytest.raises(UserError, match="must be positive"):
        Budget(max_epochs=1, **limit)
