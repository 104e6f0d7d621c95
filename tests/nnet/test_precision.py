"""Islands of full precision: what is widened, and that autocast is off inside and on again behind."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lobes.nnet.mamba import Mamba
from lobes.nnet.precision import at_least_fp32, in_autocast, no_autocast


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


def test_autocast_converts_what_it_would_convert_itself():
    """Not float64, which its products leave alone."""
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        x = torch.ones(2, 2, dtype=dtype)
        assert in_autocast(x) is x
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert in_autocast(x).dtype == (dtype if dtype == torch.float64 else torch.bfloat16)


class Conversions(TorchDispatchMode):
    """Counts the conversions of tensors of one shape."""

    def __init__(self, shape):
        super().__init__()
        self.shape, self.types = shape, []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is torch.ops.aten._to_copy.default and args[0].shape == self.shape:
            self.types.append(kwargs["dtype"])
        return function(*args, **(kwargs or {}))


def test_both_halves_of_a_mamba_input_share_one_conversion():
    mamba, x = Mamba(12), torch.randn(2, 5, 12, requires_grad=True) * 2  # no leaf: autocast keeps those itself
    with Conversions(x.shape) as seen, torch.autocast("cpu", dtype=torch.bfloat16):
        y = mamba(x)
    assert seen.types == [torch.bfloat16]
    with Conversions(x.shape) as seen:
        y.backward(torch.ones_like(y))
    assert seen.types == [torch.float32]
