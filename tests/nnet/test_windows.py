"""Windows and their merging against torch's unfold and transposed convolution, with gradients."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lobes.nnet.windows import MergeWindows, covered, n_windows, split_windows

SIZES = [(4, 4), (4, 1), (4, 2), (4, 3), (8, 1), (1, 1)]


def _same(fast, slow, *inputs):
    """Outputs and all gradients agree."""
    y, expected = fast(*inputs), slow(*inputs)
    assert torch.allclose(y, expected, atol=1e-12)
    seed = torch.randn_like(y)
    for a, b in zip(torch.autograd.grad(y, inputs, seed), torch.autograd.grad(expected, inputs, seed), strict=True):
        assert torch.allclose(a, b, atol=1e-12)


@pytest.mark.parametrize("size,hop", SIZES)
def test_split_equals_unfold(size, hop):
    torch.manual_seed(0)
    x = torch.randn(2, covered(13, size, hop), 5, dtype=torch.float64, requires_grad=True)

    def slow(x):
        return F.unfold(x.transpose(1, 2)[..., None], (size, 1), stride=(hop, 1)).transpose(1, 2)

    _same(lambda x: split_windows(x, size, hop), slow, x)


@pytest.mark.parametrize("size,hop", SIZES)
def test_merge_equals_the_transposed_convolution(size, hop):
    torch.manual_seed(0)
    merge = MergeWindows(6, 5, size, hop).double()
    x = torch.randn(2, n_windows(13, size, hop), 6, dtype=torch.float64, requires_grad=True)

    def slow(x, weight, bias):
        return F.conv_transpose1d(x.transpose(1, 2), weight, bias, stride=hop).transpose(1, 2)

    _same(lambda x, weight, bias: merge(x), slow, x, merge.weight, merge.bias)
    assert merge(x).shape[1] == covered(13, size, hop)
    assert isinstance(merge, nn.ConvTranspose1d)


@pytest.mark.parametrize("size,hop", SIZES)
def test_counts(size, hop):
    for n in range(1, 30):
        cover = covered(n, size, hop)
        assert cover >= max(n, size)
        assert cover - hop < max(n, size)  # no more than needed
        assert split_windows(torch.zeros(1, cover, 1), size, hop).shape[1] == n_windows(n, size, hop)
    counts = torch.arange(1, 30)
    assert n_windows(counts, size, hop).tolist() == [n_windows(int(n), size, hop) for n in counts]
