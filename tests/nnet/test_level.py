"""Levels: equal to torch's std, honest at the edges, finite gradients."""

import pytest
import torch

from lobes.nnet.level import item_level, to_unit_level


def test_centred_level_is_the_unbiased_standard_deviation():
    x = torch.randn(3, 500, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 2
    assert torch.allclose(item_level(x, centred=True), x.std(1, keepdim=True), rtol=1e-13, atol=0)


@pytest.mark.parametrize("centred", [False, True])
def test_level_reads_only_the_valid_samples(centred):
    x = torch.randn(2, 50, generator=torch.Generator().manual_seed(0))
    alone = item_level(x[:1, :20], centred=centred)
    x[0, 20:] = float("nan")
    assert torch.allclose(item_level(x, torch.tensor([20, 50]), centred)[:1], alone)


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1e6, 1e30])
def test_level_scales_with_the_signal_at_any_amplitude(scale):
    x = torch.randn(1, 100, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(item_level(x * scale, centred=True), item_level(x, centred=True) * scale, rtol=1e-5, atol=0)


@pytest.mark.parametrize("x", [torch.full((1, 9), 0.3), torch.tensor([[-0.5]])])
def test_a_constant_signal_has_its_rms_as_level(x):
    assert torch.allclose(item_level(x, centred=True), x[:, :1].abs())


@pytest.mark.parametrize("centred", [False, True])
def test_silence_has_level_zero_and_a_finite_gradient(centred):
    x = torch.zeros(1, 9, requires_grad=True)
    level = item_level(x, centred=centred)
    (level + to_unit_level(x, level)).sum().backward()
    assert level.item() == 0
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("centred", [False, True])
def test_gradient_of_the_level(centred):
    x = torch.randn(2, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: item_level(x, torch.tensor([6, 4]), centred), x)
