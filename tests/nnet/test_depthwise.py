"""The compiled convolution with SiLU against its slow form, with all gradients; and as an operator of PyTorch."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.checkpoint import checkpoint

from lobes.nnet import depthwise
from lobes.nnet.depthwise import conv_silu, conv_silu_reference


def results(function, x, weight, bias, gradient, **options):
    """Output and all gradients."""
    inputs = [tensor.clone().requires_grad_() for tensor in (x, weight, bias)]
    y = function(inputs[0][..., : weight.shape[0]], inputs[1], inputs[2], **options)  # a strided view
    return [y, *torch.autograd.grad(y, inputs, gradient)]


def normal(*shapes, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]


def assert_close(got, expected):
    for one, other in zip(got, expected, strict=True):
        assert one.shape == other.shape and torch.allclose(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("steps", [1, 2, 9, 40])
@pytest.mark.parametrize("channels, taps", [(5, 4), (32, 4), (70, 2), (64, 1)])
def test_equals_the_reference_with_gradients(reverse, steps, channels, taps):
    assert depthwise.engine() is not None
    x, weight, bias, gy = normal((3, steps, channels + 7), (channels, 1, taps), (channels,), (3, steps, channels))
    slow = results(conv_silu_reference, x, weight, bias, gy, reverse=reverse)
    fast = results(conv_silu, x.float(), weight.float(), bias.float(), gy.float(), reverse=reverse)
    for got, expected in zip(fast, slow, strict=True):
        assert got.dtype == torch.float32
        assert (got - expected).abs().max() <= 2e-6 * expected.abs().max()


def test_two_threads_give_the_same(monkeypatch):
    monkeypatch.setattr("lobes.kernels.threads.SMALL", 0)
    inputs = torch.randn(5, 9, 47), torch.randn(40, 1, 4), torch.randn(40), torch.randn(5, 9, 40)
    one = results(conv_silu, *inputs)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert_close(results(conv_silu, *inputs), one)


def test_reverse_is_flip_conv_flip():
    x, weight, bias = torch.randn(2, 7, 5), torch.randn(5, 1, 4), torch.randn(5)
    expected = conv_silu_reference(x.flip(1), weight, bias).flip(1)
    assert torch.allclose(conv_silu(x, weight, bias, reverse=True), expected, atol=1e-6)


def test_a_nan_reaches_its_channel_alone():
    x = torch.randn(1, 12, 40)
    x[0, 5, 33] = float("nan")
    y = conv_silu(x, torch.randn(40, 1, 4), torch.randn(40))
    assert y.isnan().nonzero()[:, 1:].tolist() == [[step, 33] for step in range(5, 9)]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_other_types_take_the_reference(dtype):
    x, weight, bias = torch.randn(2, 7, 5), torch.randn(5, 1, 4), torch.randn(5)
    y = conv_silu(x.to(dtype), weight.to(dtype), bias.to(dtype))
    assert torch.equal(y, conv_silu_reference(x.to(dtype), weight.to(dtype), bias.to(dtype)))


@pytest.mark.parametrize("weights", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("channels, taps", [(5, 4), (64, 3), (70, 2)])
def test_bfloat16_equals_the_reference_with_gradients(channels, taps, reverse, weights):
    """Rows are rounded once, when they are written: half a unit in the last place of bfloat16 is 2^-9."""
    shapes = (3, 21, channels + 7), (channels, 1, taps), (channels,), (3, 21, channels)
    x, weight, bias, gy = (tensor.bfloat16() for tensor in normal(*shapes))
    given = (x, weight.to(weights), bias.to(weights), gy)
    slow = results(conv_silu_reference, *(tensor.double() for tensor in given), reverse=reverse)
    fast = results(conv_silu, *given, reverse=reverse)
    for got, expected, like in zip(fast, slow, (x, *given), strict=False):
        bound = 2**-8 if got.dtype == torch.bfloat16 else 2e-6
        assert got.dtype == like.dtype and (got - expected).abs().max() <= bound * expected.abs().max()


def test_bfloat16_has_the_bits_of_float32_rounded():
    x, weight, bias, gy = normal((3, 9, 47), (40, 1, 4), (40,), (3, 9, 40), dtype=torch.float32)
    half, gradient = x.bfloat16(), gy.bfloat16()
    fast = results(conv_silu, half, weight, bias, gradient)
    slow = results(conv_silu, half.float(), weight, bias, gradient.float())
    for got, expected in zip(fast, slow, strict=True):
        assert torch.equal(got, expected.to(got.dtype))


def test_where_the_pass_cannot_read_bfloat16_the_reference_runs(monkeypatch):
    monkeypatch.setattr("lobes.kernels.half_rows.half_rows_work", lambda: False)
    x, weight, bias = (torch.randn(shape).bfloat16() for shape in ((2, 7, 5), (5, 1, 4), (5,)))
    assert torch.equal(conv_silu(x, weight, bias), conv_silu_reference(x, weight, bias))


def test_without_an_engine_the_reference_runs(monkeypatch):
    monkeypatch.setattr(depthwise, "engine", lambda: None)
    x, weight, bias = torch.randn(2, 7, 5), torch.randn(5, 1, 4), torch.randn(5)
    assert torch.equal(conv_silu(x, weight, bias), conv_silu_reference(x, weight, bias))


def test_an_engine_that_is_wrong_is_not_used(monkeypatch, caplog):
    found = depthwise.engine()
    original = found.backward
    monkeypatch.setattr(found, "backward", lambda *args: [1.01 * part for part in original(*args)])
    depthwise.engine.cache_clear()
    with caplog.at_level(logging.WARNING, logger="lobes.nnet"):
        assert depthwise.engine() is None
    depthwise.engine.cache_clear()
    assert "does not work here (a small call of lobes.kernels.depthwise_engine is off by 1.0e-02)" in caplog.text


@pytest.mark.parametrize("steps", [1, 9])
@pytest.mark.parametrize("reverse", [False, True])
def test_opcheck(reverse, steps):
    x, weight, bias = normal((2, steps, 12), (5, 1, 4), (5,), dtype=torch.float32)
    given = [tensor.requires_grad_() for tensor in (x[..., :5], weight, bias)]
    torch.library.opcheck(torch.ops.lobes.conv_silu.default, (*given, reverse))


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("reverse", [False, True])
def test_compiles_as_one_graph(backend, reverse):
    inputs = normal((3, 9, 47), (40, 1, 4), (40,), (3, 9, 40), dtype=torch.float32)

    def function(*tensors):
        return 2 * conv_silu(*tensors, reverse)

    compiled = torch.compile(function, fullgraph=True, backend=backend)
    assert_close(results(compiled, *inputs), results(function, *inputs))


def test_exports_with_any_batch_and_length():
    class Convolution(torch.nn.Module):
        def forward(self, x, weight, bias):
            return conv_silu(x, weight, bias)

    def inputs(batch, steps):
        return tuple(normal((batch, steps, 8), (8, 1, 4), (8,), dtype=torch.float32))

    sizes = {0: torch.export.Dim("batch", min=1, max=64), 1: torch.export.Dim("steps", min=1, max=4096)}
    exported = torch.export.export(Convolution(), inputs(2, 20), dynamic_shapes=(sizes, None, None)).module()
    assert torch.ops.lobes.conv_silu.default in [node.target for node in exported.graph.nodes]
    for batch, steps in ((1, 1), (2, 16), (3, 33)):
        assert_close([exported(*inputs(batch, steps))], [conv_silu(*inputs(batch, steps))])


def test_checkpointing():
    inputs = normal((3, 9, 47), (40, 1, 4), (40,), (3, 9, 40), dtype=torch.float32)

    def recomputed(*tensors):
        return checkpoint(conv_silu, *tensors, use_reentrant=False)

    for got, expected in zip(results(recomputed, *inputs), results(conv_silu, *inputs), strict=True):
        assert torch.equal(got, expected)


def test_second_derivatives_are_refused():
    x, weight, bias = (t.requires_grad_() for t in normal((1, 4, 3), (3, 1, 2), (3,), dtype=torch.float32))
    (gradient,) = torch.autograd.grad(conv_silu(x, weight, bias).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError):
        gradient.sum().backward()


@pytest.mark.parametrize("shape", [(0, 5, 8), (2, 0, 8)])
def test_nothing_to_convolve(shape):
    y, gx, gweight, gbias = results(conv_silu, *normal(shape, (8, 1, 4), (8,), shape, dtype=torch.float32))
    assert y.shape == gx.shape == shape
    assert not gweight.any() and not gbias.any()


def test_tensors_without_values_give_a_shape():
    depthwise.engine.cache_clear()  # it must also be found while such tensors are about
    with FakeTensorMode():
        y = conv_silu(torch.empty(2, 5, 8), torch.empty(8, 1, 4), torch.empty(8))
    assert y.shape == (2, 5, 8)


def test_importing_the_convolution_does_not_import_numba():
    program = "import sys, lobes.nnet.depthwise; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
