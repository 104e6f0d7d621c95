"""Whole networks as one graph of torch.compile, forward and backward, on the CPU. B batch, T samples."""

from __future__ import annotations

import importlib

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lobes.models import get_model
from lobes.models.base import contract
from lobes.nnet import lengths as lengths_module
from lobes.scan import inputs

LENGTHS = torch.tensor([1.0, 0.6])
READING = {f"aten.{name}.default" for name in ("_local_scalar_dense", "nonzero", "_unique2", "unique_dim")}


def trained_once(network, model, mix, lengths):
    """The estimates, and the gradients of all weights."""
    model.zero_grad()
    estimates = network(mix, lengths)
    estimates.square().mean().backward()
    return [estimates.detach(), *(weight.grad for weight in model.parameters() if weight.grad is not None)]


def is_count(argument):
    """A number of samples: the host made it from a shape."""
    return isinstance(argument, torch.Tensor) and argument.dim() == 0 and argument.dtype == torch.int64


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["spmamba_tiny", "bsrnn_8k_tiny"])
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "padded"])
def test_training_compiles_as_one_graph(preset, lengths):
    """PyTorch traces an LSTM, as BSRNN has them, only if asked."""
    torch.manual_seed(0)
    model = get_model(preset).train()
    mix = torch.randn(2, 1200)
    expected = trained_once(model, model, mix, lengths)
    torch.compiler.reset()
    with importlib.import_module("torch._dynamo.config").patch(allow_rnn=True):
        compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
        got = trained_once(compiled, model, mix, lengths)
    for one, other in zip(got, expected, strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-6 * float(other.abs().max()))


@pytest.mark.slow
@pytest.mark.parametrize("preset, trained", [("spmamba_tiny", True), ("bsrnn_8k_tiny", False)])
def test_signals_of_all_lengths_share_two_graphs(preset, trained):
    """The first length is compiled as it is; with the second PyTorch notices that it varies.

    BSRNN is compiled without gradients: PyTorch writes out the steps of an LSTM that has them, a graph for each number
    of frames.
    """
    model, graphs = get_model(preset, n_layers=1).train(trained), []

    def count(graph, inputs):
        graphs.append(graph)
        return graph.forward

    torch.compiler.reset()
    with importlib.import_module("torch._dynamo.config").patch(allow_rnn=True), torch.set_grad_enabled(trained):
        compiled = torch.compile(model, fullgraph=True, backend=count)
        for samples in (1200, 1300, 1777, 2048):
            estimates = compiled(torch.randn(2, samples))
            if trained:
                estimates.square().mean().backward()
    assert len(graphs) == 2


@pytest.mark.parametrize("preset", ["spmamba_tiny", "bsrnn_8k_tiny"])
def test_a_forward_pass_reads_nothing_from_the_device(monkeypatch, preset):
    """Reading a number from a GPU waits for all its work. Here the CPU passes for one."""
    for module in (lengths_module, contract, inputs):
        monkeypatch.setattr(module, "readable", lambda tensor: False)
    model = get_model(preset).eval()
    read: list[str] = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), options=None):
            if str(function) in READING and not any(is_count(argument) for argument in arguments):
                read.append(str(function))
            return function(*arguments, **(options or {}))

    with torch.no_grad(), Watch():
        model(torch.randn(2, 1200), LENGTHS)
        model(torch.randn(2, 1200))
    assert not read
