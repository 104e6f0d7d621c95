"""Mamba: interchange with mamba_ssm, equations, tags, initial values, direction, padding, streaming."""

import math

import pytest
import torch
import torch.nn.functional as F

from lobes.nnet.mamba import Mamba


def mamba_ssm_state_dict(d_model=32, d_state=16, d_conv=4, expand=2):
    """Names and shapes of `mamba_ssm.modules.mamba_simple.Mamba`, versions 1.0 to 2.3."""
    inner, rank = expand * d_model, math.ceil(d_model / 16)
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
    generator = torch.Generator().manual_seed(0)
    return {name: 0.3 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def equations(weights, x):
    """The block written down step by step (Mamba, algorithm 2), for one direction, in fp64."""
    w = {k: v.double() for k, v in weights.items()}
    inner, state = w["A_log"].shape
    u, z = (x @ w["in_proj.weight"].T).split(inner, -1)
    padded = F.pad(u, (0, 0, 3, 0))
    u = sum(padded[:, k : k + x.shape[1]] * w["conv1d.weight"][:, 0, k] for k in range(4)) + w["conv1d.bias"]
    u = u * torch.sigmoid(u)
    dt, B, C = (u @ w["x_proj.weight"].T).split([w["dt_proj.weight"].shape[1], state, state], -1)
    dt = torch.log1p(torch.exp(dt @ w["dt_proj.weight"].T + w["dt_proj.bias"]))
    h, out = torch.zeros(x.shape[0], inner, state, dtype=torch.float64), []
    for t in range(x.shape[1]):
        decay = torch.exp(-dt[:, t, :, None] * torch.exp(w["A_log"]))
        h = decay * h + dt[:, t, :, None] * B[:, t, None] * u[:, t, :, None]
        out.append((h * C[:, t, None]).sum(-1) + w["D"] * u[:, t])
    return torch.stack(out, 1) * z * torch.sigmoid(z) @ w["out_proj.weight"].T


@pytest.fixture
def x():
    return torch.randn(3, 11, 32, generator=torch.Generator().manual_seed(1))


def test_weights_interchange_both_ways_and_follow_the_equations(x):
    mamba, weights = Mamba(32), mamba_ssm_state_dict()
    mamba.load_state_dict(weights)
    assert {k: v.shape for k, v in mamba.state_dict().items()} == {k: v.shape for k, v in weights.items()}
    expected = equations(weights, x.double())
    assert torch.allclose(mamba.double()(x.double()), expected, atol=1e-10)


def test_tags_stand_on_the_right_parameters():
    tagged = {name: vars(p) for name, p in Mamba(16).named_parameters() if vars(p)}
    assert tagged == {
        "A_log": {"_no_weight_decay": True},
        "D": {"_no_weight_decay": True},
        "dt_proj.bias": {"_no_reinit": True},
    }


@pytest.mark.parametrize("d_model", [16, 128])
def test_initial_values(d_model):
    torch.manual_seed(0)
    mamba = Mamba(d_model, d_state=8)
    dt = F.softplus(mamba.dt_proj.bias)
    assert 1e-3 * 0.999 <= dt.min() < 3e-3
    assert 3e-2 < dt.max() <= 1e-1 * 1.001
    assert torch.allclose(-mamba.A_log.exp(), -torch.arange(1.0, 9).expand(2 * d_model, 8), rtol=1e-6)
    assert (mamba.D == 1).all()
    assert mamba.dt_proj.weight.abs().max() <= mamba.dt_rank**-0.5
    assert mamba.in_proj.bias is mamba.x_proj.bias is mamba.out_proj.bias is None


def test_reverse_is_flip_mamba_flip(x):
    forward, backward = Mamba(32), Mamba(32, reverse=True)
    backward.load_state_dict(forward.state_dict())
    assert torch.allclose(backward(x), forward(x.flip(1)).flip(1), atol=1e-6)


@pytest.mark.parametrize("reverse", [False, True])
def test_a_padded_item_equals_the_item_alone(x, reverse):
    mamba, lengths = Mamba(32, reverse=reverse), torch.tensor([11, 6, 1])
    padded = x.clone()
    for i, n in enumerate(lengths):
        padded[i, n:] = float("nan")
    y = mamba(padded, lengths)
    for i, n in enumerate(lengths):
        assert torch.allclose(y[i, :n], mamba(x[i : i + 1, :n])[0], atol=1e-6)
        assert (y[i, n:] == 0).all()


def test_steps_equal_the_whole(x):
    mamba = Mamba(32)
    states = mamba.initial_states(3)
    steps = []
    for t in range(x.shape[1]):
        y, *states = mamba.step(x[:, t : t + 1], *states)
        steps.append(y)
    assert torch.allclose(torch.cat(steps, 1), mamba(x), atol=1e-6)


def test_a_reversed_block_cannot_step():
    mamba = Mamba(8, reverse=True)
    with pytest.raises(ValueError, match="reverse=False"):
        mamba.step(torch.zeros(1, 1, 8), *mamba.initial_states(1))


def test_bf16_autocast_is_close(x):
    mamba = Mamba(32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = mamba(x)
    expected = mamba(x)
    assert (y.float() - expected).norm() < 0.03 * expected.norm()


def test_initial_step_sizes_are_log_uniform():
    torch.manual_seed(0)
    share = (F.softplus(Mamba(512).dt_proj.bias).log() - math.log(1e-3)) / math.log(1e2)  # of the way on a log scale
    deciles = torch.quantile(share, torch.linspace(0.1, 0.9, 9))
    assert torch.allclose(deciles, torch.linspace(0.1, 0.9, 9), atol=0.05)


def test_a_block_in_bf16_decays_by_the_full_precision_of_its_weights():
    """What is left of a state when nothing comes in is exp(dt A): rounded to bf16, A would be off by up to 0.4 %."""
    torch.manual_seed(0)
    mamba = Mamba(16).bfloat16()
    with torch.no_grad():
        mamba.conv1d.bias.zero_()
    conv_state, ssm_state = mamba.initial_states(1)
    _, _, left = mamba.step(torch.zeros(1, 1, 16, dtype=torch.bfloat16), conv_state, torch.ones_like(ssm_state))
    dt, A = F.softplus(mamba.dt_proj.bias.double()), -mamba.A_log.double().exp()
    assert left.dtype == torch.float32
    assert torch.allclose(left[0].double(), (dt[:, None] * A).exp(), rtol=1e-5)
