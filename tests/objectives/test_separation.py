"""The separation loss: its bound, its rule for silent targets, and gradients that are alive and finite."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lobes.errors import UserError
from lobes.objectives import pit_si_snr, separation_loss


def batch(snr_db=0.0, samples=800, sources=2, items=2, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randn(items, samples, sources, generator=generator, dtype=dtype)
    noise = torch.randn(items, samples, sources, generator=generator, dtype=dtype)
    return targets + 10 ** (-snr_db / 20) * noise, targets


def loss_and_gradient(estimates, targets, **options):
    estimates = estimates.clone().requires_grad_()
    loss = separation_loss(estimates, targets, **options)
    loss.sum().backward()
    assert loss.isfinite().all() and estimates.grad.isfinite().all()
    return loss.detach(), estimates.grad


@pytest.mark.parametrize("snr_db", [-10.0, 0.0, 10.0])
def test_is_minus_si_snr_far_below_the_clamp(snr_db):
    estimates, targets = batch(snr_db)
    loss = separation_loss(estimates.flip(-1), targets, clamp_db=60.0)
    torch.testing.assert_close(loss, -pit_si_snr(estimates, targets)[0].mean(1), atol=1e-3, rtol=0)


@pytest.mark.parametrize("clamp_db", [20.0, 30.0])
def test_clamp(clamp_db):
    """A perfect estimate reaches the bound, one at the bound loses 3 dB, and gradients fade above it."""
    _, targets = batch()
    assert (separation_loss(targets, targets, clamp_db=clamp_db) + clamp_db).abs().max() < 1e-3
    at_bound, pull = loss_and_gradient(*batch(clamp_db), clamp_db=clamp_db)
    assert (at_bound + clamp_db - 3).abs().max() < 0.4
    estimates, targets = batch(clamp_db)
    unbounded, full_pull = loss_and_gradient(estimates, targets, clamp_db=math.inf)
    assert abs(pull.norm() / full_pull.norm() - 0.5) < 0.05
    _, above = loss_and_gradient(*batch(clamp_db + 40), clamp_db=clamp_db)
    assert above.norm() < 0.03 * pull.norm()
    assert (unbounded + pit_si_snr(estimates, targets)[0].mean(1)).abs().max() < 1e-3


def test_mixture_that_is_the_target_is_bounded():
    """PolSESS ES and EB, variant C: input equals target; without the clamp it would outweigh all other items."""
    targets = batch(sources=1)[1]
    assert (separation_loss(targets, targets, mix=targets[..., 0]) + 30).abs().max() < 1e-3


def test_never_above_60_db():
    _, targets = batch()
    loss, gradient = loss_and_gradient(torch.zeros_like(targets), targets)
    torch.testing.assert_close(loss, torch.full_like(loss, 60.0), atol=1e-3, rtol=0)
    assert (gradient == 0).all()


class TestSilentTarget:
    def case(self, level=0.0):
        estimates, targets = batch(10)
        targets[..., 1] *= level
        return estimates, targets, targets.sum(2) + 0.1 * batch(seed=3)[1][..., 0]

    def test_quiet_estimates_cost_less_down_to_the_bound(self):
        estimates, targets, mix = self.case()
        estimates[..., 0] = targets[..., 0]
        losses = []
        for level in (1.0, 0.1, 0.01, 0.0):
            estimates[..., 1] = level * mix
            losses.append(separation_loss(estimates, targets, mix=mix)[0].item())
        expected = [(-30 + 10 * math.log10(level**2 + 1e-3)) / 2 for level in (1.0, 0.1, 0.01, 0.0)]
        assert losses == pytest.approx(expected, abs=1e-3) and losses[-1] == pytest.approx(-30, abs=1e-3)

    def test_gradient_is_alive_and_pulls_the_estimate_down(self):
        estimates, targets, mix = self.case()
        _, gradient = loss_and_gradient(estimates, targets, mix=mix)
        chosen = estimates[..., 1]
        cosine = torch.cosine_similarity(gradient[..., 1], chosen)
        assert (gradient[..., 1].norm(dim=1) > 1e-4).all() and (cosine > 0.999).all()

    def test_60_db_below_the_mixture_is_silent(self):
        estimates, targets, mix = self.case(level=10 ** (-65 / 20))
        silent = separation_loss(estimates, targets * torch.tensor([1.0, 0.0]), mix=mix)
        torch.testing.assert_close(separation_loss(estimates, targets, mix=mix), silent, atol=1e-3, rtol=0)
        estimates, targets, mix = self.case(level=10 ** (-50 / 20))
        silent = separation_loss(estimates, targets * torch.tensor([1.0, 0.0]), mix=mix)
        assert (separation_loss(estimates, targets, mix=mix) - silent).abs().min() > 1

    @pytest.mark.parametrize("sources", [2, 4])
    def test_N05_it_takes_the_quietest_estimate(self, sources):
        _, targets = batch(sources=sources)
        targets[..., 0] = 0
        estimates = targets.clone()
        estimates[..., 0] = 1e-3 * targets[..., 1] + 1e-3 * batch(seed=5)[1][..., 0]
        order = torch.randperm(sources, generator=torch.Generator().manual_seed(1))
        loss = separation_loss(estimates[..., order], targets)
        assert (loss + 30).abs().max() < 0.1

    def test_a_constant_target_is_silent(self):
        estimates, targets, mix = self.case()
        expected = separation_loss(estimates, targets, mix=mix)
        targets[..., 1] = 0.3
        torch.testing.assert_close(separation_loss(estimates, targets, mix=mix), expected)

    def test_N04_all_targets_silent(self):
        estimates, targets = batch()
        mix = batch(seed=2)[1][..., 0]
        loss, gradient = loss_and_gradient(estimates, torch.zeros_like(targets), mix=mix)
        assert (loss < 10).all() and (gradient.norm(dim=1) > 0).all()
        loss, gradient = loss_and_gradient(torch.zeros_like(estimates), torch.zeros_like(targets), mix=mix)
        assert (loss + 30).abs().max() < 1e-3 and (gradient == 0).all()

    @pytest.mark.parametrize("level", [0.0, 1e-16, 1e-40])
    @pytest.mark.parametrize("estimate_level", [0.0, 1.0])
    def test_nothing_at_all_costs_nothing(self, estimate_level, level):
        estimates, targets = batch()
        nothing = level * targets
        loss, gradient = loss_and_gradient(estimate_level * estimates, nothing, mix=nothing[..., 0])
        assert (loss == 0).all() and (gradient == 0).all()
        assert (loss_and_gradient(estimates, nothing)[0] == 0).all()

    def test_one_silent_item_does_not_move_the_others(self):
        estimates, targets = batch(items=3)
        alone = separation_loss(estimates, targets)
        targets[1] = 0
        torch.testing.assert_close(separation_loss(estimates, targets)[[0, 2]], alone[[0, 2]])


@pytest.mark.parametrize("level", [1e-12, 1e-6, 1e6, 1e15])
def test_the_level_of_the_whole_scene_does_not_matter(level):
    estimates, targets = batch(10)
    targets[0, :, 1] = 0
    mix = targets.sum(2)
    loss, _ = loss_and_gradient(level * estimates, level * targets, mix=level * mix)
    torch.testing.assert_close(loss, separation_loss(estimates, targets, mix=mix), atol=1e-3, rtol=0)


def test_padding_is_never_looked_at():
    estimates, targets = batch(5, samples=600)
    targets[1, :, 0] = 0
    mix = targets.sum(2)
    expected = separation_loss(estimates, targets, mix=mix)
    filler = torch.full((2, 300, 2), float("nan"))
    padded = [torch.cat([x, filler], 1) for x in (estimates, targets)]
    padded_mix = torch.cat([mix, filler[..., 0]], 1)
    lengths = torch.full((2,), 600 / 900)
    loss, gradient = loss_and_gradient(*padded, mix=padded_mix, lengths=lengths)
    torch.testing.assert_close(loss, expected, atol=1e-5, rtol=0)
    assert (gradient[:, 600:] == 0).all()


@settings(max_examples=30, deadline=None)
@given(sources=st.integers(1, 5), silent=st.integers(0, 5), seed=st.integers(0, 10_000))
def test_permutation_invariance(sources, silent, seed):
    estimates, targets = batch(5, samples=200, sources=sources, items=1, seed=seed, dtype=torch.float64)
    targets[..., : min(silent, sources)] = 0
    mix = batch(seed=seed + 1, samples=200, items=1, dtype=torch.float64)[1][..., 0]
    loss = separation_loss(estimates, targets, mix=mix)
    generator = torch.Generator().manual_seed(seed)
    one, two = (torch.randperm(sources, generator=generator) for _ in range(2))
    torch.testing.assert_close(separation_loss(estimates[..., one], targets[..., two], mix=mix), loss)


def test_gradient_is_right_also_for_silent_targets():
    estimates, targets = batch(5, samples=15, dtype=torch.float64)
    targets[0, :, 1] = 0
    mix = targets.sum(2)
    lengths = torch.tensor([1.0, 0.8])

    def loss(x):
        return separation_loss(x, targets, lengths, mix)

    assert torch.autograd.gradcheck(loss, estimates.requires_grad_())


def test_fp32_under_autocast_and_no_write_to_inputs():
    estimates, targets = batch(20)
    mix = targets.sum(2)
    before = [x.clone() for x in (estimates, targets, mix)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = separation_loss(estimates.bfloat16(), targets, torch.tensor([1.0, 0.5]), mix)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, separation_loss(estimates.bfloat16(), targets, torch.tensor([1.0, 0.5]), mix))
    assert all(torch.equal(a, b) for a, b in zip(before, (estimates, targets, mix), strict=True))


def test_nan_estimate_is_a_nan_loss_of_that_item_only():
    estimates, targets = batch()
    estimates[1, 5, 0] = float("nan")
    assert separation_loss(estimates, targets).isfinite().tolist() == [True, False]


def test_clear_errors():
    estimates, targets = batch()
    with pytest.raises(UserError, match="num_spks"):
        separation_loss(estimates[..., :1], targets)
    with pytest.raises(UserError, match="mixture"):
        separation_loss(estimates, targets, mix=targets)
    with pytest.raises(UserError, match="clamp_db"):
        separation_loss(estimates, targets, clamp_db=-30.0)
    with pytest.raises(UserError, match="level_weight"):
        separation_loss(estimates, targets, level_weight=-1.0)


@pytest.mark.parametrize("gain_db", [-20.0, -6.0, 0.0, 6.0, 20.0])
def test_level_term_costs_its_weight_for_each_db(gain_db):
    _, targets = batch()
    targets[..., 1] *= 0.3
    estimates = targets.flip(-1) * 10 ** (gain_db / 20)
    lengths = torch.tensor([1.0, 0.5])
    without = separation_loss(estimates, targets, lengths)
    assert torch.equal(without, separation_loss(estimates, targets, lengths, level_weight=0.0))
    term = separation_loss(estimates, targets, lengths, level_weight=0.1) - without
    torch.testing.assert_close(term, torch.full_like(term, 0.1 * abs(gain_db)), atol=1e-3, rtol=0)


def test_level_term_pulls_to_the_level_and_never_further_than_60_db():
    estimates, targets = batch()
    loud = (10 * estimates).requires_grad_()
    term = separation_loss(loud, targets, level_weight=1.0) - separation_loss(loud, targets)
    (along,) = torch.autograd.grad(term.sum(), loud)
    assert (along * loud).sum() > 0  # a step against it makes the estimate softer
    silent, gradient = loss_and_gradient(torch.zeros_like(targets), targets, level_weight=1.0)
    assert ((silent > 60) & (silent <= 120)).all() and gradient.isfinite().all()
    targets[..., 1] = 0  # a silent target has no level
    only, _ = loss_and_gradient(estimates, targets, mix=estimates.sum(2), level_weight=0.5)
    without, _ = loss_and_gradient(estimates, targets, mix=estimates.sum(2))
    assert (only - without).max() < 0.5 * 5 / 2


def test_descent_separates():
    """The gradient does its work: a linear unmixing learns the sources and silences the third output."""
    generator = torch.Generator().manual_seed(0)
    targets = torch.randn(1, 500, 3, generator=generator)
    targets[..., 2] = 0
    mixed = targets[..., :2] @ torch.tensor([[1.0, 0.6], [0.5, 1.0]])
    unmix = torch.randn(2, 3, generator=generator).requires_grad_()
    for step in range(200):
        loss = separation_loss(mixed @ unmix, targets, mix=mixed.sum(2)).mean()
        (gradient,) = torch.autograd.grad(loss, unmix)
        unmix = (unmix - 0.1 * 0.98**step * gradient / gradient.norm()).detach().requires_grad_()
    assert loss < -25
