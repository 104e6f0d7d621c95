"""N10: a training in bf16 stays near the one in fp32; docs/checkpoints.md states the band."""

import pytest
import torch
from resuming import live

from lobes.models import get_model

BAND = 0.5  # dB between the mean losses of the first 10 steps; 0.3 was the most of 12 pairs of seeds and presets
SMALL = {"spmamba_tiny": {}, "convtasnet_tiny": {}}


def losses(folder, preset, precision):
    """The training losses of 10 steps in dB, as the learning curve has their mean."""
    network = lambda: get_model(preset, num_sources=1)  # noqa: E731
    brain = live(folder, network=network, epochs=1, max_steps=10, precision=precision, lr=1e-3)
    return float(brain.curve.rows()[0]["train_loss"])


@pytest.mark.parametrize("preset", SMALL)
def test_N10_ten_steps_in_bf16_are_within_the_band_of_fp32(preset, tmp_path):
    if not torch.backends.mkldnn.is_available():
        pytest.skip("bf16 is emulated here")
    half, full = (losses(tmp_path / precision, preset, precision) for precision in ("bf16", "fp32"))
    assert half != full
    assert abs(half - full) < BAND, (half, full)
