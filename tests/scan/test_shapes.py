"""The precision of the CPU backends at the shapes of real models, against the scan in float64."""

from __future__ import annotations

import pytest
import torch

SHAPES = {
    "intra": (64, 129, 256),
    "intra_full": (500, 129, 256),
    "inter": (16, 500, 256),
    "inter_full": (129, 500, 256),
    "spmamba_16k": (126, 250, 512),
    "band_cross": (128, 30, 256),
    "band_time": (60, 250, 256),
    "long_16000": (1, 16000, 256),
    "long_64000": (1, 64000, 128),
}


@pytest.mark.slow
@pytest.mark.parametrize("states", [16, 12])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=list(SHAPES))
def test_output_and_gradients_at_the_shapes_of_models(make, run, assert_agrees, shape, states):
    batch, steps, channels = shape
    inputs = make(batch, steps, channels, states)
    truth = run(inputs, torch.float64, backend="torch")
    for dtype, tolerance in ((torch.float32, 2e-6), (torch.bfloat16, 1e-2)):
        got = run(inputs, dtype, torch.float32, backend="numba")  # as under autocast: parameters and states stay fp32
        assert_agrees(got, truth, tolerance)
