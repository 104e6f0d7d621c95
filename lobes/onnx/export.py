"""Graphs next to an exported folder's other files, each checked against the network in PyTorch before it stays.

B batch, T samples, S sources.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lobes import __version__
from lobes.errors import UserError, install
from lobes.inference.speechbrain_adapter import LEVELS, at_level
from lobes.onnx import run as runner
from lobes.onnx.offline import whole_graph
from lobes.onnx.operators import OPSET
from lobes.onnx.stream import stream_graph
from lobes.runs import names
from lobes.runs.folder import TrainedRun
from lobes.runs.weights import sha256

LARGEST = 1e-4  # difference from PyTorch, of the peak
LENGTHS = (0.31, 1.0, 1.73)  # seconds of the mixtures that are compared
HOPS = 100


class Graphs:
    """Adds graphs to an exported folder, as the argument `add` of `lobes.inference.export_pretrained`.

    `model.onnx` takes whole mixtures, `stream.onnx` one hop after another; the latter only for models that stream.

    Arguments
    ---------
    int8 : bool
        Also `model.int8.onnx` and `stream.int8.onnx`, whose matrices are quantised.

    Raises
    ------
    UserError
        If a package of the extra `onnx` is missing.
    """

    def __init__(self, int8: bool = False) -> None:
        for package in ("onnx", "onnxruntime"):
            try:
                __import__(package)
            except ImportError as error:
                raise UserError(f"{package} is missing, which --onnx needs: {install(extra='onnx')}") from error
        self.int8, self.lines = int8, []  # type: ignore[var-annotated]

    def __call__(self, run: TrainedRun, folder: Path) -> None:
        """Write the graphs of a run to a folder that holds its weights, and compare them with the run's model.

        Raises
        ------
        UserError
            If the network cannot be written as a graph.
        RuntimeError
            If a graph differs from the network by more than 1e-4 of the peak.
        """
        facts = facts_of(run.model)
        facts["weights_sha256"] = sha256(folder / names.MASKNET)
        whole = whole_graph(run.model)
        write(whole, folder / names.WHOLE, facts | {"level": LEVELS[0]})
        self._check(folder / names.WHOLE, run, compare_whole)
        if self.int8:
            write(quantised(whole), folder / names.WHOLE_INT8, facts | {"level": LEVELS[0]})
            self._loss(folder, (names.WHOLE, names.WHOLE_INT8), run, whole_outputs)
        if getattr(run.model, "causal", False) and hasattr(run.model, "stream"):
            self._stream(run, folder, facts)

    def _stream(self, run: TrainedRun, folder: Path, facts: dict[str, Any]) -> None:
        graph, more = stream_graph(run.model)
        facts = facts | more
        write(graph, folder / names.STREAM, facts)
        self._check(folder / names.STREAM, run, compare_stream)
        if self.int8:
            write(stream_graph(run.model, quantised)[0], folder / names.STREAM_INT8, facts)
            self._loss(folder, (names.STREAM, names.STREAM_INT8), run, stream_outputs)

    def _check(self, path: Path, run: TrainedRun, compare: Callable[..., tuple[float, float]]) -> None:
        try:
            error, pace = compare(path, run.model)
        except UserError:
            raise
        except Exception as reason:  # of onnxruntime's own kinds
            kept = str(reason).splitlines()[0][-160:]
            raise UserError(
                f"{type(run.model).__name__}: cannot be written as ONNX: the graph keeps a size of its example: {kept}"
            ) from reason
        if not error <= LARGEST:
            raise RuntimeError(
                f"{path.name} differs from the network by {error:.1e} of the peak, at most {LARGEST:g} is allowed; "
                "nothing was exported."
            )
        self.lines.append(f"{path.name}: largest error {error:.1e} of the peak, real-time factor {pace:.3f}")

    def _loss(self, folder: Path, pair: tuple[str, str], run: TrainedRun, outputs: Callable[..., np.ndarray]) -> None:
        exact, rough = (outputs(folder / name, run.model) for name in pair)
        size = (folder / pair[1]).stat().st_size / (folder / pair[0]).stat().st_size
        self.lines.append(f"{pair[1]}: SI-SDR {si_sdr(rough, exact):.1f} dB against {pair[0]}, {size:.2f} of its size")


def facts_of(model: Any) -> dict[str, Any]:
    """What the metadata of each graph of a model say."""
    facts = {name: getattr(model, name) for name in ("sample_rate", "num_sources")}
    return facts | {"opset": OPSET, "lobes": __version__, "network": type(model).__name__}


def write(graph: Any, path: Path, facts: dict[str, Any]) -> None:
    """Check a graph and write it with its metadata."""
    import onnx

    graph.producer_name, graph.producer_version = "lobes", __version__
    onnx.helper.set_model_props(graph, {name: str(value) for name, value in facts.items()})
    onnx.checker.check_model(graph, full_check=True)
    onnx.save(graph, str(path))


def compare_whole(path: Path, model: Any) -> tuple[float, float]:
    """The largest error at three lengths, of the peak, and seconds of computation for a second of audio."""
    graph, errors = runner.OnnxSeparator(path), []
    for mix in mixtures(model.sample_rate):
        with torch.no_grad():
            expected = at_level(model(mix), mix, LEVELS[0]).numpy()
        errors.append(_error(graph(mix.numpy()), expected))
    began = time.perf_counter()
    graph(mix[:1].numpy())
    return max(errors), (time.perf_counter() - began) * model.sample_rate / mix.shape[1]


def compare_stream(path: Path, model: Any) -> tuple[float, float]:
    """The same for 100 hops and the end of a stream."""
    graph, stream = runner.OnnxStream(path), model.stream()
    mix = noise(1, HOPS * graph.hop + graph.hop // 2, model.sample_rate)
    expected = torch.cat([stream.feed(chunk) for chunk in mix.split(graph.hop, 1)] + [stream.flush()], 1)[0].numpy()
    began = time.perf_counter()
    got = _streamed(graph, mix)
    return _error(got, expected), (time.perf_counter() - began) * model.sample_rate / mix.shape[1]


def whole_outputs(path: Path, model: Any) -> np.ndarray:
    """Estimates of the longest mixture, [T, S]."""
    return runner.OnnxSeparator(path)(list(mixtures(model.sample_rate))[-1][0].numpy())


def stream_outputs(path: Path, model: Any) -> np.ndarray:
    """Estimates of 100 hops, [T, S]."""
    graph = runner.OnnxStream(path)
    return _streamed(graph, noise(1, HOPS * graph.hop, model.sample_rate))


def mixtures(sample_rate: int) -> list[Tensor]:
    """Two mixtures of each length, [2, T]."""
    return [noise(2, round(seconds * sample_rate) + 1, sample_rate) for seconds in LENGTHS]


def noise(batch: int, samples: int, sample_rate: int) -> Tensor:
    """Noise whose level rises and falls four times a second, as that of speech does, [B, T]."""
    generator = torch.Generator().manual_seed(samples)
    swell = torch.sin(torch.arange(samples) * (4 * torch.pi / sample_rate)).square() + 0.01
    return 0.1 * swell * torch.randn(batch, samples, generator=generator)


def quantised(graph: Any) -> Any:
    """A copy of a graph whose weight matrices are int8, and whose products quantise their inputs as they come.

    Only products with weights are changed: transforms, convolutions, LSTMs and scans stay.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    weights = {value.name for value in graph.graph.initializer}
    nodes = [node.name for node in graph.graph.node if node.op_type == "MatMul" and node.input[1] in weights]
    if not nodes:  # without names, all would be quantised
        return graph
    with TemporaryDirectory() as folder:
        path = Path(folder, "int8.onnx")
        options = {"nodes_to_quantize": nodes, "op_types_to_quantize": ["MatMul"], "per_channel": True}
        logging.disable(logging.WARNING)  # advice that concerns convolutions
        try:
            quantize_dynamic(graph, path, weight_type=QuantType.QInt8, **options)
        finally:
            logging.disable(logging.NOTSET)
        return onnx.load(str(path))


def si_sdr(estimate: np.ndarray, target: np.ndarray) -> float:
    """Scale-invariant ratio of a signal to what an estimate changes, in dB, over all samples and sources.

    Example
    -------
    >>> round(si_sdr(np.array([1.0, 0.1]), np.array([1.0, 0.0])))
    20
    """
    projected = (estimate * target).sum() / max(float((target * target).sum()), 1e-20) * target
    rest = estimate - projected
    return float(10 * np.log10(max(float((projected**2).sum()), 1e-20) / max(float((rest**2).sum()), 1e-20)))


def _streamed(graph: runner.OnnxStream, mix: Tensor) -> np.ndarray:
    parts = [graph.feed(chunk.numpy()) for chunk in mix[0].split(graph.hop)]
    return np.concatenate([*parts, graph.flush()])


def _error(got: np.ndarray, expected: np.ndarray) -> float:
    if got.shape != expected.shape:
        raise UserError(f"the graph gives shape {list(got.shape)}, expected {list(expected.shape)}")
    return float(np.abs(got - expected).max() / max(float(np.abs(expected).max()), 1e-20))
