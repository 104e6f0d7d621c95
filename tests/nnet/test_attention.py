"""Attention with all heads in one tensor against a loop over the heads, with gradients; shapes; padding."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lobes.errors import UserError
from lobes.nnet.attention import CrossFrameAttention


def one_head(projection, head, x):
    """The published small network of one head, convolution, PReLU and norm: [B, L, E, F]."""
    maps = [part.unflatten(0, (len(projection.slope), -1))[head] for part in (projection.weight, projection.bias)]
    y = F.prelu(F.linear(x, *maps), projection.slope[head, None]).transpose(2, 3)
    mean, variance = y.mean((2, 3), keepdim=True), y.var((2, 3), correction=0, keepdim=True)
    return (y - mean) / (variance + 1e-5).sqrt() * projection.gamma[head] + projection.beta[head]


def loop_over_heads(net, x):
    """The published form: one small network per head, softmax written out; x [B, L, F, D]."""
    batch, frames, bins, channels = x.shape
    outputs = []
    for head in range(3):
        q, k, v = (one_head(projection, head, x) for projection in (net.query, net.key, net.value))  # [B, L, E, F]
        q, k, shape = q.flatten(2), k.flatten(2), v.shape
        weights = torch.softmax(q @ k.transpose(1, 2) / q.shape[-1] ** 0.5, -1)  # [B, L, L]
        outputs.append((weights @ v.flatten(2)).view(shape))
    joined = torch.cat(outputs, 2).transpose(2, 3)  # [B, L, F, D]
    assert joined.shape == (batch, frames, bins, channels)
    return x + net.output(joined)


@pytest.fixture
def net():
    torch.manual_seed(0)
    net = CrossFrameAttention(6, 5, n_heads=3, approx_qk_dim=9).double()
    for p in net.parameters():
        p.data += 0.3 * torch.randn_like(p)
    return net


def test_equals_the_loop_with_all_gradients(net):
    x = torch.randn(2, 7, 5, 6, dtype=torch.float64, requires_grad=True)
    fast, slow = net(x), loop_over_heads(net, x)
    assert torch.allclose(fast, slow, atol=1e-10)
    inputs, seed = [x, *net.parameters()], torch.randn_like(fast)
    pairs = zip(torch.autograd.grad(fast, inputs, seed), torch.autograd.grad(slow, inputs, seed), strict=True)
    for a, b in pairs:
        assert torch.allclose(a, b, atol=1e-9)


def test_shapes():
    shapes = {k: tuple(v.shape) for k, v in CrossFrameAttention(16, 129, 4, 512).state_dict().items()}
    assert len(shapes) == (3 + 1) * 5
    assert shapes["query.weight"] == shapes["key.weight"] == (16, 16)
    assert shapes["value.bias"] == (16,)
    assert shapes["query.slope"] == (4,)
    assert shapes["query.gamma"] == shapes["key.beta"] == (4, 4, 129)
    assert shapes["output.norm.gamma"] == (1, 16, 1, 129)


def test_a_seed_gives_the_weights_of_the_published_layers():
    """Which are drawn head by head: query, key, value."""
    torch.manual_seed(3)
    heads = [[nn.Conv2d(6, size, 1) for size in (2, 2, 2)] for _ in range(3)]
    joined = nn.Conv2d(6, 6, 1)
    torch.manual_seed(3)
    net = CrossFrameAttention(6, 5, n_heads=3, approx_qk_dim=9)
    for i, projection in enumerate((net.query, net.key, net.value)):
        assert torch.equal(projection.weight, torch.cat([head[i].weight.flatten(1) for head in heads]))
        assert torch.equal(projection.bias, torch.cat([head[i].bias for head in heads]))
    assert torch.equal(net.output.linear.weight, joined.weight.flatten(1))
    assert torch.equal(net.output.linear.bias, joined.bias)


def test_frames_after_the_end_are_not_attended_to(net):
    x = torch.randn(2, 7, 5, 6, dtype=torch.float64)
    alone = net(x[:1, :4])
    x[0, 4:] = 50
    assert torch.allclose(net(x, torch.tensor([4, 7]))[:1, :4], alone, atol=1e-12)
    assert not torch.allclose(net(x)[:1, :4], alone, atol=1e-2)


def test_heads_must_divide_the_channels():
    with pytest.raises(UserError, match="n_heads=3"):
        CrossFrameAttention(16, 129, n_heads=3)
