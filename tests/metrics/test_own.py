"""Measures of your own: what they are called with, and names that lead nowhere."""

import numpy as np
import pytest

from lobes.errors import UserError
from lobes.metrics import score

RATE = 8000


def peak_over_target(estimate, target, rate):
    """Not symmetric, and of the size of the rate."""
    return rate * np.abs(estimate).max() / np.abs(target).max()


def test_a_measure_gets_the_estimate_then_the_target_then_the_rate():
    target = np.random.default_rng(0).standard_normal((4000, 1))
    row = score(2 * target, target, target[:, 0], RATE, metrics=(f"{__name__}:peak_over_target",))
    assert row["peak_over_target"] == pytest.approx(2 * RATE) and row["status"] == "ok"


@pytest.mark.parametrize("name", ["no_such_module:peak", f"{__name__}:no_such_function"])
def test_a_name_that_leads_nowhere(name):
    signal = np.random.default_rng(0).standard_normal((4000, 1))
    with pytest.raises(UserError, match=f"metric {name}: cannot be imported .*Expected package.module:function"):
        score(signal, signal, signal[:, 0], RATE, metrics=(name,))
