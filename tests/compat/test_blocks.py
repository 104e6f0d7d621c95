"""Norms, blocks, stacks and the update of a single step."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lobes.errors import UserError

pytestmark = pytest.mark.usefixtures("stand_in")


@pytest.mark.parametrize("rms", [True, False])
@pytest.mark.parametrize("has_residual", [True, False])
def test_norms_add_the_residual_first(rms, has_residual):
    from mamba_ssm.ops.triton.layer_norm import layer_norm_fn, rms_norm_fn

    x, residual, weight, bias = torch.randn(2, 3, 8), torch.randn(2, 3, 8), torch.randn(8), torch.randn(8)
    total = x + residual if has_residual else x
    centred = total if rms else total - total.mean(-1, keepdim=True)
    expected = centred / (centred.square().mean(-1, keepdim=True) + 0.1).sqrt() * weight + bias
    function = rms_norm_fn if rms else layer_norm_fn
    how = {"residual": residual if has_residual else None, "eps": 0.1}
    assert torch.allclose(function(x, weight, bias, **how), expected, atol=1e-5)
    y, kept = function(x, weight, bias, prenorm=True, **how)
    assert torch.allclose(y, expected, atol=1e-5) and torch.equal(kept, total)
    shifted = function(x, weight - 1, bias, zero_centered_weight=True, **how)
    assert torch.allclose(shifted, expected, atol=1e-5)


def test_dtypes_of_the_sum():
    from mamba_ssm.ops.triton.layernorm import rms_norm_fn

    x, weight = torch.randn(2, 8).bfloat16(), torch.ones(8)
    how = {"prenorm": True}
    assert [t.dtype for t in rms_norm_fn(x, weight, None, **how)] == [torch.bfloat16, torch.bfloat16]
    y, kept = rms_norm_fn(x, weight, None, residual_in_fp32=True, **how)
    assert (y.dtype, kept.dtype) == (torch.bfloat16, torch.float32)
    assert rms_norm_fn(x, weight, None, kept, **how)[1].dtype == torch.float32


def test_dropout_of_the_norm_is_for_training():
    from mamba_ssm.ops.triton.layer_norm import RMSNorm

    norm, x = RMSNorm(1000, dropout_p=0.5), torch.ones(1, 1000)
    assert 300 < int((norm(x) == 0).sum()) < 700
    assert torch.allclose(norm.eval()(x), x, atol=1e-4)
    assert dict(norm.named_parameters()).keys() == {"weight"} and norm.bias is None


def test_what_a_norm_does_not_offer_is_one_line():
    from mamba_ssm.ops.triton.layer_norm import layer_norm_fn

    x, weight = torch.randn(2, 8), torch.ones(8)
    assert torch.equal(layer_norm_fn(x, weight, None, x1=None, rowscale=None), layer_norm_fn(x, weight, None))
    with pytest.raises(UserError, match="layer_norm_fn: rowscale is not offered"):
        layer_norm_fn(x, weight, None, rowscale=torch.ones(2))
    with pytest.raises(TypeError):  # its fifth argument is eps in version 1 and x1 in version 2
        layer_norm_fn(x, weight, None, None, 1e-5)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("rms_norm", [True, False])
def test_blocks_of_both_versions_are_the_same_network(rms_norm, fused):
    from mamba_ssm.models.mixer_seq_simple import create_block
    from mamba_ssm.modules.block import Block
    from mamba_ssm.modules.mamba_simple import Block as FirstBlock
    from mamba_ssm.modules.mamba_simple import Mamba
    from mamba_ssm.ops.triton.layernorm import RMSNorm

    norm = partial(RMSNorm if rms_norm else nn.LayerNorm, eps=1e-5)
    first = FirstBlock(8, Mamba, norm, fused_add_norm=fused)
    others = [
        Block(8, Mamba, nn.Identity, norm, fused_add_norm=fused),
        create_block(8, ssm_cfg={}, rms_norm=rms_norm, fused_add_norm=fused),
        create_block(8, {"d_state": 16}, rms_norm=rms_norm, fused_add_norm=fused),
        create_block(8, 0, {"layer": "Mamba1"}, rms_norm=rms_norm, fused_add_norm=fused, layer_idx=2),
    ]
    assert (others[-1].layer_idx, others[-1].mixer.layer_idx) == (2, 2)
    x, residual = torch.randn(2, 5, 8), torch.randn(2, 5, 8)
    hidden, total = first(x, residual)
    assert torch.equal(total, x + residual)
    assert torch.allclose(hidden, first.mixer(norm(8)(total)), atol=1e-5)
    for other in others:
        other.load_state_dict(first.state_dict(), strict=True)
        assert torch.equal(other(x, residual)[0], hidden) and torch.equal(other(x, residual)[1], total)


@pytest.mark.parametrize("fused", [True, False])
def test_a_block_with_an_mlp(fused):
    from mamba_ssm.models.mixer_seq_simple import create_block

    block, x = create_block(8, 100, rms_norm=True, fused_add_norm=fused, residual_in_fp32=True), torch.randn(2, 5, 8)
    assert block.mlp.fc1.weight.shape == (256, 8) and block.mlp.fc2.weight.shape == (8, 128)
    hidden, residual = block(x)
    total = x + block.mixer(block.norm(x))
    value, multiplier = block.mlp.fc1(block.norm2(total)).chunk(2, -1)
    assert torch.allclose(residual, total, atol=1e-5)
    assert torch.allclose(hidden, block.mlp.fc2(value * F.silu(multiplier)), atol=1e-5)


def test_residuals_in_float32():
    from mamba_ssm.models.mixer_seq_simple import create_block

    for fused in (True, False):
        block = create_block(8, residual_in_fp32=True, fused_add_norm=fused, rms_norm=True, dtype=torch.bfloat16)
        hidden, residual = block(torch.randn(2, 5, 8).bfloat16())
        assert (hidden.dtype, residual.dtype) == (torch.bfloat16, torch.float32)
        assert block(hidden, residual)[1].dtype == torch.float32


@torch.no_grad()
def test_a_stack_streams_from_one_cache():
    from mamba_ssm.models.mixer_seq_simple import create_block
    from mamba_ssm.utils.generation import InferenceParams

    stack = nn.ModuleList([create_block(8, rms_norm=True, layer_idx=i) for i in range(3)])
    x = torch.randn(2, 9, 8)

    def run(x, cache=None):
        residual = None
        for block in stack:
            x, residual = block(x, residual, inference_params=cache)
        return x + residual

    states = {i: block.allocate_inference_cache(2, 9) for i, block in enumerate(stack)}
    cache = InferenceParams(9, 2, seqlen_offset=1, key_value_memory_dict=states)
    steps = [run(x[:, t : t + 1], cache) for t in range(9)]
    assert torch.allclose(torch.cat(steps, 1), run(x), atol=1e-6)


def test_other_kinds_of_layers_are_one_line():
    from mamba_ssm.models.mixer_seq_simple import create_block
    from mamba_ssm.modules.block import Block
    from mamba_ssm.modules.mamba_simple import Mamba

    with pytest.raises(UserError, match="mamba_ssm.Mamba2 is not offered.*CUDA"):
        create_block(8, ssm_cfg={"layer": "Mamba2"})
    with pytest.raises(UserError, match=r"attn_layer_idx=\[1\]: layers of attention are not offered"):
        create_block(8, attn_layer_idx=[1])
    with pytest.raises(UserError, match="fused_add_norm expects nn.LayerNorm or mamba_ssm's RMSNorm.*found Identity"):
        Block(8, Mamba, nn.Identity, norm_cls=nn.Identity, fused_add_norm=True)


def test_initial_weights_of_a_network():
    from mamba_ssm.models.mixer_seq_simple import _init_weights, create_block

    network = nn.ModuleList([nn.Embedding(1000, 8), nn.Linear(8, 8), create_block(8, 50)])
    before = {name: weight.clone() for name, weight in network.named_parameters()}
    network.apply(partial(_init_weights, n_layer=9, n_residuals_per_layer=4))
    after = dict(network.named_parameters())
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"0.weight", "1.bias", "2.mixer.out_proj.weight", "2.mlp.fc2.weight"}
    assert 0.018 < after["0.weight"].std() < 0.022 and not after["1.bias"].any()
    for name, width in (("2.mixer.out_proj.weight", 16), ("2.mlp.fc2.weight", 128)):
        assert 0.8 * width**-0.5 / 6 < after[name].abs().max() <= width**-0.5 / 6
    network.apply(partial(_init_weights, n_layer=9, rescale_prenorm_residual=False, initializer_range=1.0))
    assert 0.9 < after["0.weight"].std() < 1.1


def test_a_single_update_of_the_state():
    from mamba_ssm.ops.triton.selective_state_update import selective_state_update

    normal = torch.randn
    state, x, dt, A, B, C = normal(2, 3, 4), normal(2, 3), normal(2, 3), -torch.rand(3, 4), normal(2, 4), normal(2, 4)
    D, z, bias, before = normal(3), normal(2, 3), normal(3), state.clone()
    y = selective_state_update(state, x, dt, A, B, C, D, z=z, dt_bias=bias, dt_softplus=True)
    step = F.softplus(dt + bias)[..., None]
    expected = torch.exp(step * A) * before + step * x[..., None] * B[:, None]
    assert torch.allclose(state, expected, atol=1e-6)
    assert torch.allclose(y, ((expected * C[:, None]).sum(-1) + D * x) * F.silu(z), atol=1e-5)
    y = selective_state_update(before.clone(), x, dt, A, B, C)
    raw = torch.exp(dt[..., None] * A) * before + (dt * x)[..., None] * B[:, None]
    assert torch.allclose(y, (raw * C[:, None]).sum(-1), atol=1e-5)
    with pytest.raises(UserError, match="has no heads"):
        selective_state_update(normal(2, 1, 3, 4), normal(2, 1, 3), normal(2, 1, 3), A, B, C)
