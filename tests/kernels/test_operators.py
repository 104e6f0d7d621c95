"""Operators made of functions: no gradient is no silent zero, and PyTorch's compiler stays out of a separation."""

import subprocess
import sys

import pytest
import torch

from lobes.kernels.operators import operator
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
