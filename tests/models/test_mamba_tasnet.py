"""Mamba-TasNet's mask network: masks through a ReLU; its earlier form is another network."""

import pytest
import torch

from lobes.exported import MambaMaskNet, MambaTasNetMaskNet
from lobes.models import get_model


@pytest.mark.parametrize("network", [MambaTasNetMaskNet, MambaMaskNet])
def test_masks_are_never_negative_and_some_are_zero(network):
    torch.manual_seed(0)
    masks = network(16, 8, 2, num_sources=2, d_state=4)(torch.randn(3, 16, 40))  # [S, B, N, L]
    assert masks.shape == (2, 3, 16, 40)
    assert bool((masks >= 0).all())
    assert 0.1 < (masks == 0).float().mean().item() < 0.9


def test_weights_of_the_earlier_form_fit_no_other():
    earlier, current = MambaMaskNet(16, 16, 2), MambaTasNetMaskNet(16, 16, 2)
    for one, other in ((earlier, current), (current, earlier)):
        with pytest.raises(RuntimeError, match="Missing key.*norm_f|Missing key.*bottleneck.bias"):
            one.load_state_dict(other.state_dict())


@pytest.mark.parametrize("preset", ["mamba_tasnet_tiny", "dpmamba_tiny"])
def test_the_start_is_an_option_of_the_presets(preset):
    for start in ("constructed", "published"):
        model = get_model(preset, start=start)
        biases = [value for name, value in model.named_parameters() if name.endswith("dt_proj.bias")]
        assert len(biases) == 8 and all(bool((value > -1).all()) == (start == "published") for value in biases)
