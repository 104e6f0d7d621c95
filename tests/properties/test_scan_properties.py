"""The selective scan: backends agree, padding changes nothing, and a part after a part is the whole."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lobes.scan import backends, selective_scan

FAST = [name for name in ("torch", "numba") if backends().get(name) == "available"]


@st.composite
def problems(draw):
    """Arguments of a scan of random sizes, with relevant lengths."""
    batch, length, width, states = (draw(st.integers(1, top)) for top in (3, 40, 5, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))

    def normal(*shape):
        return torch.from_numpy(rng.standard_normal(shape)).float()

    inputs = {
        "u": normal(batch, length, width),
        "delta": normal(batch, length, width) - 2,
        "A": -normal(width, states).exp(),
        "B": normal(batch, length, states),
        "C": normal(batch, length, states),
        "D": normal(width),
        "delta_bias": normal(width),
        "initial_state": normal(batch, width, states),
    }
    lengths = torch.tensor(draw(st.lists(st.integers(1, length), min_size=batch, max_size=batch)))
    return inputs, lengths, draw(st.booleans())


def scan(inputs, **options):
    return selective_scan(**inputs, delta_softplus=True, return_last_state=True, **options)


def close(found, wanted):
    for mine, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(mine, other, atol=2e-5, rtol=2e-5)


@settings.get_profile("lobes")
@given(problems())
def test_N09_backends_agree_with_the_reference(problem):
    inputs, lengths, reverse = problem
    wanted = scan(inputs, lengths=lengths, reverse=reverse, backend="reference")
    for backend in FAST:
        close(scan(inputs, lengths=lengths, reverse=reverse, backend=backend), wanted)


@settings.get_profile("lobes")
@given(problems(), st.sampled_from(["reference", *FAST]))
def test_padding_never_changes_the_valid_part(problem, backend):
    inputs, lengths, reverse = problem
    y, state = scan(inputs, lengths=lengths, reverse=reverse, backend=backend)
    for n, length in enumerate(lengths.tolist()):
        alone = {key: x if key in ("A", "D", "delta_bias") else x[n : n + 1] for key, x in inputs.items()}
        cut = {key: x[:, :length] if key in ("u", "delta", "B", "C") else x for key, x in alone.items()}
        close((y[n : n + 1, :length], state[n : n + 1]), scan(cut, reverse=reverse, backend=backend))


@settings.get_profile("lobes")
@given(problems(), st.sampled_from(["reference", *FAST]), st.floats(0, 1))
def test_a_part_after_a_part_is_the_whole(problem, backend, share):
    inputs, _, _ = problem
    length = inputs["u"].shape[1]
    at = min(max(int(share * length), 1), length)
    parts = [
        {key: x[:, part] if key in ("u", "delta", "B", "C") else x for key, x in inputs.items()}
        for part in (slice(at), slice(at, None))
    ]
    first, state = scan(parts[0], backend=backend)
    if at < length:
        second, state = scan({**parts[1], "initial_state": state}, backend=backend)
        first = torch.cat([first, second], 1)
    close((first, state), scan(inputs, backend=backend))
