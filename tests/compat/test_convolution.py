"""`causal_conv1d_fn` and `causal_conv1d_update`: against a loop over taps, with every option, and each other."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from lobes.errors import UserError

pytestmark = pytest.mark.usefixtures("stand_in")


def taps(x, weight, bias, before=None):
    """The convolution written down, in float64; `before` are the inputs in front of the first step."""
    x, weight = x.double(), weight.double()
    width, steps = weight.shape[1], x.shape[-1]
    before = x.new_zeros(*x.shape[:2], width - 1) if before is None else before.double()
    long = torch.cat([before, x], -1)
    y = sum(weight[:, k, None] * long[..., k : k + steps] for k in range(width))
    return y if bias is None else y + bias.double()[:, None]


@pytest.mark.parametrize("activation", [None, "silu", "swish"])
@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("width", [2, 4])
def test_output_and_all_gradients(width, has_bias, activation):
    from causal_conv1d import causal_conv1d_fn
    from causal_conv1d.causal_conv1d_interface import causal_conv1d_ref

    x, weight = torch.randn(2, 5, 19), torch.randn(5, width)
    inputs = [x, weight, torch.randn(5)] if has_bias else [x, weight]
    found = []
    for function in (causal_conv1d_fn, causal_conv1d_ref, None):
        leaves = [tensor.clone().requires_grad_() for tensor in inputs]
        y = taps(*leaves, *[None] * (3 - len(leaves))) if function is None else function(*leaves, activation=activation)
        y = F.silu(y) if function is None and activation else y
        (y * torch.arange(19)).sum().backward()
        found.append([y.detach(), *(leaf.grad for leaf in leaves)])
    for got in found[:2]:
        for one, expected in zip(got, found[2], strict=True):
            assert torch.allclose(one.double(), expected.double(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("activation", [None, "silu"])
def test_pieces_with_states_equal_the_whole(activation):
    from causal_conv1d import causal_conv1d_fn

    x, weight, bias = torch.randn(2, 5, 19), torch.randn(5, 4), torch.randn(5)
    whole = causal_conv1d_fn(x, weight, bias, activation=activation)
    states, pieces, place = torch.zeros(2, 5, 3), [], torch.empty(2, 5, 3)
    for part in (slice(0, 2), slice(2, 11), slice(11, 19)):
        how = {"initial_states": states, "return_final_states": True, "final_states_out": place}
        y, states = causal_conv1d_fn(x[..., part], weight, bias, activation=activation, **how)
        assert states is place
        states = states.clone()
        pieces.append(y)
    assert torch.allclose(torch.cat(pieces, -1), whole, atol=1e-6) and torch.equal(states, x[..., -3:])


def test_initial_states_have_a_gradient():
    from causal_conv1d import causal_conv1d_fn

    states = torch.randn(1, 2, 3, requires_grad=True)
    causal_conv1d_fn(torch.randn(1, 2, 5), torch.ones(2, 4), initial_states=states).sum().backward()
    assert torch.equal(states.grad, torch.tensor([1.0, 2.0, 3.0]).expand(1, 2, 3))


def test_sequences_in_one_row_do_not_hear_each_other():
    from causal_conv1d import causal_conv1d_fn

    x, weight, bias = torch.randn(1, 5, 12), torch.randn(5, 4), torch.randn(5)
    number = torch.tensor([[0, 0, 0, 0, 0, 1, 1, 2, 2, 2, -1, -1]], dtype=torch.int32)
    y = causal_conv1d_fn(x, weight, bias, seq_idx=number, activation="silu")
    for part in (slice(0, 5), slice(5, 7), slice(7, 10)):
        assert torch.allclose(y[..., part], causal_conv1d_fn(x[..., part], weight, bias, activation="silu"), atol=1e-6)
    assert not y[..., 10:].any()


@pytest.mark.parametrize("size", [3, 4, 7])
@pytest.mark.parametrize("ring", [False, True])
@pytest.mark.parametrize("chunk", [1, 2])
def test_updates_equal_the_whole(size, ring, chunk):
    from causal_conv1d import causal_conv1d_fn, causal_conv1d_update

    x, weight, bias = torch.randn(2, 5, 12), torch.randn(5, 4), torch.randn(5)
    memory, found, so_far = torch.zeros(2, 5, size), [], torch.zeros(2, dtype=torch.int32)
    for t in range(0, 12, chunk):
        piece = x[..., t] if chunk == 1 else x[..., t : t + chunk]
        y = causal_conv1d_update(piece, memory, weight, bias, "silu", cache_seqlens=so_far if ring else None)
        assert y.shape == piece.shape
        found.append(y[..., None] if chunk == 1 else y)
        so_far += chunk
    assert torch.allclose(torch.cat(found, -1), causal_conv1d_fn(x, weight, bias, activation="silu"), atol=1e-6)
    expected = x[..., [max(t for t in range(12) if t % size == k) for k in range(size)]] if ring else x[..., -size:]
    assert torch.equal(memory, expected)


def test_rows_of_a_larger_memory():
    from causal_conv1d import causal_conv1d_update

    memory = torch.arange(24.0).view(4, 2, 3)
    before, rows = memory.clone(), torch.tensor([2, 0], dtype=torch.int32)
    x, weight = torch.randn(2, 2), torch.randn(2, 4)
    y = causal_conv1d_update(x, memory, weight, conv_state_indices=rows)
    assert torch.allclose(y.double(), taps(x[..., None], weight, None, before[rows.long()])[..., 0])
    assert torch.equal(memory[[1, 3]], before[[1, 3]]) and torch.equal(memory[[2, 0]][..., -1], x)


def test_half_precision_rows_with_float32_weights():
    from causal_conv1d import causal_conv1d_fn

    x, weight = torch.randn(2, 5, 9).bfloat16(), torch.randn(5, 4)
    y = causal_conv1d_fn(x, weight, activation="silu")
    assert y.dtype == torch.bfloat16 and torch.allclose(y.double(), F.silu(taps(x, weight, None)), atol=2e-2)


def test_what_does_not_go_together_is_one_line():
    from causal_conv1d import causal_conv1d_fn

    x, weight = torch.ones(1, 2, 5), torch.ones(2, 4)
    with pytest.raises(UserError, match="activation must be None, silu or swish, found 'gelu'"):
        causal_conv1d_fn(x, weight, activation="gelu")
    with pytest.raises(UserError, match="seq_idx goes with neither"):
        causal_conv1d_fn(x, weight, seq_idx=torch.zeros(1, 5), return_final_states=True)
