"""All mixers behind their interface: lengths, directions, streams, precision, initial weights, mistakes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lobes.errors import UserError
from lobes.nnet.memory import Memory
from lobes.nnet.mixers import (
    MIXERS,
    Averaged,
    Directions,
    chosen_direction,
    chosen_mixer,
    chosen_width,
    make_mixer,
    make_mixers,
)
from lobes.nnet.mixers.attention import SelfAttention
from lobes.nnet.mixers.mamba2 import Mamba2
from lobes.nnet.mixers.mlstm import MLSTM

D, WIDTH = 6, 8
CARRYING = ("mamba", "mamba2", "lstm", "xlstm")
SIDES = [(name, side) for name in MIXERS for side in ("forward", "backward" if name in CARRYING else "both")]


def mixer_of(name, side, **sizes):
    torch.manual_seed(0)
    return make_mixer(name, D, side, WIDTH, d_state=4, **sizes).double()


def noise(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("name, side", SIDES)
def test_padding_changes_nothing(name, side):
    mixer, x, steps = mixer_of(name, side), noise(2, 40, D), torch.tensor([40, 17])
    x[1, 17:] = torch.nan
    x.requires_grad_()
    y = mixer(x, steps)
    assert torch.allclose(y[1, :17], mixer(x[1:, :17])[0], atol=1e-12) and not y[1, 17:].any()
    assert torch.allclose(y[0], mixer(x[:1])[0], atol=1e-12)
    (gradient,) = torch.autograd.grad(y.square().sum(), x)
    (alone,) = torch.autograd.grad(mixer(x[1:, :17]).square().sum(), x)
    assert torch.allclose(gradient[1, :17], alone[1, :17], atol=1e-12) and not gradient[1, 17:].any()


@pytest.mark.parametrize("name", CARRYING)
def test_backward_is_forward_between_two_flips(name):
    forward, backward = mixer_of(name, "forward"), mixer_of(name, "backward")
    backward.load_state_dict(forward.state_dict())
    x = noise(2, 20, D)
    assert torch.allclose(backward(x), forward(x.flip(1)).flip(1), atol=1e-12)
    with pytest.raises(ValueError, match="memory"):
        backward(x, None, Memory())


@pytest.mark.parametrize("name, side", SIDES)
def test_who_sees_whom(name, side):
    mixer, x = mixer_of(name, side), noise(1, 9, D)
    changed = x.clone()
    changed[:, 4] += 1
    moved = ((mixer(changed) - mixer(x)).abs().amax(-1)[0] > 1e-9).tolist()
    expected = {"forward": [False] * 4 + [True] * 5, "backward": [True] * 5 + [False] * 4, "both": [True] * 9}[side]
    assert moved == expected


@pytest.mark.parametrize("name", [name for name in MIXERS if name != "attention"])
def test_a_stream_in_chunks_is_the_whole(name):
    mixer, x, memory = mixer_of(name, "forward"), noise(2, 70, D), Memory()
    parts = [mixer(chunk, None, memory) for chunk in x.split([1, 2, 40, 27], 1)]
    assert torch.allclose(torch.cat(parts, 1), mixer(x), atol=1e-12)


@pytest.mark.parametrize("name", ["attention", "conv"])
def test_no_stream_for_what_sees_later_steps_or_all_of_the_past(name):
    with pytest.raises(ValueError, match="memory"):
        mixer_of(name, "both")(noise(1, 3, D), None, Memory())


@pytest.mark.parametrize("name, side", SIDES)
def test_autocast_changes_little(name, side):
    mixer, x = mixer_of(name, side).float(), noise(2, 80, D).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = mixer(x)
    assert torch.allclose(y.float(), mixer(x), atol=0.03)


@pytest.mark.parametrize("name", ["mamba2", "xlstm"])
def test_states_stay_fp32_under_autocast(name):
    mixer, memory = mixer_of(name, "forward").float(), Memory()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixer(noise(1, 5, D).float(), None, memory)
    state = memory[mixer]
    assert all(one.dtype == torch.float32 for one in (state if isinstance(state, tuple) else [state]))


@pytest.mark.parametrize("name, side", SIDES)
def test_all_weights_are_drawn_again_and_get_gradients(name, side):
    mixer = mixer_of(name, side)
    before = {key: value.detach().clone() for key, value in mixer.named_parameters()}
    with torch.no_grad():
        for value in mixer.parameters():
            value.fill_(0.123)
    torch.manual_seed(0)
    mixer.reset_parameters()
    for key, value in mixer.named_parameters():
        assert not (value == 0.123).any(), key
        assert torch.allclose(value.mean(), before[key].mean(), atol=1.0), key
    mixer(noise(2, 12, D)).square().sum().backward()
    assert all(value.grad is not None and value.grad.isfinite().all() for value in mixer.parameters())


def test_initial_values_are_the_published_ones():
    mamba2 = Mamba2(D, 64, heads=32)
    assert all(1 <= value <= 16 for value in mamba2.A_log.exp().tolist())
    assert all(0.99e-3 <= value <= 0.101 for value in F.softplus(mamba2.dt_bias).tolist())
    assert all(value._no_weight_decay for value in (mamba2.A_log, mamba2.D, mamba2.dt_bias))
    torch.manual_seed(0)
    mlstm = MLSTM(D, 64)
    assert not mlstm.gates.weight.any() and torch.equal(mlstm.gates.bias[4:], torch.linspace(3, 6, 4))
    assert mlstm.in_proj.weight.std().item() == pytest.approx((2 / (5 * D)) ** 0.5, rel=0.1)
    assert mlstm.query.weight.std().item() == pytest.approx((2 / (5 * 64)) ** 0.5, rel=0.2)
    assert mlstm.query.weight.shape == (16, 4, 4)


def test_attention_is_pytorchs_but_for_its_positions(monkeypatch):
    monkeypatch.setattr("lobes.nnet.mixers.attention.turned", lambda x: x)
    attention, x = SelfAttention(D, 8, heads=2).double(), noise(2, 7, D)
    reference = nn.MultiheadAttention(8, 2, bias=False, batch_first=True).double()
    reference.in_proj_weight = nn.Parameter(torch.eye(8).double().repeat(3, 1))
    reference.out_proj.weight = nn.Parameter(torch.eye(8).double())
    expected = reference(*attention.in_proj(x).chunk(3, -1), need_weights=False)[0]
    assert torch.allclose(attention(x), attention.out_proj(expected), atol=1e-12)


def test_attention_knows_distances_and_not_places():
    attention, x = SelfAttention(D, 12, heads=2).double(), noise(1, 6, D)
    shifted = torch.cat((noise(1, 5, D), x), 1)
    query, key = (attention.in_proj(one).unflatten(-1, (3, 2, -1)).permute(2, 0, 3, 1, 4)[:2] for one in (x, shifted))
    from lobes.nnet.mixers.attention import turned

    products = [turned(one[0]) @ turned(one[1]).transpose(-1, -2) for one in (query, key)]
    assert torch.allclose(products[0], products[1][..., 5:, 5:], atol=1e-12)
    assert not torch.allclose(attention(x), attention(x.flip(1)).flip(1), atol=1e-3)


def test_directions_side_by_side_and_their_mean():
    x = noise(2, 10, D)
    mixers = [mixer_of("lstm", side) for side in ("forward", "backward")]
    one, two = (mixer(x) for mixer in mixers)
    assert torch.equal(Directions(mixers, D)(x), torch.cat((one, two), -1))
    assert torch.allclose(Averaged(mixers, D, residual=False)(x), (one + two) / 2)
    norm = Averaged(mixers, D).double()
    normed = norm.norm(x)
    assert torch.allclose(norm(x), x + (mixers[0](normed) + mixers[1](normed)) / 2)
    residual = Directions(mixers[:1], D, residual=True).double()
    assert torch.allclose(residual(x), x + mixers[0](residual.norms[0](x)))


def test_mistakes_are_named():
    with pytest.raises(UserError, match="mixer: expected one of mamba, .*'lstn'. Did you mean 'lstm'"):
        chosen_mixer("lstn", "mamba")
    with pytest.raises(UserError, match="direction: expected one of both, forward, got 'forwards'. Did you mean"):
        chosen_direction("forwards")
    with pytest.raises(UserError, match="attention keeps a state that grows"):
        chosen_mixer("attention", "mamba", causal=True)
    with pytest.raises(UserError, match="a causal network runs forward only"):
        chosen_direction("both", causal=True)
    for name in ("mamba2", "xlstm", "attention"):
        with pytest.raises(UserError, match="mixer_heads that divide the width, got 4 and 10"):
            make_mixers(name, D, "both", 10)
    with pytest.raises(UserError, match="mixer_width: expected a whole number from 1 up, got 0"):
        chosen_width(0, 8)
