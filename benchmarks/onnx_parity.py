"""How far are graphs of ONNX from the same networks in PyTorch, on long noise and on signals that leave bands empty?

Differences are shares of the largest absolute value of PyTorch's estimates; next to them stands PyTorch itself in fp32
against fp64, the rounding of the network alone. Weights are as they are drawn. Causal networks are fed as streams, too.

    python benchmarks/onnx_parity.py
"""

from __future__ import annotations

import argparse
import copy
import math
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from _common import RESULTS, about, result_file, write
from onnx_graphs import WHOLE, fresh, graphs_of
from torch import Tensor

from lobes.data import arguments
from lobes.errors import exit_on_user_error
from lobes.inference.speechbrain_adapter import LEVELS, at_level
from lobes.models import list_models
from lobes.models.registry import streaming_presets
from lobes.onnx import export, run
from lobes.onnx.offline import whole_graph
from lobes.onnx.stream import stream_graph

NOISE = (2, 10, 30)  # seconds
AMPLITUDE, OTHERS_SECONDS = 0.3, 2
PERIOD, FREQUENCIES = 64, (1000.0, 437.3)  # samples, in a window of all presets a whole number of times; Hz


def main() -> int:
    """Measure all, print each row and write the JSON file."""
    options = parse()
    torch.set_num_threads(1)
    rows = {}
    for preset, kind in graphs_of(options.presets):
        rows[f"{preset}, {kind}"] = row = {"whole": whole, "stream": stream}[kind](preset)
        print(preset, kind, row, flush=True)
    write(about(threads=1, seed=1234, results=rows), options.output)
    return 0


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = arguments.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    presets = [*WHOLE, "mbs_net", *streaming_presets()]
    parser.add_argument("--presets", nargs="+", default=presets, choices=list_models())
    parser.add_argument("--output", type=result_file, default=RESULTS / "onnx_parity.json")
    return parser.parse_args()


def signals(sample_rate: int) -> dict[str, Tensor]:
    """Signals [1, T] by name: noise of several lengths, and what leaves most bands empty."""
    found = {f"noise {seconds} s": export.noise(1, seconds * sample_rate, sample_rate) for seconds in NOISE}
    time = torch.arange(OTHERS_SECONDS * sample_rate, dtype=torch.float64)[None]
    phases = {f"{hz:g} Hz": time * hz / sample_rate for hz in FREQUENCIES} | {"periodic": time % PERIOD / PERIOD}
    found |= {name: (AMPLITUDE * torch.sin(2 * math.pi * phase)).float() for name, phase in phases.items()}
    return found | {"constant": torch.full_like(time, AMPLITUDE, dtype=torch.float32)}


def whole(preset: str) -> dict[str, float]:
    """Signals as a whole, at the level of the mixture."""
    model, facts = fresh(preset)

    def in_torch(network: Any, x: Tensor) -> Any:
        return at_level(network(x), x, LEVELS[0])[0].numpy()

    return differences(model, whole_graph(model), facts, run.OnnxSeparator, lambda opened, x: opened(x), in_torch)


def stream(preset: str) -> dict[str, float]:
    """The same signals as a stream, in chunks of 100 ms and to the end."""
    model, facts = fresh(preset)
    graph, more = stream_graph(model)
    size = model.sample_rate // 10

    def in_torch(network: Any, x: Tensor) -> Any:
        running = network.stream()
        return torch.cat([*map(running.feed, x.split(size, 1)), running.flush()], 1)[0].numpy()

    def in_onnx(opened: Any, x: Any) -> Any:
        opened.reset()
        fed = [opened.feed(x[start : start + size]) for start in range(0, len(x), size)]
        return np.concatenate([*fed, opened.flush()])

    return differences(model, graph, facts | more, run.OnnxStream, in_onnx, in_torch)


def differences(
    model: Any,
    graph: Any,
    facts: dict[str, Any],
    opener: Callable[[Path], Any],
    in_onnx: Callable[[Any, Any], Any],
    in_torch: Callable[[Any, Tensor], Any],
) -> dict[str, float]:
    """The largest difference for each signal, and that of PyTorch in fp32 from fp64 over all of them."""
    found, rounding, exact = {}, 0.0, copy.deepcopy(model).double()
    with TemporaryDirectory() as folder, torch.no_grad():
        export.write(graph, Path(folder, "graph.onnx"), facts)
        opened = opener(Path(folder, "graph.onnx"))
        for name, x in signals(model.sample_rate).items():
            expected = in_torch(model, x)
            found[name] = share(in_onnx(opened, x[0].numpy()), expected)
            rounding = max(rounding, share(expected, in_torch(exact, x.double())))
    return found | {"fp32 from fp64": rounding}


def share(estimates: Any, expected: Any) -> float:
    """The largest difference as a share of the largest value, to two digits."""
    return float(f"{np.abs(estimates - expected).max() / np.abs(expected).max():.1e}")


if __name__ == "__main__":
    with exit_on_user_error():
        sys.exit(main())
