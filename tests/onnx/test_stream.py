"""The graph of a stream gives what the stream in PyTorch gives, hop by hop and at the end."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from lobes.errors import UserError

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from lobes.onnx import run as runner  # noqa: E402
from lobes.onnx.export import facts_of, write  # noqa: E402
from lobes.onnx.stream import stream_graph  # noqa: E402

FAST, OTHERS = ["spmamba_causal", "bsrnn_causal", "convtasnet_cumulative"], ["mbs_net_causal"]


def written(model, path):
    graph, facts = stream_graph(model)
    write(graph, path, facts | facts_of(model))
    return runner.OnnxStream(path)


def fed(stream, parts):
    return np.concatenate([np.asarray(stream.feed(part)).reshape(-1, stream.num_sources) for part in parts])


@pytest.mark.parametrize("preset", [*FAST, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)])
def test_a_graph_is_the_stream_over_100_hops_and_to_the_end(small, tmp_path, preset):
    model = small(preset)
    graph = written(model, tmp_path / "stream.onnx")
    for samples, size in ((100 * graph.hop, graph.hop), (40 * graph.hop + 3, 37), (graph.hop + 1, 5), (1, 1)):
        x = torch.randn(1, samples, generator=torch.Generator().manual_seed(samples))
        stream = model.stream()
        expected = fed(stream, x.split(size, 1))
        last = stream.flush()[0].numpy()
        got = fed(graph, chunks(x, size))
        assert len(got) >= max(samples - samples % graph.hop - graph.delay, 0)
        both = np.concatenate([got, graph.flush()]), np.concatenate([expected, last])
        assert both[0].shape == both[1].shape == (samples, model.num_sources)
        assert np.abs(both[0] - both[1]).max() < 1e-4 * np.abs(both[1]).max()
        graph.reset()


def test_signals_with_empty_bands_are_the_same(small, tmp_path):
    """A norm over one band must not make the rounding noise of either transform as loud as speech."""
    model = small("mbs_net_causal")
    graph = written(model, tmp_path / "stream.onnx")
    size = model.stft.n_fft
    time = torch.arange(6 * size)
    tone = torch.sin(2 * torch.pi * (time % (size // 4)) / (size // 4))  # one period is exactly the other
    for x in (torch.ones(6 * size), tone, (time > 3 * size).float()):
        stream = model.stream()
        expected = np.concatenate([stream.feed(0.3 * x[None])[0].numpy(), stream.flush()[0].numpy()])
        got = np.concatenate([graph.feed(0.3 * x.numpy()), graph.flush()])
        assert np.abs(got - expected).max() < 1e-5 * np.abs(expected).max()
        graph.reset()


def chunks(x, size):
    return [part.numpy() for part in x[0].split(size)]


def test_states_are_inputs_and_outputs_that_start_as_zeros(small, tmp_path):
    graph = written(small("convtasnet_cumulative"), tmp_path / "stream.onnx")
    model = onnx.load(str(tmp_path / "stream.onnx"))
    inputs, outputs = ([value.name for value in values] for values in (model.graph.input, model.graph.output))
    states = json.loads(graph.facts["states"])
    assert inputs == ["mix", *states] and outputs == ["estimates", *(f"{name}_next" for name in states)]
    assert {name: list(value.shape) for name, value in graph.states.items()} == states
    assert not any(value.any() for value in graph.states.values())


def test_the_scan_over_time_waits_for_a_whole_window(small):
    """One Mamba step for each window of frames and not for each frame: inside of an `If` in the network's `If`."""
    graph, _ = stream_graph(small("spmamba_causal"))
    (outer,) = (node for node in graph.graph.node if node.op_type == "If")
    (then,) = (attribute.g for attribute in outer.attribute if attribute.name == "then_branch")
    inner = [node for node in then.node if node.op_type == "If"]
    assert len(inner) == 1 and "Scan" in {node.op_type for a in inner[0].attribute for node in a.g.node}


def test_a_stream_that_has_ended_says_so(small, tmp_path):
    graph = written(small("convtasnet_cumulative"), tmp_path / "stream.onnx")
    assert graph.flush().shape == (0, 2)
    graph.feed(np.zeros(30))
    graph.flush()
    with pytest.raises(UserError, match="the stream has ended"):
        graph.feed(np.zeros(30))


def test_what_does_not_stream_is_refused(small):
    with pytest.raises(UserError, match="SPMamba: expected a causal network"):
        stream_graph(small("spmamba_tiny"))
    with pytest.raises(UserError, match="BSRNN: a stream in ONNX needs a hop that divides the window, got 20, 64"):
        stream_graph(small("bsrnn_causal", hop_length=20))


def test_a_graph_of_whole_signals_is_no_stream(small, tmp_path):
    from lobes.onnx.offline import whole_graph

    write(whole_graph(small("convtasnet_cumulative")), tmp_path / "m.onnx", {"sample_rate": 8000, "num_sources": 2})
    with pytest.raises(UserError, match="m.onnx: expected the graph of a stream"):
        runner.OnnxStream(tmp_path / "m.onnx")
    (tmp_path / "text.onnx").write_text("no graph")
    with pytest.raises(UserError, match="text.onnx: cannot be read as a graph"):
        runner.OnnxSeparator(tmp_path / "text.onnx")


def test_a_graph_of_a_stream_takes_no_whole_signals(small, tmp_path):
    written(small("convtasnet_cumulative"), tmp_path / "stream.onnx")
    with pytest.raises(UserError, match="expected a graph of whole signals, this one is that of a stream"):
        runner.OnnxSeparator(tmp_path / "stream.onnx")
