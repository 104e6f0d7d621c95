"""Attention in a window against attention to all frames with a mask, in chunks, with gradients."""

import pytest
import torch
import torch.nn.functional as F

from lobes.errors import UserError
from lobes.nnet.attention import CrossFrameAttention
from lobes.nnet.lengths import mask
from lobes.nnet.memory import Memory
from lobes.nnet.window_attention import windowed_attention


def tensors(frames, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(2, 3, frames, size, generator=generator, dtype=torch.float64) for size in (5, 5, 4)]


def masked(query, key, value, before, after, frames=None):
    offset = torch.arange(key.shape[2])[None] - torch.arange(query.shape[2])[:, None] - key.shape[2] + query.shape[2]
    keep = (offset >= -before) & (offset <= after)
    if frames is not None:
        keep = keep & mask(frames, key.shape[2])[:, None, None] | (offset == 0)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=keep)


@pytest.mark.parametrize("before,after", [(0, 0), (1, 0), (2, 2), (3, 1), (5, 0), (40, 40)])
@pytest.mark.parametrize("frames", [1, 2, 7, 12, 13])
def test_equals_a_mask(before, after, frames):
    query, key, value = tensors(frames)
    valid = torch.tensor([frames, max(frames // 2, 1)])
    for counts in (None, valid):
        y = windowed_attention(query, key, value, before, after, counts)
        assert y.isfinite().all() and torch.allclose(y, masked(query, key, value, before, after, counts), atol=1e-12)


def test_gradients_equal_those_of_a_mask():
    inputs = [x.requires_grad_() for x in tensors(9)]
    seed = torch.randn(2, 3, 9, 4, dtype=torch.float64)
    grads = [torch.autograd.grad(attend(*inputs, 2, 1), inputs, seed) for attend in (windowed_attention, masked)]
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(*grads, strict=True))


@pytest.mark.parametrize("past", [1, 3])
def test_past_frames_are_keys_of_the_queries_after_them(past):
    query, key, value = tensors(9)
    whole = masked(query, key, value, 3, 0)
    part = windowed_attention(query[:, :, past:], key, value, 3, 0)
    assert torch.allclose(part, whole[:, :, past:], atol=1e-12)


def net(**options):
    torch.manual_seed(0)
    return CrossFrameAttention(6, 5, n_heads=3, approx_qk_dim=9, **options).double()


def test_a_wide_window_is_none():
    x, frames = torch.randn(2, 8, 5, 6, dtype=torch.float64), torch.tensor([8, 4])
    assert torch.allclose(net(window=7)(x), net()(x), atol=1e-10)
    assert torch.allclose(net(window=7)(x, frames)[1, :4], net()(x, frames)[1, :4], atol=1e-10)


def test_a_window_ends_where_it_says():
    attention, x = net(window=2), torch.randn(1, 12, 5, 6, dtype=torch.float64)
    y = attention(x)
    x[:, 6] = 9
    changed = (attention(x) != y).flatten(2).any(-1)[0]
    assert changed.nonzero()[:, 0].tolist() == [4, 5, 6, 7, 8]
    causal = net(window=2, causal=True)
    y = causal(x)
    x[:, 6] = -9
    assert (causal(x) != y).flatten(2).any(-1)[0].nonzero()[:, 0].tolist() == [6, 7, 8]


@pytest.mark.parametrize("size", [1, 2, 5, 20])
def test_chunks_of_a_stream(size):
    attention, x, memory = net(window=4, causal=True), torch.randn(2, 13, 5, 6, dtype=torch.float64), Memory()
    parts = [attention(chunk, None, memory) for chunk in x.split(size, 1)]
    assert torch.allclose(torch.cat(parts, 1), attention(x), atol=1e-12)
    assert all(kept.shape[2] == min(4, 13) for kept in memory[attention])


def test_what_a_window_cannot_be():
    with pytest.raises(UserError, match="attention_window of at least 0 frames, got -1"):
        net(window=-1)
    with pytest.raises(UserError, match=r"at least 1 frames, got 0; .* n_heads: 0"):
        net(causal=True)
