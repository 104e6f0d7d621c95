"""MM-IPC: input and targets are the sums of the parts that the variant's letters name, however they are made."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lobes.polsess.mmipc import render, render_parts
from lobes.polsess.variants import all_parts, kept_parts, target_parts, variants_for


@pytest.mark.parametrize("task", ["ES", "EB", "SB"])
@settings.get_profile("lobes")
@given(seed=st.integers(0, 2**32 - 1), indoor=st.booleans(), samples=st.integers(1, 50))
def test_parts_sum_to_the_mixture_for_every_variant(task, seed, indoor, samples):
    rng = np.random.default_rng(seed)
    parts = {part: rng.uniform(-0.1, 0.1, samples).astype(np.float32) for part in all_parts(indoor)}
    stored = {**parts, "mix": np.sum(list(parts.values()), axis=0, dtype=np.float64).astype(np.float32)}
    for variant in variants_for(indoor):
        kept = np.sum([parts[part] for part in kept_parts(task, variant, indoor)], axis=0, dtype=np.float64)
        targets = [np.sum([parts[part] for part in group], axis=0) for group in target_parts(task)]
        for mix, sources in (render(task, variant, indoor, stored.__getitem__), render_parts(task, variant, parts)):
            np.testing.assert_allclose(mix, kept, atol=1e-6)
            np.testing.assert_allclose(sources, np.stack(targets, 1), atol=1e-6)
            assert mix.dtype == sources.dtype == np.float32
