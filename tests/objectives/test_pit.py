"""Permutations: equal to brute force for any number of sources, and equivariant."""

from itertools import permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lobes.objectives import best_permutation, pit_si_snr, si_snr


def brute_force(pairwise):
    sources = pairwise.shape[-1]
    rows = []
    for values in pairwise:
        orders = permutations(range(sources))
        rows.append(max(orders, key=lambda order: sum(values[order[j], j].item() for j in range(sources))))
    return torch.tensor(rows)


@pytest.mark.parametrize("sources", [1, 2, 3, 4, 5, 6])
def test_best_permutation_equals_brute_force(sources):
    pairwise = torch.randn(7, sources, sources, generator=torch.Generator().manual_seed(sources))
    assert torch.equal(best_permutation(pairwise), brute_force(pairwise))


@pytest.mark.parametrize("sources", [2, 3, 5])
def test_recovers_shuffled_sources(sources):
    generator = torch.Generator().manual_seed(sources)
    targets = torch.randn(3, 600, sources, generator=generator)
    order = torch.randperm(sources, generator=generator)
    estimates = targets[..., order] + 0.1 * torch.randn(3, 600, sources, generator=generator)
    value, permutation = pit_si_snr(estimates, targets)
    assert torch.equal(permutation, order.argsort().expand(3, sources))
    assert torch.equal(value, si_snr(estimates[..., order.argsort()], targets))
    assert value.min() > 18


@settings(max_examples=30, deadline=None)
@given(sources=st.integers(1, 5), seed=st.integers(0, 10_000))
def test_permutation_equivariance(sources, seed):
    """Shuffled estimates change nothing; shuffled targets shuffle the values with them."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randn(1, 300, sources, generator=generator, dtype=torch.float64)
    mixing = torch.randn(sources, sources, generator=generator, dtype=torch.float64)
    estimates = targets @ mixing
    value, permutation = pit_si_snr(estimates, targets)
    shuffle = torch.randperm(sources, generator=generator)
    shuffled, other = pit_si_snr(estimates[..., shuffle], targets)
    torch.testing.assert_close(shuffled, value)
    assert torch.equal(shuffle[other], permutation)
    torch.testing.assert_close(pit_si_snr(estimates, targets[..., shuffle])[0], value[..., shuffle])


@pytest.mark.parametrize("sources", [2, 4])
def test_nan_and_inf_pairs_lose(sources):
    pairwise = torch.eye(sources)[None].repeat(2, 1, 1).flip(1)
    expected = best_permutation(pairwise)
    pairwise[0, 0, 0], pairwise[1, 0, 0] = float("nan"), -float("inf")
    assert torch.equal(best_permutation(pairwise), expected)
    assert sorted(best_permutation(torch.full((1, sources, sources), float("nan")))[0].tolist()) == list(range(sources))


def test_lengths_decide_the_assignment():
    targets = torch.randn(1, 400, 2, generator=torch.Generator().manual_seed(0))
    estimates = targets.clone()
    estimates[:, 200:] = targets[:, 200:].flip(-1) * 10
    assert pit_si_snr(estimates, targets)[1].tolist() == [[1, 0]]
    assert pit_si_snr(estimates, targets, torch.tensor([0.5]))[1].tolist() == [[0, 1]]


def test_gradient_flows_through_the_chosen_pairs_only():
    targets = torch.randn(1, 300, 2, generator=torch.Generator().manual_seed(1))
    estimates = (targets.flip(-1) + 0.5 * torch.randn(1, 300, 2)).requires_grad_()
    value, _ = pit_si_snr(estimates, targets)
    value[0, 0].backward()
    assert (estimates.grad[..., 0] == 0).all() and (estimates.grad[..., 1] != 0).any()


def test_two_sources_need_no_scipy():
    import subprocess
    import sys

    code = (
        "import sys, torch; from lobes.objectives import separation_loss; x = torch.randn(1, 50, 3);"
        "separation_loss(x, x); heavy = {'scipy', 'speechbrain', 'matplotlib', 'torchmetrics', 'numba'};"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
