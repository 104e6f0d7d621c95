#!/usr/bin/env python3
"""How fast does each preset separate a recording, and how much memory does it take, by length?

> python benchmarks/inference.py [--presets spmamba_small] [--seconds 1 10 60] [--threads 1 2] [--before CHECKOUT]

Each figure comes from a fresh process: it loads the preset with random weights, separates a short mixture, so that all
code is compiled, and then one of each length as files are separated, in chunks where it is long. The real-time factor
is seconds of work over seconds of audio; memory is the highest of the process, and that over what it held before. With
--before another checkout takes turns with this one.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _common import MEGABYTE, RESULTS, ROOT, about, result_file, save, timed, write
from memory import start_peak, status

from lobes.data import arguments
from lobes.errors import exit_on_user_error

WARM_S = 0.25


def main() -> None:
    """Measure in fresh processes, print, write the JSON file; or, as such a process, print one figure."""
    options = parse()
    if options.child:
        print(json.dumps(measure(options.child, options.seconds[0], options.threads[0])))
        return
    from lobes.models import list_models

    checkouts = {"now": ROOT, **({"before": options.before.resolve()} if options.before else {})}
    rows: list[dict[str, Any]] = []
    where = about()
    for preset in options.presets or list_models():
        for threads in options.threads:
            for seconds in options.seconds:
                found = {name: fresh(root, preset, seconds, threads) for name, root in checkouts.items()}
                rows += [{"version": name, **row} for name, row in found.items()]
                for name, row in found.items():
                    print(f"{preset:24}{name:7}{seconds:6g} s {threads} threads  {in_words(row)}")
                save({**where, "rows": rows}, options.output)
    write({**where, "rows": rows}, options.output)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = arguments.Parser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--presets", nargs="+", help="default: all")
    add("--seconds", nargs="+", type=arguments.positive, default=[1.0, 10.0, 60.0])
    add("--threads", nargs="+", type=arguments.count, default=[1, 2])
    add("--before", type=Path, help="a checkout of an earlier version")
    add("--output", type=result_file, default=RESULTS / "inference.json")
    add("--child", help=argparse.SUPPRESS)
    return parser.parse_args()


def in_words(row: dict[str, Any]) -> str:
    """A row's figures, or why there are none."""
    if "failed" in row:
        return row["failed"]
    factors = f"real-time factor {row['rtf']:.3f} (CPU {row['cpu_rtf']:.3f})"
    return f"{factors}, {row['peak_mb']:.0f} MB, {row['over_mb']:.0f} over"


def fresh(root: Path, preset: str, seconds: float, threads: int) -> dict[str, Any]:
    """The figures of one preset, from a process of its own."""
    command = [sys.executable, __file__, "--child", preset, "--seconds", str(seconds), "--threads", str(threads)]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", env=environment)
    facts = {"preset": preset, "seconds": seconds, "threads": threads}
    if done.returncode:
        return {**facts, "failed": (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]}
    return {**facts, **json.loads(done.stdout.splitlines()[-1])}


def measure(preset: str, seconds: float, threads: int) -> dict[str, float]:
    """Separate one mixture of noise."""
    from lobes.inference import Separator
    from lobes.inference.speechbrain_adapter import adapt
    from lobes.models import get_model

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model: Any = get_model(preset).eval().requires_grad_(False)
    facts = {"num_spks": model.num_sources, "sample_rate": model.sample_rate}
    separator: Any = Separator(adapt(model), facts, run_opts={"device": "cpu"})
    # what files go through: earlier versions had no chunks
    separate = getattr(separator, "separate", separator.separate_batch)
    mix = np.random.default_rng(0).standard_normal(int(seconds * model.sample_rate)).astype(np.float32) / 10
    with torch.no_grad():
        separate(mix[: int(WARM_S * model.sample_rate)])
        before = start_peak("cpu")
        clocks = timed(lambda: separate(mix))
    peak = status("VmHWM")
    times = {"rtf": clocks["wall"] / seconds, "cpu_rtf": clocks["cpu"] / seconds}
    return {**times, "peak_mb": peak / MEGABYTE, "over_mb": (peak - before) / MEGABYTE}


if __name__ == "__main__":
    with exit_on_user_error():
        main()
