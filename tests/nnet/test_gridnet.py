"""The block of SPMamba: padding in time with every kind of window, and its own errors."""

import pytest
import torch

from lobes.errors import UserError
from lobes.nnet.gridnet import GridNetBlock


@pytest.mark.parametrize("emb_ks,emb_hs", [(4, 1), (4, 4), (4, 2), (4, 3), (1, 1)])
def test_a_padded_item_equals_the_item_alone(emb_ks, emb_hs):
    torch.manual_seed(0)
    block = GridNetBlock(4, 9, emb_ks, emb_hs, n_heads=2, approx_qk_dim=18, expand=1).double()
    x, frames = torch.randn(4, 13, 9, 4, dtype=torch.float64), torch.tensor([13, 8, 3, 1])
    padded = x.clone()
    for i, n in enumerate(frames):
        padded[i, n:] = 77
    y = block(padded, frames)
    assert y.isfinite().all()
    for i, n in enumerate(frames):
        assert torch.allclose(y[i, :n], block(x[i : i + 1, :n])[0], atol=1e-10)


@pytest.mark.parametrize("emb_ks,emb_hs", [(4, 5), (4, 0)])
def test_windows_must_not_leave_gaps(emb_ks, emb_hs):
    with pytest.raises(UserError, match="emb_hs"):
        GridNetBlock(4, 9, emb_ks, emb_hs, n_heads=2)
