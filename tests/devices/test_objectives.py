"""Every loss and every training measure on a GPU that there is not: one device, and nothing read but what is listed."""

from __future__ import annotations

import pytest
import torch
from fake_cuda import CUDA, a_gpu, placed

from lobes.objectives.criteria import CRITERIA
from lobes.objectives.discriminator import MetricDiscriminator, discriminator_loss, generator_loss
from lobes.objectives.pit import pit_si_snr
from lobes.objectives.separation import separation_loss
from lobes.objectives.si_snr import si_snr
from lobes.objectives.spectrum import compressed_spectrum_loss, published_loss

LENGTHS = torch.tensor([1.0, 0.6])
ALLOWED = {
    ("lobes/objectives/pit.py", "_hungarian"): "scipy assigns more than three sources",
    ("lobes/objectives/discriminator.py", "discriminator_loss"): "clips without a PESQ are left out, once for a step",
}
WEIGHTS = {"magnitude": 0.9, "phase": 0.3, "complex": 0.1, "time": 0.2, "consistency": 0.1}
TERMS = {"level_weight": 0.1, "spectral_weight": 0.1, "consistency_weight": 0.1}


def signals(sources: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Estimates that have gradients and targets, [2, 1600, sources]."""
    return torch.empty(2, 1600, sources, device=CUDA, requires_grad=True), torch.empty(2, 1600, sources, device=CUDA)


@pytest.mark.parametrize("loss", CRITERIA)
@pytest.mark.parametrize("sources", [1, 2, 4])
def test_separation(loss, sources, monkeypatch):
    with a_gpu(ALLOWED, monkeypatch) as mode:
        estimates, targets = signals(sources)
        value = separation_loss(estimates, targets, LENGTHS, targets.sum(2), loss=loss, **TERMS)
        value.mean().backward()
    assert value.device == CUDA and estimates.grad.device == CUDA
    assert bool(mode.reads) == (sources > 3)


def test_si_snr_with_and_without_permutation(monkeypatch):
    with a_gpu({}, monkeypatch):
        assert si_snr(*signals(2), LENGTHS).device == CUDA
        assert all(part.device == CUDA for part in pit_si_snr(*signals(2), LENGTHS))


def compressed(spectra, waves, frames):
    return compressed_spectrum_loss(*spectra, *waves, frames, LENGTHS, WEIGHTS)[0]


def published(spectra, waves, frames):
    return published_loss(spectra[0], spectra[1], 0.3, frames)


@pytest.mark.parametrize("loss", [compressed, published])
def test_spectra(loss, monkeypatch):
    with a_gpu({}, monkeypatch):
        spectra = [torch.empty(2, 2, 20, 33, device=CUDA, requires_grad=True) for _ in range(3)]
        waves = [torch.empty(2, 1600, device=CUDA, requires_grad=True) for _ in range(2)]
        value = loss(spectra, waves, torch.tensor([20, 12]).to(CUDA))
        value.mean().backward()
    assert spectra[0].grad.device == CUDA


def test_the_metric_discriminator(monkeypatch):
    mode = a_gpu(ALLOWED, monkeypatch)
    discriminator = placed(MetricDiscriminator(), mode)
    with mode:
        target, estimate = torch.empty(2, 2, 64, 64, device=CUDA).unbind()
        generator_loss(discriminator, target, estimate).mean().backward()
        discriminator_loss(discriminator, target, estimate, torch.ones(2).to(CUDA)).backward()
    assert all(weight.grad.device == CUDA for weight in discriminator.parameters())
