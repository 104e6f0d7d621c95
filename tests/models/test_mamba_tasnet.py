"""Mamba-TasNet's mask network: masks as the paper has them, through a ReLU."""

import torch

from lobes.models.mamba_tasnet import MambaMaskNet


def test_masks_are_never_negative_and_some_are_zero():
    torch.manual_seed(0)
    masks = MambaMaskNet(16, 8, 2, num_sources=2, d_state=4)(torch.randn(3, 16, 40))  # [S, B, N, L]
    assert masks.shape == (2, 3, 16, 40)
    assert bool((masks >= 0).all())
    assert 0.1 < (masks == 0).float().mean().item() < 0.9
