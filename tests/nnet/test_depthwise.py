"""The fast depthwise convolution against its slow twin, with all gradients."""

import pytest
import torch

from lobes.nnet.depthwise import depthwise_conv, depthwise_conv_reference


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("steps", [1, 2, 9])
def test_equals_the_twin_with_gradients(reverse, steps):
    generator = torch.Generator().manual_seed(0)
    wide = torch.randn(3, steps, 10, generator=generator, dtype=torch.float64)
    weight = torch.randn(5, 1, 4, generator=generator, dtype=torch.float64)
    bias = torch.randn(5, generator=generator, dtype=torch.float64)
    seed = torch.randn(3, steps, 5, generator=generator, dtype=torch.float64)
    results = []
    for function in (depthwise_conv, depthwise_conv_reference):
        inputs = [t.clone().requires_grad_() for t in (wide, weight, bias)]
        y = function(inputs[0][..., :5], inputs[1], inputs[2], reverse)  # a strided view
        results.append([y, *torch.autograd.grad(y, inputs, seed)])
    for fast, slow in zip(*results, strict=True):
        assert torch.allclose(fast, slow, atol=1e-12)


def test_reverse_is_flip_conv_flip():
    x, weight, bias = torch.randn(2, 7, 5), torch.randn(5, 1, 4), torch.randn(5)
    expected = depthwise_conv_reference(x.flip(1), weight, bias).flip(1)
    assert torch.allclose(depthwise_conv(x, weight, bias, reverse=True), expected, atol=1e-6)


def test_autocast_takes_the_twin():
    x, weight, bias = torch.randn(2, 7, 5), torch.randn(5, 1, 4), torch.randn(5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = depthwise_conv(x.bfloat16(), weight, bias)
    assert torch.allclose(y.float(), depthwise_conv(x, weight, bias), atol=0.1)
