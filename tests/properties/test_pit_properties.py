"""Permutation invariant assignment: the best of all, whatever the order of estimates or targets."""

from __future__ import annotations

from itertools import permutations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lobes.objectives import best_permutation, pit_si_snr
from lobes.objectives.pit import reorder

SOURCES = st.integers(1, 4)
SEEDS = st.integers(0, 2**32 - 1)


@settings.get_profile("lobes")
@given(SOURCES, SEEDS)
def test_the_assignment_is_that_of_brute_force(sources, seed):
    pairwise = torch.randn(2, sources, sources, generator=torch.Generator().manual_seed(seed))
    found = best_permutation(pairwise)
    for values, chosen in zip(pairwise, found.tolist(), strict=True):
        sums = {order: sum(float(values[e, t]) for t, e in enumerate(order)) for order in permutations(range(sources))}
        assert sorted(chosen) == list(range(sources))
        assert abs(sums[tuple(chosen)] - max(sums.values())) < 1e-5


@settings.get_profile("lobes")
@given(SOURCES, SEEDS)
def test_permuted_estimates_are_put_back_in_order(sources, seed):
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randn(1, 400, sources, generator=generator)
    estimates = targets + 0.1 * torch.randn(1, 400, sources, generator=generator)
    order = torch.randperm(sources, generator=generator)
    value, permutation = pit_si_snr(estimates[..., order], targets)
    torch.testing.assert_close(value, pit_si_snr(estimates, targets)[0])
    torch.testing.assert_close(reorder(estimates[..., order], permutation), estimates)


@settings.get_profile("lobes")
@given(SOURCES, SEEDS, st.floats(1e-3, 1e3))
def test_level_and_padding_change_nothing(sources, seed, gain):
    generator = torch.Generator().manual_seed(seed)
    estimates, targets = torch.randn(2, 1, 300, sources, generator=generator)
    value, permutation = pit_si_snr(estimates, targets)
    scaled, same = pit_si_snr(gain * estimates, targets)
    torch.testing.assert_close(scaled, value, atol=1e-3, rtol=1e-4)
    padding = torch.randn(1, 100, sources, generator=generator)
    padded = pit_si_snr(torch.cat([estimates, padding], 1), torch.cat([targets, padding], 1), torch.tensor([0.75]))
    torch.testing.assert_close(padded[0], value, atol=1e-3, rtol=1e-4)
    assert torch.equal(permutation, same) and torch.equal(permutation, padded[1])
