"""BSRNN's layers: over time each band is alone, norm included; across bands each frame is."""

import pytest
import torch

from lobes.models.bsrnn import BandLSTM, TimeLSTM


@pytest.mark.parametrize("causal", [False, True])
def test_over_time_bands_do_not_see_each_other(causal):
    torch.manual_seed(0)
    layer, x = TimeLSTM(8, causal), torch.randn(2, 6, 3, 8)  # [B, L, K, D]
    other = x.clone()
    other[:, :, 1] = 5 * torch.randn(2, 6, 8) + 1
    assert torch.allclose(layer(other)[:, :, [0, 2]], layer(x)[:, :, [0, 2]], atol=1e-6)
    assert not torch.allclose(layer(other)[:, :, 1] - other[:, :, 1], layer(x)[:, :, 1] - x[:, :, 1], atol=1e-2)


def test_across_bands_frames_do_not_see_each_other():
    torch.manual_seed(0)
    layer, x = BandLSTM(8), torch.randn(2, 6, 3, 8)
    other = x.clone()
    other[:, 4] = 5 * torch.randn(2, 3, 8) + 1
    assert torch.allclose(layer(other)[:, :4], layer(x)[:, :4], atol=1e-6)
    assert torch.allclose(layer(other)[:, 5:], layer(x)[:, 5:], atol=1e-6)
