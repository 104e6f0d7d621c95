"""The block of SPMamba and TF-GridNet: padding in time with every kind of window, and its own errors."""

import pytest
import torch

from lobes.errors import UserError
from lobes.nnet.bilstm import BiLSTM
from lobes.nnet.bimamba import BiMamba
from lobes.nnet.gridnet import GridNetBlock

# kind -> a function that makes a sequence model, and its outputs for windows of `size` steps of 4 channels
SEQUENCES = {
    "mamba": (lambda features: BiMamba(features, expand=1), lambda size: 8 * size),
    "rnn": (lambda features: BiLSTM(features, 5), lambda size: 10),
}


def make(kind, emb_ks, emb_hs):
    sequence, outputs = SEQUENCES[kind]
    return GridNetBlock(4, 9, sequence, outputs(emb_ks), emb_ks, emb_hs, n_heads=2, approx_qk_dim=18)


@pytest.mark.parametrize("kind", SEQUENCES)
@pytest.mark.parametrize("emb_ks,emb_hs", [(4, 1), (4, 4), (4, 2), (4, 3), (1, 1)])
def test_a_padded_item_equals_the_item_alone(kind, emb_ks, emb_hs):
    torch.manual_seed(0)
    block = make(kind, emb_ks, emb_hs).double()
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
        make("mamba", emb_ks, emb_hs)
