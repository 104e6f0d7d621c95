"""From a PyTorch module to a graph of ONNX, for any size of the dimensions that are named."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lobes.errors import UserError
from lobes.onnx import operators


def graph_of(
    module: nn.Module,
    examples: Sequence[Tensor],
    inputs: Sequence[str],
    outputs: Sequence[str],
    sizes: Mapping[str, Mapping[int, str]] | None = None,
) -> Any:
    """Trace a module with PyTorch's TorchScript exporter, which needs no other package.

    Arguments
    ---------
    module : nn.Module
        In evaluation mode, without gradients.
    examples : sequence of Tensor
        Its arguments.
    inputs, outputs : sequence of str
        Names in the graph.
    sizes : mapping, optional
        For each name the dimensions of any size: {"mix": {1: "samples"}}.

    Returns
    -------
    onnx.ModelProto

    Raises
    ------
    UserError
        If an operator has no form in ONNX.
    """
    import onnx

    file: Any = io.BytesIO()
    options: dict[str, Any] = {"opset_version": operators.OPSET, "dynamo": False, "custom_opsets": {"lobes": 1}}
    options |= {"input_names": inputs, "output_names": outputs, "dynamic_axes": sizes}
    with operators.known(), _without_examples_sizes(), _silence(), torch.no_grad():
        try:
            torch.onnx.export(module, tuple(examples), file, **options)
        except (torch.onnx.errors.OnnxExporterError, RuntimeError, TypeError, ValueError) as error:
            first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise UserError(
                f"{type(getattr(module, 'model', module)).__name__}: cannot be written as ONNX: {first[:200]}"
            ) from error
    model = onnx.load_from_string(file.getvalue())
    operators.with_scans(model.graph)
    return model


@contextlib.contextmanager
def _without_examples_sizes() -> Iterator[None]:
    """Forget the sizes that a trace has seen: the exporter would take them for those of every input.

    It infers again what follows from the weights and from the dimensions that are not named.
    """
    exporter: Any = sys.modules[torch.onnx.utils.unconvertible_ops.__module__]
    trace = exporter._trace_and_get_graph_from_model

    def sizeless(*arguments: Any) -> Any:
        graph, result = trace(*arguments)
        _forget_sizes(graph)
        return graph, result

    exporter._trace_and_get_graph_from_model = sizeless
    try:
        yield
    finally:
        exporter._trace_and_get_graph_from_model = trace


def _forget_sizes(block: Any) -> None:
    for node in block.nodes():
        for value in node.outputs():
            kind = value.type()
            if isinstance(kind, torch._C.TensorType) and kind.dim() is not None:
                value.setType(kind.with_sizes([None] * kind.dim()))
        for inner in node.blocks():
            _forget_sizes(inner)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep the exporter's warnings and its print of a whole graph from the screen."""
    sys.stdout.flush(), sys.stderr.flush()
    kept = [os.dup(number) for number in (1, 2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for number in (1, 2):
            os.dup2(nowhere, number)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        sys.stdout.flush(), sys.stderr.flush()
        for number, original in zip((1, 2), kept, strict=True):
            os.dup2(original, number)
            os.close(original)
        os.close(nowhere)
