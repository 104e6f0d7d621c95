"""The layer `Mamba`: weights, initial values, equations, streaming, pickles."""

from __future__ import annotations

import io
import math
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lobes.nnet.mamba import Mamba as LobesMamba

pytestmark = pytest.mark.usefixtures("stand_in")


def keys_and_shapes(d_model=32, inner=64, rank=2, d_state=16, d_conv=4, bias=False):
    """The state dict of `mamba_ssm.modules.mamba_simple.Mamba`, versions 1.0 to 2.3."""
    shapes = {
        "A_log": (inner, d_state),
        "D": (inner,),
        "in_proj.weight": (2 * inner, d_model),
        "conv1d.weight": (inner, 1, d_conv),
        "conv1d.bias": (inner,),
        "x_proj.weight": (rank + 2 * d_state, inner),
        "dt_proj.weight": (inner, rank),
        "dt_proj.bias": (inner,),
        "out_proj.weight": (d_model, inner),
    }
    biases = {"in_proj.bias": (2 * inner,), "out_proj.bias": (d_model,)} if bias else {}
    return shapes | biases


@pytest.mark.parametrize("bias", [False, True])
def test_a_checkpoint_of_mamba_ssm_loads_strictly_and_follows_the_equations(bias):
    from mamba_ssm import Mamba

    generator = torch.Generator().manual_seed(0)
    shapes = keys_and_shapes(bias=bias)
    state = {name: 0.3 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    layer = Mamba(32, bias=bias)
    layer.load_state_dict(state, strict=True)
    assert {name: tuple(tensor.shape) for name, tensor in layer.state_dict().items()} == shapes
    x = torch.randn(3, 11, 32, generator=generator)
    assert torch.allclose(layer.double()(x.double()), equations(state, x), atol=1e-10)


def equations(state, x):
    """The block step by step (Gu and Dao 2023, algorithm 2), in float64."""
    w, x = {name: tensor.double() for name, tensor in state.items()}, x.double()
    inner, states = w["A_log"].shape
    u, z = F.linear(x, w["in_proj.weight"], w.get("in_proj.bias")).split(inner, -1)
    past = F.pad(u, (0, 0, 3, 0))
    u = F.silu(sum(past[:, k : k + x.shape[1]] * w["conv1d.weight"][:, 0, k] for k in range(4)) + w["conv1d.bias"])
    dt, B, C = (u @ w["x_proj.weight"].T).split([w["dt_proj.weight"].shape[1], states, states], -1)
    dt = F.softplus(dt @ w["dt_proj.weight"].T + w["dt_proj.bias"])
    h, out = torch.zeros(x.shape[0], inner, states, dtype=torch.float64), []
    for t in range(x.shape[1]):
        h = torch.exp(-dt[:, t, :, None] * w["A_log"].exp()) * h + (dt * u)[:, t, :, None] * B[:, t, None]
        out.append((h * C[:, t, None]).sum(-1) + w["D"] * u[:, t])
    return F.linear(torch.stack(out, 1) * F.silu(z), w["out_proj.weight"], w.get("out_proj.bias"))


def test_a_seed_gives_the_initial_weights_that_it_gives_in_mamba_ssm():
    """mamba_ssm draws in the order in_proj, conv1d, x_proj, dt_proj, its weight and bias once more, out_proj."""
    from mamba_ssm import Mamba

    torch.manual_seed(7)
    layer = Mamba(24, d_state=8, expand=2)
    torch.manual_seed(7)
    in_proj, conv1d = nn.Linear(24, 96, bias=False), nn.Conv1d(48, 48, 4, groups=48)
    x_proj, dt_proj = nn.Linear(48, 2 + 16, bias=False), nn.Linear(2, 48)
    nn.init.uniform_(dt_proj.weight, -(2**-0.5), 2**-0.5)
    dt = torch.exp(torch.rand(48) * (math.log(0.1) - math.log(0.001)) + math.log(0.001)).clamp(min=1e-4)
    out_proj = nn.Linear(48, 24, bias=False)
    expected = {
        "in_proj.weight": in_proj.weight,
        "conv1d.weight": conv1d.weight,
        "conv1d.bias": conv1d.bias,
        "x_proj.weight": x_proj.weight,
        "dt_proj.weight": dt_proj.weight,
        "dt_proj.bias": dt + torch.log(-torch.expm1(-dt)),
        "out_proj.weight": out_proj.weight,
        "A_log": torch.log(torch.arange(1.0, 9.0)).expand(48, 8),
        "D": torch.ones(48),
    }
    assert {name for name, tensor in layer.state_dict().items() if torch.equal(tensor, expected[name])} == set(expected)
    assert layer.A_log._no_weight_decay and layer.D._no_weight_decay and layer.dt_proj.bias._no_reinit


def test_arguments_of_mamba_ssm_are_taken():
    from mamba_ssm import Mamba

    arguments = {"dt_rank": 3, "dt_min": 0.01, "dt_max": 0.01, "dt_init": "constant", "dt_scale": 2.0}
    layer = Mamba(16, 4, 3, 1.5, **arguments, conv_bias=False, bias=True, use_fast_path=False, layer_idx=5)
    assert layer.conv1d.bias is None and layer.in_proj.bias is not None and layer.d_inner == 24
    assert torch.allclose(layer.dt_proj.weight, torch.tensor(2 * 3**-0.5))
    assert torch.allclose(F.softplus(layer.dt_proj.bias), torch.tensor(0.01))
    assert layer(torch.rand(2, 7, 16)).shape == (2, 7, 16)
    layer = Mamba(16, dtype=torch.bfloat16, device="cpu")
    assert layer.A_log.dtype == layer.D.dtype == torch.float32 and layer.x_proj.weight.dtype == torch.bfloat16
    assert layer(torch.rand(2, 7, 16, dtype=torch.bfloat16)).dtype == torch.bfloat16
    with pytest.raises(NotImplementedError, match="dt_init must be random or constant, found 'zeros'"):
        Mamba(16, dt_init="zeros")


def test_all_gradients_are_those_of_the_layer_of_lobes():
    from mamba_ssm import Mamba

    layer, other = Mamba(16), LobesMamba(16)
    other.load_state_dict(layer.state_dict())
    x = torch.randn(3, 20, 16)
    found = []
    for network in (layer, other):
        leaf = x.clone().requires_grad_()
        network(leaf).square().sum().backward()
        found.append({"x": leaf.grad, **{name: p.grad for name, p in network.named_parameters()}})
    for name, expected in found[1].items():
        assert torch.allclose(found[0][name], expected, rtol=1e-4, atol=1e-6), name


@pytest.mark.parametrize("conv_bias, bias", [(True, False), (False, True)])
@torch.no_grad()
def test_steps_equal_the_parallel_forward(conv_bias, bias):
    from mamba_ssm import Mamba

    layer, x = Mamba(16, d_state=5, conv_bias=conv_bias, bias=bias), torch.randn(3, 23, 16)
    states = layer.allocate_inference_cache(3, max_seqlen=23)
    assert [tuple(state.shape) for state in states] == [(3, 32, 4), (3, 32, 5)]
    steps = []
    for t in range(23):
        y, *after = layer.step(x[:, t : t + 1], *states)
        assert all(one is other for one, other in zip(after, states, strict=True))  # changed in place
        steps.append(y)
    assert torch.allclose(torch.cat(steps, 1), layer(x), atol=1e-6)
    with pytest.raises(ValueError, match="expected one step"):
        layer.step(x[:, :2], *states)


@pytest.mark.parametrize("first", [1, 2, 4, 9])
@torch.no_grad()
def test_a_cache_carries_a_sequence_on(first):
    from mamba_ssm import Mamba
    from mamba_ssm.utils.generation import InferenceParams

    layer, x = Mamba(16, layer_idx=3), torch.randn(2, 13, 16)
    cache = InferenceParams(max_seqlen=13, max_batch_size=2)
    pieces = [layer(x[:, :first], inference_params=cache)]
    cache.seqlen_offset += first
    for t in range(first, 13):
        pieces.append(layer(x[:, t : t + 1], inference_params=cache))
        cache.seqlen_offset += 1
    assert list(cache.key_value_memory_dict) == [3]
    assert torch.allclose(torch.cat(pieces, 1), layer(x), atol=1e-6)
    cache.reset(13, 2)
    assert torch.allclose(layer(x[:, :first], inference_params=cache), pieces[0], atol=1e-6)
    with pytest.raises(ValueError, match="needs layer_idx"):
        Mamba(16)(x, inference_params=cache)


@torch.no_grad()
def test_states_in_half_precision_keep_their_dtype():
    from mamba_ssm import Mamba

    layer, x = Mamba(16), torch.randn(2, 9, 16)
    states = layer.allocate_inference_cache(2, 9, dtype=torch.bfloat16)
    steps = [layer.step(x[:, t : t + 1], *states)[0] for t in range(9)]
    assert states[0].dtype == states[1].dtype == torch.bfloat16
    assert torch.allclose(torch.cat(steps, 1), layer(x), atol=2e-2)


def test_autocast_keeps_the_scan_in_full_precision():
    from mamba_ssm import Mamba

    layer, x = Mamba(16), torch.randn(2, 30, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = layer(x)
        y.float().square().sum().backward()
    assert y.dtype == torch.bfloat16 and torch.allclose(y.float(), layer(x), atol=2e-2)
    assert layer.A_log.grad.dtype == torch.float32 and torch.isfinite(layer.A_log.grad).all()


def test_a_pickled_network_holds_the_names_of_mamba_ssm():
    from mamba_ssm.modules.mamba_simple import Mamba

    layer, file, x = Mamba(8), io.BytesIO(), torch.randn(1, 5, 8)
    torch.save(layer, file)
    assert b"mamba_ssm.modules.mamba_simple" in file.getvalue() and b"lobes" not in file.getvalue()
    file.seek(0)
    again = torch.load(file, weights_only=False)
    assert type(again) is Mamba is sys.modules["mamba_ssm"].Mamba
    assert torch.equal(again(x), layer(x)) and str(type(again)) == "<class 'mamba_ssm.modules.mamba_simple.Mamba'>"
