"""The stream of a causal network as one graph: samples in, estimates out, and all that is kept as inputs and outputs.

n samples of a call, L frames, F bins, S sources. Signals come alone: the batch is one.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lobes.errors import UserError
from lobes.models.base.contract import check_streams
from lobes.models.base.stream import SpectralStream
from lobes.nnet.memory import Memory
from lobes.nnet.precision import at_least_fp32
from lobes.nnet.stft import WEAKEST
from lobes.onnx.branches import conditional
from lobes.onnx.operators import WHEN
from lobes.onnx.steps import BODIES, use_steps
from lobes.onnx.tracing import graph_of
from lobes.onnx.transforms import with_matrices


class Core(nn.Module):
    """One step of a network between the states that it finds and those that it leaves.

    Arguments
    ---------
    model : nn.Module
        Causal, in evaluation mode.
    own : dict
        The states apart from those of its layers, at the start.
    examples : tuple of Tensor
        The other inputs.
    """

    def __init__(self, model: nn.Module, own: dict[str, Tensor], examples: tuple[Tensor, ...]) -> None:
        super().__init__()
        self.model: Any = with_matrices(model)
        use_steps(self.model)
        self.own, self.examples, memory = own, examples, Memory()
        with torch.no_grad():
            self.step(memory, *examples, *own.values())  # to see what the layers keep
        paths = {layer: path or "model" for path, layer in self.model.named_modules()}
        self.layers = {layer: len(kept) if isinstance(kept, tuple) else 0 for layer, kept in memory.items()}
        names = [f"{paths[layer]}:{i}" for layer, parts in self.layers.items() for i in range(parts or 1)]
        values = zip(names, self._flat(memory), strict=True)
        self.states = own | {name: torch.zeros_like(torch.as_tensor(value)) for name, value in values}

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Take the examples' like and the states; give estimates [1, n, S] and the states."""
        count = len(self.examples) + len(self.own)
        values, memory = iter(inputs[count:]), Memory()
        for layer, parts in self.layers.items():
            memory[layer] = tuple(next(values) for _ in range(parts)) if parts else next(values)
        return *self.step(memory, *inputs[:count]), *self._flat(memory)

    def step(self, memory: Memory, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Do it, with the memory of the layers: estimates and the own states."""
        raise NotImplementedError

    def _flat(self, memory: Memory) -> list[Any]:
        return [part for layer, parts in self.layers.items() for part in (memory[layer] if parts else [memory[layer]])]


class SpectralCore(Core):
    """A frame [1, n_fft] to the samples that it completes."""

    def __init__(self, model: Any) -> None:
        n_fft, hop, sources = model.stft.n_fft, model.stft.hop_length, model.num_sources
        own = {"sums": torch.zeros(sources, n_fft - hop), "weights": torch.zeros(1, n_fft - hop)}
        super().__init__(model, own, (torch.zeros(1, n_fft),))

    def step(self, memory: Memory, *inputs: Tensor) -> tuple[Tensor, ...]:
        """As `lobes.nnet.stft_stream.Synthesis` after one frame."""
        frame, sums, weights = inputs
        stft = self.model.stft
        hop = stft.hop_length
        spectra = at_least_fp32(self.model.estimate(stft.transform(frame), None, memory)).flatten(0, 1)  # [S, 2, 1, F]
        pieces, envelope = stft.pieces(spectra)
        sums, weights = F.pad(sums, (0, hop)) + pieces[:, 0], F.pad(weights, (0, hop)) + envelope[:, 0]
        y = sums[:, :hop] / weights[:, :hop].clamp(min=WEAKEST)  # [S, hop]
        return y.t()[None], sums[:, hop:], weights[:, hop:]


class MaskingCore(Core):
    """Samples [1, size - hop + n], of which so many at the start are before the signal, to estimates [1, n, S]."""

    def __init__(self, model: Any) -> None:
        size, hop = model.kernel_size, model.stride
        own = {"sums": torch.zeros(1, size - hop, model.num_sources)}
        super().__init__(model, own, (torch.zeros(1, size + 7 * hop), torch.zeros(1, dtype=torch.int64)))

    def step(self, memory: Memory, *inputs: Tensor) -> tuple[Tensor, ...]:
        """As `lobes.models.base.masking_stream.MaskingStream`."""
        x, before, sums = inputs
        encoded = self.model.encoder(x[:, before[0] :])  # [1, N, L]
        y = at_least_fp32(self.model.decode(self.model.masknet(encoded, memory), encoded))  # [1, n, S]
        missing: Any = before[0]  # a number that is known when the graph runs
        y = F.pad(y, (0, 0, missing, 0))
        done = x.shape[1] - sums.shape[1]
        y = y + F.pad(sums, (0, 0, 0, done))
        return y[:, :done], y[:, done:]


class SpectralHead(nn.Module):
    """Before the core: the newest frame, and whether there is one. The first sees the signal reflected at its start.

    That frame ends half a window after the start. The sample that the reflection still lacks stands under the zero of
    the window.
    """

    names = ("frame", "ready", "nothing", "calls_next", "samples_next")

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.n_fft, self.hop, self.sources = model.stft.n_fft, model.stft.hop_length, model.num_sources
        self.first = self.n_fft // 2 // self.hop  # the call that completes the first frame

    def forward(self, mix: Tensor, calls: Tensor, samples: Tensor) -> tuple[Tensor, ...]:
        """Take [1, hop] behind what is kept."""
        calls, half = calls + 1, self.n_fft // 2
        frame = torch.cat((samples, mix), 1)  # [1, n_fft]
        mirrored = torch.cat((frame[:, :1], frame[:, half + 1 :].flip(1), frame[:, half:]), 1)
        nothing = mix.new_zeros(1, self.hop, self.sources)
        frame = torch.where(calls == self.first, mirrored, frame)
        return frame, calls >= self.first, nothing, calls, frame[:, self.hop :]


class MaskingHead(nn.Module):
    """Before the core: the samples of all frames that are complete, and whether there are any."""

    names = ("frames", "before", "ready", "nothing", "calls_next", "samples_next")

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.size, self.hop, self.sources = model.kernel_size, model.stride, model.num_sources

    def forward(self, mix: Tensor, calls: Tensor, samples: Tensor) -> tuple[Tensor, ...]:
        """Take [1, n] behind what is kept."""
        x, past = torch.cat((samples, mix), 1), self.size - self.hop
        before = (past - calls * self.hop).clamp(min=0)  # samples before the signal
        new = torch.as_tensor(mix.shape[1])
        nothing = mix[:, :, None] * mix.new_zeros(self.sources)
        calls = calls + new // self.hop
        return x, before, calls * self.hop >= self.size, nothing, calls, x[:, -past:]


def stream_graph(model: Any, change: Callable[[Any], Any] = lambda graph: graph) -> tuple[Any, dict[str, Any]]:
    """Make the graph of a model's stream.

    Arguments
    ---------
    model : nn.Module
        Causal, in evaluation mode.
    change : callable
        What is done to the graph of the network before it is put in: quantised, say.

    Returns
    -------
    onnx.ModelProto, dict
        The graph, and what its metadata say of it.

    Raises
    ------
    UserError
        If the model does not stream, or its hop does not divide its window.
    """
    check_streams(model, hasattr(model, "stream"))
    spectral = isinstance(model.stream(), SpectralStream)
    size, hop = (model.stft.n_fft, model.stft.hop_length) if spectral else (model.kernel_size, model.stride)
    if size % (2 * hop if spectral else hop):
        raise UserError(
            f"{type(model).__name__}: a stream in ONNX needs a hop that divides the window, got {hop}, {size}"
        )
    head, core = (SpectralHead(model), SpectralCore(model)) if spectral else (MaskingHead(model), MaskingCore(model))
    states = {"calls": torch.zeros(1, dtype=torch.int64), "samples": torch.zeros(1, size - hop)} | core.states
    sizes: dict[str, dict[int, str]] = {} if spectral else {"mix": {1: "n"}, "frames": {1: "m"}, "estimates": {1: "n"}}
    before = graph_of(head, (torch.zeros(1, hop if spectral else 8 * hop), *list(states.values())[:2]),
                      ("mix", "calls", "samples"), head.names, sizes)  # fmt: skip
    given = [*head.names[: len(core.examples)], *core.states]
    inner = graph_of(
        core, (*core.examples, *core.states.values()), given, ["estimates", *map(after, core.states)], sizes
    )
    facts: dict[str, Any] = {
        "hop": hop,
        "hops_per_call": "one" if spectral else "any",
        "latency": size,
        "delay": size - hop,
    }
    facts |= {"level": "model", "weakest": WEAKEST}
    facts["states"] = json.dumps({name: list(value.shape) for name, value in states.items()})
    return _joined(before, with_branches(change(inner), change), given, states), facts


def after(name: str) -> str:
    """The output that becomes the input of this name in the next call.

    Example
    -------
    >>> after("samples")
    'samples_next'
    """
    return f"{name}_next"


def with_branches(model: Any, change: Callable[[Any], Any]) -> Any:
    """Put an `If` with its body, changed, in the place of each `lobes::when`."""
    for node in model.graph.node:
        if node.op_type == WHEN.rpartition(":")[2]:
            body: Any = BODIES.pop(node.attribute[0].s.decode())
            now, *given, nothing = node.input
            names = ("x", "a", "b"), ("y", "a_next", "b_next")
            inner = change(graph_of(body, body.examples, *names))
            node.CopyFrom(conditional(now, inner.graph, given, (nothing, *given[1:]), node.output, node.name))
    return model


def _joined(before: Any, inner: Any, given: list[str], states: dict[str, Tensor]) -> Any:
    """One graph of the head and, where there is a frame, the core."""
    from onnx import helper

    graph = before.graph
    network = list(states)[2:]
    outputs = ["estimates", *map(after, network)]
    graph.node.append(conditional("ready", inner.graph, given, ["nothing", *network], outputs, "network"))
    for name in network:
        kind = helper.np_dtype_to_tensor_dtype(states[name].numpy().dtype)
        graph.input.append(helper.make_tensor_value_info(name, kind, states[name].shape))
    kept = {value.name: value for value in graph.output}
    del graph.output[:]
    for value in (*inner.graph.output[:1], kept[after("calls")], kept[after("samples")], *inner.graph.output[1:]):
        graph.output.append(value)
    return before
