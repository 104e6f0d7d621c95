"""LSTMs under bf16 autocast: in fp32 where the processor has none in bf16, whatever the input's form."""

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from lobes.nnet import lstm
from lobes.nnet.bilstm import BiLSTM


@pytest.fixture
def without_bf16(monkeypatch):
    monkeypatch.setattr(lstm, "runs_in_bf16", lambda: False)


def test_fp32_under_autocast_where_there_is_no_bf16(without_bf16):
    layer, x = lstm.LSTM(8, 16, batch_first=True), torch.rand(2, 5, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = layer(x.bfloat16())[0]
    assert y.dtype == torch.float32 and torch.equal(y, layer(x.bfloat16().float())[0])


def test_packed_sequences_too(without_bf16):
    layer, x = lstm.LSTM(8, 16, batch_first=True), torch.rand(2, 5, 8)
    packed = pack_padded_sequence(x.bfloat16(), torch.tensor([5, 3]), batch_first=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(packed)[0].data.dtype == torch.float32


@pytest.mark.parametrize("steps", [None, torch.tensor([5, 3])])
def test_a_bidirectional_one_runs_with_gradients_on_this_processor(steps):
    layer = BiLSTM(8, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = layer(torch.rand(2, 5, 8), steps)
    y.float().sum().backward()
    assert torch.isfinite(layer.weight_ih_l0.grad).all()


def test_a_padded_batch_has_the_bits_that_pytorchs_own_order_gives():
    layer, x, steps = BiLSTM(5, 7), torch.randn(4, 9, 5), torch.tensor([3, 9, 1, 9])
    packed = pack_padded_sequence(x, steps, batch_first=True, enforce_sorted=False)
    expected = pad_packed_sequence(lstm.LSTM.forward(layer, packed)[0], batch_first=True, total_length=9)[0]
    got = layer(x, steps)
    assert torch.equal(got, expected)
    gradients = (torch.autograd.grad(y.square().sum(), list(layer.parameters())) for y in (got, expected))
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))
