"""Operators made of functions: no gradient is no silent zero, and PyTorch's compiler stays out of a separation."""

import subprocess
import sys

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lobes.kernels.operators import caller, differentiate, operator
from lobes.nnet import depthwise

SEPARATION = """
import sys, numpy
from lobes.inference.measuring import open_model
open_model("spmamba_tiny").separate(numpy.ones(800, numpy.float32))
print([name for name in ("torch._dynamo", "torch._inductor", "sympy", "triton") if name in sys.modules])
"""


def test_an_operator_without_a_gradient_refuses_to_be_differentiated():
    @operator("test_thrice", "(Tensor x) -> Tensor")
    def thrice(x):
        return 3 * x

    y = torch.ops.lobes.test_thrice(torch.ones(2, requires_grad=True))
    assert y.tolist() == [3, 3]
    with pytest.raises(RuntimeError, match="test_thrice has no gradient"):
        y.sum().backward()


@pytest.fixture(scope="module")
def fourfold():
    """A call of an operator, and for each call whether it came through the dispatcher."""
    through = []

    @operator("test_fourfold", "(Tensor x) -> Tensor", differentiable=True)
    def function(x):
        through.append(torch._C._dispatch_tls_local_exclude_set().has(torch._C.DispatchKey.AutogradOther))
        return 4 * x

    differentiate("test_fourfold", lambda ctx, inputs, output: None, lambda ctx, g: 4 * g)
    return caller("test_fourfold"), through


@pytest.mark.parametrize("trained", [False, True])
def test_a_plain_tensor_goes_past_the_dispatcher(fourfold, trained):
    call, through = fourfold
    x = torch.ones(2, requires_grad=trained)
    y = call(x)
    assert y.tolist() == [4, 4] and not through[-1]
    if trained:
        y.sum().backward()
        assert x.grad.tolist() == [4, 4]


class Seen(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        self.names.append(str(function))
        return function(*arguments, **(options or {}))


def test_who_watches_sees_the_operator(fourfold):
    call, through = fourfold
    x = torch.ones(2, requires_grad=True)
    with Seen() as seen:
        call(x)
    assert seen.names[0] == "lobes.test_fourfold.default"
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiled:
        call(x)
    assert through[-1] and "lobes::test_fourfold" in {event.key for event in profiled.key_averages()}


def test_a_convolution_is_not_differentiated_twice():
    assert depthwise.engine() is not None
    x = torch.ones(1, 3, 2, requires_grad=True)
    y = depthwise.conv_silu(x, torch.ones(2, 1, 2), torch.zeros(2))
    (gradient,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="conv_silu_backward has no gradient"):
        gradient.sum().backward()


def test_a_separation_does_without_the_compiler():
    """It would take a second and 130 MB."""
    found = subprocess.run([sys.executable, "-c", SEPARATION], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
