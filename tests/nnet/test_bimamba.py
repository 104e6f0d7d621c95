"""BiMamba: keys, the two directions, padding. BiMambaStack: its formula, and the two starts."""

import pytest
import torch
import torch.nn.functional as F

from lobes.errors import UserError
from lobes.nnet.bimamba import STARTS, BiMamba, BiMambaStack


def test_keys_of_the_two_directions():
    keys = set(BiMamba(8).state_dict())
    mixer = "A_log D in_proj.weight conv1d.weight conv1d.bias x_proj.weight dt_proj.weight dt_proj.bias out_proj.weight"
    block = {"norm.weight", *(f"mixer.{name}" for name in mixer.split())}
    assert keys == {f"{side}_block.{name}" for side in ("forward", "backward") for name in block}


def test_both_directions_are_concatenated():
    torch.manual_seed(0)
    net, x = BiMamba(8), torch.randn(2, 9, 8)
    ahead, back = net.forward_block, net.backward_block
    back.mixer.reverse = False
    flipped = back(x.flip(1)).flip(1)
    back.mixer.reverse = True
    rms = x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    assert torch.allclose(ahead(x), x + ahead.mixer(rms), atol=1e-6)
    assert torch.allclose(net(x), torch.cat([ahead(x), flipped], -1), atol=1e-6)


def test_a_padded_item_equals_the_item_alone_with_gradients():
    torch.manual_seed(0)
    net, x, lengths = BiMamba(8), torch.randn(3, 9, 8), torch.tensor([9, 5, 1])
    padded = x.clone()
    for i, n in enumerate(lengths):
        padded[i, n:] = float("nan")
    y = net(padded, lengths)
    alone = [net(x[i : i + 1, :n])[0] for i, n in enumerate(lengths)]
    for i, n in enumerate(lengths):
        assert torch.allclose(y[i, :n], alone[i], atol=1e-6)
        assert (y[i, n:] == 0).all()
    parameters = list(net.parameters())
    together = torch.autograd.grad(y.square().sum(), parameters)
    apart = torch.autograd.grad(sum(a.square().sum() for a in alone), parameters)
    for a, b in zip(together, apart, strict=True):
        assert torch.allclose(a, b, atol=1e-4, rtol=1e-4)


def test_half_of_the_channels_knows_the_past_alone_and_half_the_future_alone():
    torch.manual_seed(0)
    net, x, changed = BiMamba(8), torch.randn(1, 9, 8), 4
    other = x.clone()
    other[:, changed] += 1.0
    moved = (net(x) - net(other)).abs().amax(0) > 1e-7  # [L, 2 D]
    ahead, back = moved[:, :8].any(1).tolist(), moved[:, 8:].any(1).tolist()
    assert ahead == [False] * changed + [True] * (9 - changed)
    assert back == [True] * (changed + 1) + [False] * (8 - changed)


def stack(start, n_blocks=4):
    torch.manual_seed(0)
    return BiMambaStack(64, n_blocks, d_state=4, start=start)


def test_a_stack_is_residuals_of_the_mean_and_a_norm():
    net, x = stack("constructed", 2), torch.randn(2, 9, 64)

    def rms(v, norm):
        return v / (v.square().mean(-1, keepdim=True) + 1e-5).sqrt() * norm.weight

    y = x
    for layer in net.layers:
        layer.norm.weight.data.uniform_(0.5, 2)
        u, z = layer.in_proj(rms(y, layer.norm)).chunk(2, -1)
        layer.backward_core.reverse = False
        back = layer.backward_core(u.flip(1), z.flip(1)).flip(1)
        layer.backward_core.reverse = True
        y = y + layer.out_proj((layer.forward_core(u, z) + back) / 2)
    net.norm_f.weight.data.uniform_(0.5, 2)
    assert torch.allclose(net(x), rms(y, net.norm_f), atol=1e-5)


def test_a_stack_takes_lengths():
    net, x, lengths = stack("constructed", 2), torch.randn(2, 9, 64), torch.tensor([9, 4])
    assert torch.allclose(net(x, lengths)[1, :4], net(x[1:, :4])[0], atol=1e-6)


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("start", STARTS)
def test_the_start_of_a_stack(start, again):
    net = stack(start)
    if again:
        for p in net.parameters():
            p.data.fill_(3.0)
        net.reset_parameters()
    for layer in net.layers:
        for core in (layer.forward_core, layer.backward_core):
            dt, bound = F.softplus(core.dt_proj.bias), core.dt_rank**-0.5  # rank 4
            if start == "constructed":
                assert 1e-3 * 0.999 <= dt.min() < 3e-3 and 3e-2 < dt.max() <= 1e-1 * 1.001
            else:
                assert -bound <= core.dt_proj.bias.min() < -0.9 * bound < 0.9 * bound < core.dt_proj.bias.max() <= bound
            assert 0.95 * bound < core.dt_proj.weight.abs().max() <= bound
            assert torch.equal(core.A_log, torch.arange(1.0, 5).log().expand(128, 4)) and (core.D == 1).all()
        largest = 128**-0.5 / (2 if start == "constructed" else 1)  # four blocks
        assert 0.95 * largest < layer.out_proj.weight.abs().max() <= largest
        assert (layer.norm.weight == 1).all() and (net.norm_f.weight == 1).all()
    assert not torch.equal(net.layers[0].in_proj.weight, net.layers[1].in_proj.weight)


def test_options_of_a_stack_are_checked():
    with pytest.raises(UserError, match="start: expected constructed or published, got 'publishd'. Did you mean"):
        BiMambaStack(8, start="publishd")
    with pytest.raises(UserError, match="at least one Mamba block, got 0"):
        BiMambaStack(8, 0)
