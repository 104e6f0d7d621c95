#!/usr/bin/env python3
"""What does int8 cost on speech? A run's graph and its int8 form on one test set, with the paired difference in dB.

> python benchmarks/onnx_speech.py RUN MANIFEST [--data_root FOLDER]

RUN is the folder of a training; its best checkpoint is exported. MANIFEST is as in `lobes evaluate`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from _common import RESULTS, about, result_file, write

from lobes.data import arguments
from lobes.errors import exit_on_user_error
from lobes.evaluation.comparison import ALL, compare
from lobes.evaluation.manifest import evaluate, open_manifest
from lobes.evaluation.score_tables import read_systems
from lobes.inference import export_pretrained
from lobes.onnx.export import Graphs
from lobes.onnx.run import OnnxSeparator
from lobes.polsess.fixed import layout_of
from lobes.runs.folder import read_run

METRICS = ("si_sdr",)
FILES = {"onnx": "model.onnx", "int8": "model.int8.onnx"}


def main() -> None:
    """Export, score both graphs, write the JSON file."""
    options = parse()
    if options.run is None:
        print("no run and no manifest given, nothing measured")
        return
    manifest, task = open_manifest(options.manifest, options.data_root), read_run(options.run).settings.get("task")
    with TemporaryDirectory() as folder:
        export_pretrained(options.run, Path(folder, "export"), False, Graphs(int8=True))
        for name, file in FILES.items():
            graph = OnnxSeparator(Path(folder, "export", file), threads=2)
            score(graph, manifest, Path(folder, name), task)
        found = compare(read_systems([f"{name}={folder}/{name}" for name in FILES]), ["si_sdr"])
    overall = next(one for one in found if one.condition == ALL)
    loss = overall.estimate
    print(f"float32 minus int8: {loss.mean:.3f} dB [{loss.low:.3f}, {loss.high:.3f}] in {overall.n} mixtures")
    numbers = {"loss_db": round(loss.mean, 4), "interval": [round(loss.low, 4), round(loss.high, 4)]}
    facts = {"run": options.run.name, "mixtures": overall.n, "speakers": overall.speakers}
    write(about(**facts, **numbers) | {"command": "python benchmarks/onnx_speech.py RUN MANIFEST"}, options.output)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = arguments.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?", help="folder of a training")
    parser.add_argument("manifest", type=Path, nargs="?", help="of a test set with the run's sources")
    parser.add_argument("--data_root", type=Path, help="what $data_root in the manifest stands for")
    parser.add_argument("--output", type=result_file, default=RESULTS / "onnx_speech.json")
    return parser.parse_args()


def score(graph: OnnxSeparator, manifest: Any, out: Path, task: str | None) -> None:
    """The graph's scores on every mixture, as `lobes evaluate` writes them."""

    def layout(row: Any) -> Any:
        return layout_of(row, graph.num_sources, trained=task)

    evaluate(graph, graph.num_sources, graph.sample_rate, manifest, out, None, METRICS, 2, layout_of=layout)


if __name__ == "__main__":
    with exit_on_user_error():
        main()
