"""The compiled convolution with SiLU against its slow twin, with all gradients."""

import pytest
import torch

from lobes.nnet import depthwise
from lobes.nnet.depthwise import conv_silu, conv_silu_reference


def results(function, x, weight, bias, seed, **options):
    """Output and all gradients."""
    inputs = [tensor.clone().requires_grad_() for tensor in (x, weight, bias)]
    y = function(inputs[0][..., : weight.shape[0]], inputs[1], inputs[2], **options)  # a strided view
    return [y, *torch.autograd.grad(y, inputs, seed)]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("steps", [1, 2, 9, 40])
@pytest.mark.parametrize("channels, taps", [(5, 4), (32, 4), (70, 2), (64, 1)])
def test_equals_the_twin_with_gradients(reverse, steps, channels, taps):
    assert depthwise._kernels() is not None
    generator = torch.Generator().manual_seed(0)
    shapes = [(3, steps, channels + 7), (channels, 1, taps), (channels,), (3, steps, channels)]
    x, weight, bias, seed = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    slow = results(conv_silu_reference, x, weight, bias, seed, reverse=reverse)
    fast = results(conv_silu, x.float(), weight.float(), bias.float(), seed.float(), reverse=reverse)
    for got, expected in zip(fast, slow, strict=True):
        assert (got - expected).abs().max() <= 2e-6 * expected.abs().max()


def test_two_threads_give_the_same(monkeypatch):
    monkeypatch.setattr("lobes.kernels.threads.SMALL", 0)
    inputs = torch.randn(5, 9, 47), torch.randn(40, 1, 4), torch.randn(40), torch.randn(5, 9, 40)
    one = results(conv_silu, *inputs)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    for got, expected in zip(results(conv_silu, *inputs), one, strict=True):
        assert torch.allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_reverse_is_flip_conv_flip():
    x, weight, bias = torch.randn(2, 7, 5), torch.randn(5, 1, 4), torch.randn(5)
    expected = conv_silu_reference(x.flip(1), weight, bias).flip(1)
    assert torch.allclose(conv_silu(x, weight, bias, reverse=True), expected, atol=1e-6)


def test_a_nan_reaches_its_channel_alone():
    x = torch.randn(1, 12, 40)
    x[0, 5, 33] = float("nan")
    y = conv_silu(x, torch.randn(40, 1, 4), torch.randn(40))
    assert y.isnan().nonzero()[:, 1:].tolist() == [[step, 33] for step in range(5, 9)]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_types_take_the_twin(dtype):
    x, weight, bias = torch.randn(2, 7, 5), torch.randn(5, 1, 4), torch.randn(5)
    y = conv_silu(x.to(dtype), weight.to(dtype), bias.to(dtype))
    assert y.dtype == dtype and torch.allclose(y.float(), conv_silu(x, weight, bias), atol=0.1)


def test_without_vectors_the_twin_runs(monkeypatch):
    monkeypatch.setattr(depthwise, "_kernels", lambda: None)
    x, weight, bias = torch.randn(2, 7, 5), torch.randn(5, 1, 4), torch.randn(5)
    assert torch.equal(conv_silu(x, weight, bias), conv_silu_reference(x, weight, bias))
