"""Attention with all heads in one tensor against a loop over the heads, with gradients; keys; padding."""

import pytest
import torch

from lobes.errors import UserError
from lobes.nnet.attention import CrossFrameAttention


def loop_over_heads(net, x):
    """The published form: one small network per head, softmax written out; x [B, L, F, D]."""
    batch, frames, bins, channels = x.shape
    outputs = []
    for head in range(net.n_heads):
        q, k, v = (getattr(net, f"attn_conv_{kind}_{head}")(x).transpose(2, 3) for kind in "QKV")  # [B, L, E, F]
        q, k, shape = q.flatten(2), k.flatten(2), v.shape
        weights = torch.softmax(q @ k.transpose(1, 2) / q.shape[-1] ** 0.5, -1)  # [B, L, L]
        outputs.append((weights @ v.flatten(2)).view(shape))
    joined = torch.cat(outputs, 2).transpose(2, 3)  # [B, L, F, D]
    assert joined.shape == (batch, frames, bins, channels)
    return x + net.attn_concat_proj(joined)


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


def test_keys_and_shapes_are_the_published_ones():
    shapes = {k: tuple(v.shape) for k, v in CrossFrameAttention(16, 129, 4, 512).state_dict().items()}
    assert len(shapes) == (3 * 4 + 1) * 5
    assert shapes["attn_conv_Q_3.0.weight"] == shapes["attn_conv_K_0.0.weight"] == (4, 16, 1, 1)
    assert shapes["attn_conv_V_0.0.bias"] == (4,)
    assert shapes["attn_conv_Q_0.1.weight"] == (1,)
    assert shapes["attn_conv_Q_0.2.gamma"] == shapes["attn_conv_K_0.2.beta"] == (1, 4, 1, 129)
    assert shapes["attn_concat_proj.2.gamma"] == (1, 16, 1, 129)


def test_frames_after_the_end_are_not_attended_to(net):
    x = torch.randn(2, 7, 5, 6, dtype=torch.float64)
    alone = net(x[:1, :4])
    x[0, 4:] = 50
    assert torch.allclose(net(x, torch.tensor([4, 7]))[:1, :4], alone, atol=1e-12)
    assert not torch.allclose(net(x)[:1, :4], alone, atol=1e-2)


def test_heads_must_divide_the_channels():
    with pytest.raises(UserError, match="n_heads=3"):
        CrossFrameAttention(16, 129, n_heads=3)
