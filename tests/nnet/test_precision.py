"""Islands of full precision: what is widened, and that autocast is off inside and on again behind."""

import pytest
import torch

from lobes.nnet.precision import at_least_fp32, no_autocast


@pytest.mark.parametrize("outer", [torch.bfloat16, torch.float16])
def test_products_inside_keep_the_precision_of_their_factors(outer):
    x = torch.full((2, 2), 1 + 2.0**-12)  # rounds to one in both half precisions
    with torch.autocast("cpu", dtype=outer):
        with no_autocast(x):
            inside = x @ x
        behind = x @ x
    assert inside.dtype == torch.float32 and bool((inside > 2).all())
    assert behind.dtype == outer


def test_only_half_precision_is_widened():
    widened = {dtype: at_least_fp32(torch.ones(1, dtype=dtype)).dtype for dtype in (torch.bfloat16, torch.float16)}
    assert set(widened.values()) == {torch.float32}
    for dtype in (torch.float32, torch.float64):
        x = torch.ones(1, dtype=dtype)
        assert at_least_fp32(x) is x
