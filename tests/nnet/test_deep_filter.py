"""Masks of several taps against the sum written out."""

from __future__ import annotations

import pytest
import torch

from lobes.nnet.deep_filter import CAUSAL, CENTRED, filter_over_time


@pytest.mark.parametrize("offsets", [CENTRED, CAUSAL, (0,), (1, 2)])
@pytest.mark.parametrize("frames", [1, 2, 7])
def test_taps_look_at_their_frames(offsets, frames):
    torch.manual_seed(0)
    spectrum = torch.randn(2, 2, frames, 5)
    masks = torch.randn(2, 3, len(offsets), 2, frames, 5)
    y = filter_over_time(spectrum, masks, offsets)
    x, m = torch.complex(spectrum[:, 0], spectrum[:, 1]), torch.complex(masks[:, :, :, 0], masks[:, :, :, 1])
    for i in range(frames):
        expected = torch.zeros(2, 3, 5, dtype=torch.complex64)
        for tap, offset in enumerate(offsets):
            if 0 <= i + offset < frames:
                expected += m[:, :, tap, i] * x[:, None, i + offset]
        assert torch.allclose(torch.complex(y[:, :, 0, i], y[:, :, 1, i]), expected, atol=1e-5)
