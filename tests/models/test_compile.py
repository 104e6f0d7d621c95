"""Whole networks as one graph of torch.compile, forward and backward, on the CPU. B batch, T samples."""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lobes.models import get_model

LENGTHS = torch.tensor([1.0, 0.6])
aten = torch.ops.aten
READING = (aten._local_scalar_dense.default, aten.nonzero.default, aten._unique2.default, aten.unique_dim.default)


def trained_once(network, model, mix, lengths):
    """The estimates, and the gradients of all weights."""
    model.zero_grad()
    estimates = network(mix, lengths)
    estimates.square().mean().backward()
    return [estimates.detach(), *(weight.grad for weight in model.parameters() if weight.grad is not None)]


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["spmamba_tiny", "bsrnn_8k_tiny"])
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "padded"])
def test_training_compiles_as_one_graph(preset, lengths):
    """PyTorch traces an LSTM, as BSRNN has them, only if asked."""
    torch.manual_seed(0)
    model = get_model(preset).train()
    mix = torch.randn(2, 1200)
    expected = trained_once(model, model, mix, lengths)
    torch._dynamo.reset()
    with torch._dynamo.config.patch(allow_rnn=True):
        compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
        got = trained_once(compiled, model, mix, lengths)
    for one, other in zip(got, expected, strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-6 * float(other.abs().max()))


@pytest.mark.parametrize("preset", ["spmamba_tiny", "bsrnn_8k_tiny", "convtasnet_tiny"])
def test_a_forward_pass_reads_nothing_from_the_device(monkeypatch, preset):
    """Lengths are on the CPU and the mixtures on a device, from which reading a number would wait for all its work."""
    model = get_model(preset).eval()
    mix = torch.randn(2, 1200)
    read: list[str] = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), options=None):
            tensors = [tensor for tensor in arguments if isinstance(tensor, torch.Tensor)]
            small = all(
                tensor.numel() <= len(LENGTHS) for tensor in tensors
            )  # lengths, counts, and what is made of them
            if function in READING and not small:
                read.append(str(function))
            return function(*arguments, **(options or {}))

    with torch.no_grad(), Watch():
        model(mix, LENGTHS)
        model(mix, torch.ones(2))
    assert not read
