"""Spectral losses: by hand, through wrapped phases, with silence and padding."""

from __future__ import annotations

import math

import pytest
import torch

from lobes.objectives.spectrum import WEIGHTS, compressed_spectrum_loss, phase_loss, published_loss


def parts(spectrum):
    return torch.stack((spectrum.real, spectrum.imag), 1)


def random_spectrum(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(seed))


def test_every_part_by_complex_numbers():
    e, c, r = (random_spectrum(2, 5, 9, seed=seed) for seed in range(3))
    waves = torch.randn(2, 2, 700, dtype=torch.float64)
    total, got = compressed_spectrum_loss(parts(e), parts(c), parts(r), *waves)
    error = e.angle() - c.angle()

    def wrapped(x):
        return torch.angle(torch.polar(torch.ones_like(x), x)).abs().mean((1, 2))

    expected = {
        "magnitude": (e.abs() - c.abs()).square().mean((1, 2)),
        "phase": wrapped(error) + wrapped(error.diff(dim=1)) + wrapped(error.diff(dim=2)),
        "complex": (e - c).abs().square().mean((1, 2)),
        "time": (waves[0] - waves[1]).abs().mean(1),
        "consistency": (e - r).abs().square().mean((1, 2)),
    }
    for name, value in expected.items():
        assert torch.allclose(got[name], value), name
    assert torch.allclose(total, sum(WEIGHTS[name] * value for name, value in expected.items()))


def test_a_part_without_weight_is_not_computed():
    x = parts(random_spectrum(1, 3, 4))
    _, got = compressed_spectrum_loss(x, x, x, *torch.zeros(2, 1, 100), weights={"magnitude": 1.0, "phase": 0.0})
    assert list(got) == ["magnitude"]


def test_whole_turns_cost_nothing():
    magnitude, phase = torch.ones(1, 4, 6), torch.rand(1, 4, 6) * 0.1 + math.pi - 0.05
    across_the_edge = torch.polar(magnitude, -phase)
    assert phase_loss(parts(torch.polar(magnitude, phase)), parts(across_the_edge)).item() < 0.7


def test_the_published_loss():
    e, c = random_spectrum(2, 5, 9).to(torch.complex64), random_spectrum(2, 5, 9, seed=1).to(torch.complex64)
    expected = 0.5 * (e - c).abs().mean((1, 2)) + 0.5 * (e.abs() ** 0.3 - c.abs() ** 0.3).abs().mean((1, 2))
    assert torch.allclose(published_loss(parts(e), parts(c)), expected, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_zeros_under_autocast_have_finite_gradients(dtype):
    """The published code took abs() + 1e-10 to the power 0.3 in half precision: 0/0 at the first silent bin."""
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        weight = torch.ones(1, 1, requires_grad=True)
        estimate = (torch.zeros(180, 1) @ weight).view(1, 2, 9, 10)
        target = torch.zeros(1, 2, 9, 10)
        loss = published_loss(estimate, target).sum()
        loss = loss + compressed_spectrum_loss(estimate.float(), target, target, *torch.zeros(2, 1, 50))[0].sum()
        loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(weight.grad).all()


def test_padding_does_not_count():
    e, c, r = (parts(random_spectrum(2, 6, 9, seed=seed)) for seed in range(3))
    waves = torch.randn(2, 2, 600, dtype=torch.float64)
    waves[:, 1, 400:] = 0
    frames, lengths = torch.tensor([6, 4]), torch.tensor([1.0, 2 / 3], dtype=torch.float64)
    both, _ = compressed_spectrum_loss(e, c, r, *waves, frames, lengths)
    alone, _ = compressed_spectrum_loss(e[1:, :, :4], c[1:, :, :4], r[1:, :, :4], *waves[:, 1:, :400])
    assert torch.allclose(both[1:], alone)
    assert torch.allclose(published_loss(e, c, frames=frames)[1:], published_loss(e[1:, :, :4], c[1:, :, :4]))
