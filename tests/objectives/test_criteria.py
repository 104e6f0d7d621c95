"""SNR and SDR as losses: closed forms, another implementation, permutations, padding, silence, finite gradients."""

from __future__ import annotations

import math

import pytest
import torch
from torchmetrics.functional.audio import signal_distortion_ratio

from lobes.errors import UserError
from lobes.objectives.criteria import CRITERIA, filtered_share
from lobes.objectives.separation import separation_loss

LOSSES = tuple(CRITERIA)
EVERYTHING = {"level_weight": 0.1, "spectral_weight": 1.0, "consistency_weight": 0.3}


def batch(snr_db: float = 10.0, sources: int = 2, items: int = 3, samples: int = 2400, seed: int = 0):
    """Estimates whose error is orthogonal to the target, `snr_db` below it."""
    generator = torch.Generator().manual_seed(seed)
    targets, noise = torch.randn(2, items, samples, sources, generator=generator, dtype=torch.float64)
    noise = noise - (noise * targets).sum(1, keepdim=True) / targets.square().sum(1, keepdim=True) * targets
    noise = noise * (targets.square().sum(1, keepdim=True) / noise.square().sum(1, keepdim=True)).sqrt()
    return targets + 10 ** (-snr_db / 20) * noise, targets


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 10.0, 25.0])
def test_snr_in_closed_form(snr_db):
    estimates, targets = batch(snr_db)
    loss = separation_loss(estimates, targets, loss="snr", clamp_db=math.inf)
    torch.testing.assert_close(loss, torch.full((3,), -snr_db, dtype=loss.dtype), atol=1e-3, rtol=0)
    bounded = separation_loss(estimates, targets, loss="snr", clamp_db=20.0)
    expected = 10 * math.log10(10 ** (-snr_db / 10) + 0.01)
    torch.testing.assert_close(bounded, torch.full((3,), expected, dtype=loss.dtype), atol=1e-3, rtol=0)


def test_the_level_counts_for_the_snr_alone():
    targets = batch()[1]
    half = {loss: separation_loss(0.5 * targets, targets, loss=loss).mean().item() for loss in LOSSES}
    assert half["snr"] == pytest.approx(10 * math.log10(0.25 + 0.001), abs=1e-3)
    assert half["si_snr"] == pytest.approx(-30, abs=0.01) and half["sdr"] == pytest.approx(-30, abs=0.01)
    assert separation_loss(0 * targets, targets, loss="snr").mean().item() == pytest.approx(0, abs=0.01)
    opposite = separation_loss(-targets[..., :1], targets[..., :1], loss="snr").mean().item()
    assert opposite == pytest.approx(20 * math.log10(2), abs=0.01)


def test_a_filter_counts_for_all_but_the_sdr():
    _, targets = batch(samples=6000)
    late = torch.cat([torch.zeros_like(targets[:, :3]), 0.7 * targets[:, :-3]], 1)
    coloured = late + 0.3 * torch.cat([torch.zeros_like(targets[:, :40]), targets[:, :-40]], 1)
    assert (separation_loss(coloured, targets, loss="sdr") < -15).all()
    assert (separation_loss(coloured, targets, loss="si_snr") > 10).all()
    assert (separation_loss(coloured, targets, loss="snr") > 0).all()


@pytest.mark.parametrize("snr_db", [0.0, 10.0, 30.0])
def test_sdr_is_that_of_torchmetrics(snr_db):
    estimates, targets = batch(snr_db)
    expected = signal_distortion_ratio(estimates.transpose(1, 2), targets.transpose(1, 2))
    share = filtered_share(estimates, targets)
    torch.testing.assert_close(10 * torch.log10(share / (1 - share)), expected, atol=1e-3, rtol=0)
    loss = separation_loss(estimates, targets, loss="sdr", clamp_db=math.inf)
    torch.testing.assert_close(loss, -expected.mean(1), atol=0.01, rtol=0)


@pytest.mark.parametrize("sources", [2, 3, 4])
@pytest.mark.parametrize("loss", LOSSES)
def test_the_best_permutation_of_any_number_of_sources(loss, sources):
    estimates, targets = batch(20.0, sources, samples=1200)
    order = torch.randperm(sources, generator=torch.Generator().manual_seed(1))
    straight = separation_loss(estimates, targets, loss=loss, **EVERYTHING)
    torch.testing.assert_close(separation_loss(estimates[..., order], targets, loss=loss, **EVERYTHING), straight)
    assert (straight < -10).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_padding_changes_nothing(loss):
    estimates, targets = batch(5.0, samples=2000)
    alone = separation_loss(estimates, targets, loss=loss, **EVERYTHING)
    garbage = torch.full((3, 700, 2), 7.0, dtype=estimates.dtype)
    longer = [torch.cat([x, factor * garbage], 1) for factor, x in ((1, estimates), (-2, targets))]
    lengths = torch.full((3,), 2000 / 2700)
    torch.testing.assert_close(separation_loss(*longer, lengths, loss=loss, **EVERYTHING), alone, atol=1e-4, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("loss", LOSSES)
def test_silence_and_perfection_have_finite_losses_and_gradients(loss, dtype):
    _, targets = batch(samples=900)
    targets = targets.to(dtype)
    targets[1, :, 1] = 0  # a silent target, a silent item
    targets[2] = 0
    for estimates in (targets.clone(), torch.zeros_like(targets), targets.flip(-1) * 1e-4, 1e4 * targets):
        estimates.requires_grad_()
        value = separation_loss(estimates, targets, loss=loss, **EVERYTHING)
        value.sum().backward()
        assert value.isfinite().all() and estimates.grad.isfinite().all()
        assert value[2] == 0 and not estimates.grad[2].any()
    loud = torch.ones_like(targets).requires_grad_()  # sound where there should be none is pulled down
    separation_loss(loud, targets, loss=loss)[1].backward()
    assert (loud.grad[1].sum(0) > 0).any()


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_are_those_of_differences(loss):
    estimates, targets = batch(3.0, items=1, samples=600)
    estimates.requires_grad_()
    gradient = torch.autograd.grad(separation_loss(estimates, targets, loss=loss, **EVERYTHING).sum(), estimates)[0]
    direction = torch.randn(estimates.shape, generator=torch.Generator().manual_seed(2), dtype=estimates.dtype)
    with torch.no_grad():
        up, down = (
            separation_loss(estimates + step * direction, targets, loss=loss, **EVERYTHING).sum()
            for step in (1e-6, -1e-6)
        )
    assert (gradient * direction).sum().item() == pytest.approx(((up - down) / 2e-6).item(), rel=1e-4)


def test_consistency_is_the_snr_of_the_sums():
    estimates, targets = batch(10.0)
    exchanged = torch.stack([estimates[..., 0] + 0.3, estimates[..., 1] - 0.3], -1)

    def term(x, **more):
        weighted = separation_loss(x, targets, consistency_weight=0.5, **more)
        return weighted - separation_loss(x, targets, **more)

    torch.testing.assert_close(term(exchanged, loss="snr"), term(estimates, loss="snr"))  # the sums are the same
    wanted = targets.sum(2)
    error = (estimates.sum(2) - wanted).square().sum(1) / wanted.square().sum(1)
    torch.testing.assert_close(term(estimates), 5 * torch.log10(error + 1e-3), atol=1e-4, rtol=0)
    torch.testing.assert_close(term(targets), torch.full((3,), -15.0, dtype=torch.float64), atol=1e-4, rtol=0)


def test_the_spectral_term_in_closed_form():
    """A gain g gives |g - 1| and |log g| in every bin above the floor; phases count for nothing."""
    targets = batch(samples=8000)[1]
    term = lambda x: separation_loss(x, targets, spectral_weight=2.0) - separation_loss(x, targets)  # noqa: E731
    for gain in (0.5, 1.5):
        expected = 2 * (abs(gain - 1) + abs(math.log(gain)))
        torch.testing.assert_close(term(gain * targets), torch.full((3,), expected).double(), atol=2e-3, rtol=0)
    assert term(-targets).abs().max() < 1e-4 and term(targets).abs().max() < 1e-4


def test_wrong_settings_are_refused():
    estimates, targets = batch()
    with pytest.raises(UserError, match="loss: expected si_snr, snr, sdr, got 'mse'"):
        separation_loss(estimates, targets, loss="mse")
    for name in ("level_weight", "spectral_weight", "consistency_weight"):
        with pytest.raises(UserError, match=f"Expected {name} from 0, got -1"):
            separation_loss(estimates, targets, **{name: -1.0})
