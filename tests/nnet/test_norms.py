"""Norms against plain formulas; statistics in fp32 under autocast; valid frames only."""

import pytest
import torch

from lobes.nnet.norms import LN4D, LN4DCF, MaskedGroupNorm, RMSNorm


def _random(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def _disturb(module):
    for i, p in enumerate(module.double().parameters()):
        p.data += _random(*p.shape) * 0.1 + i
    return module


def test_rms_norm():
    norm, x = _disturb(RMSNorm(5)), _random(2, 3, 5)
    expected = x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt() * norm.weight
    assert torch.allclose(norm(x), expected)


def test_ln4d_is_the_reference_formula_with_channels_last():
    norm, x = _disturb(LN4D(5)), _random(2, 5, 3, 7)
    mean, var = x.mean(1, keepdim=True), x.var(1, unbiased=False, keepdim=True)
    expected = (x - mean) / (var + 1e-5).sqrt() * norm.gamma + norm.beta
    assert torch.allclose(norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), expected)


def test_ln4dcf_is_the_reference_formula_with_channels_last():
    norm, x = _disturb(LN4DCF(5, 7)), _random(2, 5, 3, 7)
    mean, var = x.mean((1, 3), keepdim=True), x.var((1, 3), unbiased=False, keepdim=True)
    expected = (x - mean) / (var + 1e-5).sqrt() * norm.gamma + norm.beta
    assert torch.allclose(norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), expected)


def test_masked_group_norm_of_a_padded_item_is_that_of_the_item():
    norm, x = _disturb(MaskedGroupNorm(5)), _random(2, 5, 6, 7)
    alone = norm(x[:1, :, :4])
    x[0, :, 4:] = 1e3
    assert torch.allclose(norm(x, torch.tensor([4, 6]))[:1, :, :4], alone)
    assert torch.allclose(norm(x, torch.tensor([6, 6])), norm(x))


@pytest.mark.parametrize("norm", [RMSNorm(8), LN4D(8), LN4DCF(8, 8), MaskedGroupNorm(8)])
def test_statistics_are_fp32_under_autocast(norm):
    x = _random(2, 8, 8, 8).float() + 100  # in bf16, 100.1 is 100
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = norm(x)
    assert y.dtype == torch.float32
    assert torch.equal(y, norm(x))


@pytest.mark.parametrize("frames", [None, torch.tensor([2000])])
def test_the_group_norm_of_a_long_recording_keeps_its_digits(frames):
    """In channels_last, as a convolution leaves it, PyTorch's own adds everything up in one float32."""
    norm = MaskedGroupNorm(8)
    x = (1 + torch.randn(1, 8, 2000, 129, generator=torch.Generator().manual_seed(0))).to(
        memory_format=torch.channels_last
    )
    with torch.no_grad():
        single, double = norm(x, frames), norm.double()(x.double(), frames)
    assert (single - double).abs().max() < 2e-6
