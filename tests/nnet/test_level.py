"""Levels: equal to torch's std, honest at the edges, finite gradients."""

import pytest
import torch

from lobes.nnet.level import fit_level, item_level, to_unit_level


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


# ---- the level that fits a mixture


@pytest.mark.parametrize("gains", [[1.0, 1.0], [16.0, -0.02], [1e-6, 1e6]])
def test_sources_at_any_gain_come_back_to_the_level_at_which_they_make_the_mixture(gains):
    sources = torch.randn(2, 4000, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 0.1])
    fitted = fit_level(sources * torch.tensor(gains), sources.sum(-1))
    assert torch.allclose(fitted, sources, rtol=1e-4, atol=1e-6)


def test_in_noise_the_level_is_that_of_the_speech_within_a_decibel():
    generator = torch.Generator().manual_seed(0)
    sources, noise = torch.randn(1, 8000, 2, generator=generator), torch.randn(1, 8000, generator=generator)
    for jointly in (True, False):
        fitted = fit_level(20 * sources, sources.sum(-1) + noise, jointly)
        ratio = 20 * torch.log10(fitted.std(1) / sources.std(1))
        assert ratio.abs().max() < 1


def test_each_alone_fits_the_mixture_and_jointly_their_sum_does():
    x = torch.randn(1, 500, generator=torch.Generator().manual_seed(0))
    same = torch.stack([3 * x, x], -1)
    assert torch.allclose(fit_level(same, x, jointly=False), x[..., None].expand(1, 500, 2), atol=1e-5)
    assert torch.allclose(fit_level(same, x), torch.stack([0.75 * x, 0.25 * x], -1), atol=1e-5)  # the ratio stays


def test_nearly_equal_estimates_get_no_large_gains_of_opposite_sign():
    generator = torch.Generator().manual_seed(0)
    x, y, mix = torch.randn(3, 1, 4000, generator=generator)
    fitted = fit_level(torch.stack([x + 0.01 * y, x - 0.01 * y], -1), x + mix)
    assert fitted.std(1).max() < 1.1 * x.std()


def test_silence_and_padding():
    x = torch.randn(2, 100, 2, generator=torch.Generator().manual_seed(0))
    assert not fit_level(x, torch.zeros(2, 100)).any() and not fit_level(0 * x, x[..., 0]).any()
    half = torch.stack([x[..., 0], torch.zeros(2, 100)], -1)
    assert torch.allclose(fit_level(9 * half, x[..., 0]), half, atol=1e-5)
    padded = x.clone()
    padded[0, 40:] = float("nan")
    alone = fit_level(x[:1, :40], x[:1, :40, 0])
    fitted = fit_level(padded, padded[..., 0], samples=torch.tensor([40, 100]))
    assert torch.allclose(fitted[:1, :40], alone, atol=1e-6) and torch.isfinite(fitted[1]).all()
