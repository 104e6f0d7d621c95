"""Objectives under autocast: the values and the assignments are those of full precision."""

import pytest
import torch

from lobes.objectives.pit import pit_si_snr
from lobes.objectives.separation import separation_loss


@pytest.fixture
def close_call():
    """Estimates [B,T,S] that hold 0.02 % more of the other target than of their own: equal in half precision."""
    targets = torch.tensor([[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]]).repeat(100, 1)[None]  # orthogonal
    return targets + 1.0002 * targets.flip(-1), targets


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_assignment_is_made_in_full_precision(close_call, dtype):
    expected = pit_si_snr(*close_call)
    with torch.autocast("cpu", dtype=dtype):
        values, permutation = pit_si_snr(*close_call)
    assert expected[1].tolist() == [[1, 0]]
    assert torch.equal(permutation, expected[1]) and torch.equal(values, expected[0])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_loss_is_computed_in_full_precision(close_call, dtype):
    expected = separation_loss(*close_call)
    with torch.autocast("cpu", dtype=dtype):
        loss = separation_loss(*close_call)
    assert loss.dtype == torch.float32 and torch.equal(loss, expected)
