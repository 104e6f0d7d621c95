"""How fast do graphs of ONNX run in onnxruntime, next to the same networks in PyTorch, and what does int8 cost?

Networks have fresh weights: their values do not change the time. PyTorch, the graph and its int8 form take turns, so
that a busy machine slows all alike; streams get one hop after another.

    python benchmarks/onnx_graphs.py
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from _common import RESULTS, about, in_turns, result_file, write

from lobes.data import arguments
from lobes.errors import exit_on_user_error
from lobes.inference.speechbrain_adapter import LEVELS, at_level
from lobes.models import get_model, list_models
from lobes.models.registry import streaming_presets
from lobes.onnx import export, run
from lobes.onnx.offline import whole_graph
from lobes.onnx.stream import stream_graph

WHOLE = ["spmamba_tiny", "tf_gridnet_mini", "bsrnn_8k_tiny", "convtasnet_tiny", "dpmamba_tiny", "mamba_tasnet_tiny"]


def main() -> int:
    """Measure all, print a table and write the JSON file."""
    options = parse()
    torch.set_num_threads(1)
    rows = {}
    for preset, kind in graphs_of(options.presets):
        rows[f"{preset} {kind}"] = row = {"whole": whole, "stream": stream}[kind](preset, options)
        print(f"{preset:24} {kind:7}", "  ".join(f"{name} {value}" for name, value in row.items()))
    write(about(threads=1, seconds=options.seconds, repeats=options.repeats, seed=1234, results=rows), options.output)
    return 0


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = arguments.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="+", default=[*WHOLE, *streaming_presets()], choices=list_models())
    parser.add_argument("--seconds", type=arguments.positive, default=4.0, help="of audio, for each network")
    parser.add_argument("--repeats", type=arguments.count, default=5)
    parser.add_argument("--output", type=result_file, default=RESULTS / "onnx_graphs.json")
    return parser.parse_args()


def graphs_of(presets: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each preset whole, and as a stream if it can be one."""
    for preset in presets:
        yield preset, "whole"
        if preset in streaming_presets():
            yield preset, "stream"


def whole(preset: str, options: argparse.Namespace) -> dict[str, Any]:
    """One mixture as a whole."""
    model, facts = fresh(preset)
    mix = export.noise(1, round(options.seconds * model.sample_rate), model.sample_rate)
    graph = whole_graph(model)
    graphs = {"onnx": graph, "int8": export.quantised(graph)}

    def in_torch() -> Any:
        with torch.no_grad():
            return at_level(model(mix), mix, LEVELS[0])[0].numpy()

    return measured(graphs, facts, run.OnnxSeparator, lambda opened: opened(mix[0].numpy()), in_torch, options)


def stream(preset: str, options: argparse.Namespace) -> dict[str, Any]:
    """The same signal hop by hop; of a network of filters 16 hops at a time."""
    model, facts = fresh(preset)
    mix = export.noise(1, round(options.seconds * model.sample_rate), model.sample_rate)
    graph, more = stream_graph(model)
    size = more["hop"] * (16 if more["hops_per_call"] == "any" else 1)
    graphs = {"onnx": graph, "int8": stream_graph(model, export.quantised)[0]}

    def in_torch() -> Any:
        running = model.stream()
        return torch.cat([running.feed(chunk) for chunk in mix.split(size, 1)], 1)[0].numpy()

    def in_onnx(opened: Any) -> Any:
        opened.reset()
        return [opened.feed(chunk.numpy()) for chunk in mix[0].split(size)]

    return measured(graphs, facts | more, run.OnnxStream, in_onnx, in_torch, options)


def fresh(preset: str) -> tuple[Any, dict[str, Any]]:
    """A network with weights of a seed, and what a graph says of it."""
    torch.manual_seed(1234)
    model: Any = get_model(preset).eval().requires_grad_(False)
    return model, export.facts_of(model)


def measured(
    graphs: dict[str, Any],
    facts: dict[str, Any],
    opener: Callable[[Path], Any],
    work: Callable[[Any], object],
    in_torch: Callable[[], object],
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Real-time factors of CPU time, and sizes of the files in MB."""
    with TemporaryDirectory() as folder:
        paths = {name: Path(folder, f"{name}.onnx") for name in graphs}
        for name, graph in graphs.items():
            export.write(graph, paths[name], facts)
        opened = {name: opener(path) for name, path in paths.items()}
        sizes = {f"{name}_mb": round(path.stat().st_size / 1e6, 2) for name, path in paths.items()}
    works = {"torch": in_torch} | {name: lambda one=one: work(one) for name, one in opened.items()}  # type: ignore[misc]
    times = in_turns(works, options.repeats)
    return {f"{name}_rtf": round(clocks["cpu_min"] / options.seconds, 4) for name, clocks in times.items()} | sizes


if __name__ == "__main__":
    with exit_on_user_error():
        sys.exit(main())
