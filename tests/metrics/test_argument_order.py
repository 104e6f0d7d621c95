"""STOI, ESTOI and PESQ are not symmetric: the estimate is judged against the target, as the libraries themselves do."""

import numpy as np
import pesq
import pystoi
import pytest

from lobes.metrics import measures

RATE = 8000


@pytest.fixture(scope="module")
def pair(voice):
    """An estimate that is noise where its target is silent."""
    target = voice(2)
    target[: len(target) // 2] *= 1e-3
    return target + 0.05 * np.random.default_rng(0).standard_normal(len(target)), target


ORACLES = {
    "stoi": lambda target, estimate: pystoi.stoi(target, estimate, RATE),
    "estoi": lambda target, estimate: pystoi.stoi(target, estimate, RATE, extended=True),
    "pesq": lambda target, estimate: pesq.pesq(RATE, target.astype("f4"), estimate.astype("f4"), "nb"),
}


@pytest.mark.parametrize("name", ORACLES)
def test_the_estimate_is_judged_against_the_target(pair, name):
    estimate, target = (x / np.abs(x).max() for x in pair)
    right, swapped = ORACLES[name](target, estimate), ORACLES[name](estimate, target)
    assert abs(right - swapped) > 0.03
    assert getattr(measures, name)(*pair, RATE) == pytest.approx(right, abs=0.005)
