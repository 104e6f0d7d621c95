"""The attention of both directions against loops over sequences and heads, with gradients; padding; memory."""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lobes.errors import UserError
from lobes.nnet.band_attention import TimeBandAttention


def one_sequence(layer, x):
    """Softmax written out, head by head: x [L, D] with its residual."""
    queries, keys, values = (layer.norm(x) @ layer.inputs.weight.T).chunk(3, -1)
    size, heads = x.shape[1] // layer.n_heads, []
    for head in range(layer.n_heads):
        q, k, v = (part[:, head * size : (head + 1) * size] for part in (queries, keys, values))
        heads.append(torch.softmax(q @ k.T / size**0.5, -1) @ v)
    return x + layer.output(torch.cat(heads, -1))


def by_loops(layer, x):
    """Each band over its frames, then each frame over its bands: x [B, L, K, D]."""
    along_time = [torch.stack([one_sequence(layer, band) for band in item.unbind(1)], 1) for item in x]
    return torch.stack([torch.stack([one_sequence(layer, frame) for frame in item]) for item in along_time])


@pytest.fixture
def layer():
    torch.manual_seed(0)
    layer = TimeBandAttention(6, n_heads=3).double()
    for p in layer.parameters():
        p.data += 0.3 * torch.randn_like(p)
    return layer


def test_equals_the_loops_with_all_gradients(layer):
    x = torch.randn(2, 7, 5, 6, dtype=torch.float64, requires_grad=True)
    fast, slow = layer(x), by_loops(layer, x)
    assert torch.allclose(fast, slow, atol=1e-10)
    inputs, seed = [x, *layer.parameters()], torch.randn_like(fast)
    pairs = zip(torch.autograd.grad(fast, inputs, seed), torch.autograd.grad(slow, inputs, seed), strict=True)
    assert all(torch.allclose(a, b, atol=1e-9) for a, b in pairs)


def test_one_set_of_weights():
    assert sum(p.numel() for p in TimeBandAttention(64).parameters()) == 4 * 64**2 + 3 * 64


def test_padding_is_not_attended_to(layer):
    x = torch.randn(2, 7, 5, 6, dtype=torch.float64)
    alone = layer(x[:1, :4])
    x[0, 4:] = torch.nan
    y = layer(x, torch.tensor([4, 7]))
    assert torch.allclose(y[0, :4], alone[0], atol=1e-12) and torch.allclose(y[1], layer(x[1:])[0], atol=1e-12)
    x[0, 4:] = 50
    assert not torch.allclose(layer(x)[0, :4], alone[0], atol=1e-2)


@pytest.mark.parametrize("wanted", [False, True])
@pytest.mark.parametrize("lengths", [None, [900, 500]])
def test_no_matrix_of_all_pairs_of_frames_is_kept(lengths, wanted):
    sizes = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            found = function(*args, **kwargs or {})
            parts = found if isinstance(found, tuple) else [found]
            sizes.extend(part.numel() for part in parts if isinstance(part, torch.Tensor))
            return found

    layer, x = TimeBandAttention(8, n_heads=2), torch.randn(2, 900, 1, 8)
    with torch.set_grad_enabled(wanted), Watch():
        y = layer(x, None if lengths is None else torch.tensor(lengths))
        if wanted:
            y.sum().backward()
    assert max(sizes) < 900**2 / 4


@pytest.mark.parametrize("n_heads", [3, -1])
def test_heads_must_divide_the_channels(n_heads):
    with pytest.raises(UserError, match=f"n_channels=16, n_heads={n_heads};.* n_heads: 0"):
        TimeBandAttention(16, n_heads)
