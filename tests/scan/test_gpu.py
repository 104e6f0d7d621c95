"""What only a GPU shows of the Triton scan: graphs, lengths on the device, the same bits twice, streams."""

from __future__ import annotations

import pytest
import torch

from lobes.scan import backends, selective_scan

pytestmark = pytest.mark.gpu


@pytest.fixture
def leaves(make):
    """Inputs on the GPU that want gradients, many steps and few items: sequences are cut into segments."""
    if backends()["triton"] != "available":
        pytest.skip(backends()["triton"])
    inputs = make(3, 200, 64, 16, absent=("initial_state",))
    return {name: tensor.cuda().requires_grad_() for name, tensor in inputs.items()}


def call(leaves, **options):
    y = selective_scan(**leaves, delta_softplus=True, backend="triton", **options)
    return [y.detach(), *torch.autograd.grad(y.square().sum(), list(leaves.values()))]


def same(first, second):
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_the_same_call_gives_the_same_bits(leaves):
    assert same(call(leaves), call(leaves))


def test_lengths_outside_of_the_rows_are_cut_to_them(leaves):
    wild, cut = (torch.tensor(values, device="cuda") for values in ([205, -3, 77], [200, 0, 77]))
    assert same(call(leaves, lengths=wild), call(leaves, lengths=cut))


def test_a_graph_replays_new_inputs(leaves):
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        call(leaves)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = call(leaves)
    with torch.no_grad():
        leaves["u"].mul_(2)
    graph.replay()
    torch.cuda.synchronize()
    assert same(captured, call(leaves))


def test_another_stream(leaves):
    expected = call(leaves)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        got = call(leaves)
    stream.synchronize()
    assert same(got, expected)


def test_nothing_waits_for_the_device(leaves):
    lengths = torch.tensor([200, 5, 77])
    call(leaves, lengths=lengths)  # compiles
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        call(leaves, lengths=lengths.pin_memory())
    finally:
        torch.cuda.set_sync_debug_mode(before)
