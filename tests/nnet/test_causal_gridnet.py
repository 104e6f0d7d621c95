"""The block of the causal SPMamba: chunks of any size, windows of any hop, no look ahead."""

import pytest
import torch
from torch import nn

from lobes.errors import UserError
from lobes.nnet.bimamba import BiMamba, MambaBlock
from lobes.nnet.causal_gridnet import CausalAlongFrames, CausalGridNetBlock, looking_back
from lobes.nnet.memory import Memory
from lobes.nnet.windows import MergeWindows


class Same(nn.Module):
    """A sequence model that gives what it gets."""

    def forward(self, x, steps, memory=None):
        return x


@pytest.mark.parametrize("size,hop", [(1, 1), (4, 1), (4, 2), (4, 3), (4, 4), (5, 2)])
@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 40])
def test_along_frames_in_chunks(size, hop, chunk):
    torch.manual_seed(0)
    layer = CausalAlongFrames(2, MambaBlock(2 * size), MergeWindows(2 * size, 2, size, hop)).double()
    x, memory = torch.randn(2, 17, 3, 2, dtype=torch.float64), Memory()
    whole = layer(x)
    parts = [layer(part, memory) for part in x.split(chunk, 1)]
    assert torch.allclose(torch.cat(parts, 1), whole, atol=1e-12)
    x[:, 9:] = 5
    assert torch.equal(layer(x)[:, :9], whole[:, :9]) and not torch.equal(layer(x)[:, 9:], whole[:, 9:])


def test_a_window_reaches_from_its_last_frame_on():
    layer = CausalAlongFrames(1, Same(), MergeWindows(3, 1, 3, 2)).double()
    layer.norm = nn.Identity()
    layer.merge.weight.data = torch.ones_like(layer.merge.weight)
    layer.merge.bias.data.zero_()
    x = torch.zeros(1, 9, 1, 1, dtype=torch.float64)
    x[:, 3] = 1
    # frame 3 is in the window of frames 2 to 4 alone, as windows end at frames 0, 2, 4 ...; it reaches frames 4 to 6
    assert (layer(x) - x).flatten().tolist() == [0, 0, 0, 0, 1, 1, 1, 0, 0]


@pytest.mark.parametrize("conv", [nn.Conv2d(2, 3, 3, padding=1), nn.ConvTranspose2d(2, 3, 3, padding=1)])
def test_convolutions_look_back(conv):
    conv, x, memory = conv.double(), torch.randn(1, 2, 9, 4, dtype=torch.float64), Memory()
    with torch.no_grad():
        whole = looking_back(conv, x)
        assert torch.allclose(whole[:, :, 2:], conv(x)[:, :, 1:-1], atol=1e-12)
        parts = [looking_back(conv, part, memory) for part in x.split(2, 2)]
        assert torch.allclose(torch.cat(parts, 2), whole, atol=1e-12)
        x[:, :, 5:] = 3
        assert torch.equal(looking_back(conv, x)[:, :, :5], whole[:, :, :5])


def test_gaps_between_windows_are_refused():
    with pytest.raises(UserError, match="emb_hs"):
        CausalGridNetBlock(4, 9, BiMamba(16), MambaBlock(16), 4, 5, 0, 9, 0)
