"""BiMamba: keys, the two directions, padding."""

import torch

from lobes.nnet.bimamba import BiMamba


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
