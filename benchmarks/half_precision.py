#!/usr/bin/env python3
"""What does bf16 gain on a CPU? A training step and a forward pass under autocast against fp32, and their memory.

> python benchmarks/half_precision.py --before ../other_checkout

The network is `spmamba_small` on 1 s of audio, on one thread. In a process all four kinds of work take turns, and with
`--before` processes of another checkout take turns with those of this one. The memory is the highest of a process that
only takes training steps, less what it had before the first. Matrix products in bf16 are fast on processors with AMX;
the expected factors are theirs, and elsewhere bf16 must not be slower than it was.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from _common import RESULTS, ROOT, about, in_turns, result_file, write
from training import COMPARED, training_step

from lobes.data import arguments
from lobes.errors import exit_on_user_error
from lobes.models import get_model
from lobes.training.memory import keep_freed_memory, peak_megabytes

CHILD = "--child"
PRECISIONS = ("fp32", "bf16")
AT_LEAST = {"step": 1.4, "forward": 1.2}  # times as fast as fp32, with AMX
LESS_MEMORY = 30  # percent of the memory of a step in fp32
STEPS = 2  # by which the memory of a step has been reached


def main() -> None:
    """Run the processes of all checkouts in turns, print the factors and write the JSON file."""
    options = parse()
    checkouts = {"now": ROOT} | ({"before": options.before.resolve()} if options.before else {})
    found: dict[str, dict[str, float]] = {name: {} for name in checkouts}
    for _ in range(options.rounds):
        for name, folder in checkouts.items():
            for work in ("times", *PRECISIONS):
                for key, value in child(folder, work, options).items():
                    found[name][key] = min(value, found[name].get(key, value))
    for name, values in found.items():
        report(name, values, found.get("before"))
    result = about(preset=COMPARED, seconds=options.seconds, repeats=options.repeats, rounds=options.rounds, seed=1234)
    write({**result, "results": found}, options.output)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = arguments.Parser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--before", type=Path, help="a checkout of an earlier version")
    add("--seconds", type=arguments.positive, default=1.0, help="of audio")
    add("--repeats", type=arguments.count, default=5, help="turns in a process")
    add("--rounds", type=arguments.count, default=2, help="processes of each kind")
    add("--output", type=result_file, default=RESULTS / "half_precision.json")
    return parser.parse_args()


def report(name: str, values: dict[str, float], before: dict[str, float] | None) -> None:
    """Print what bf16 gains, and how its times compare with those before."""
    for kind, bound in AT_LEAST.items():
        fp32, bf16 = (values[f"{precision} {kind}"] for precision in PRECISIONS)
        line = f"{name}: {kind} {fp32:.3f} s in fp32, {bf16:.3f} s in bf16, {fp32 / bf16:.2f} times as fast"
        print(f"{line} (with AMX at least {bound:g})")
        if before is not None and values is not before:
            earlier = before[f"bf16 {kind}"]
            print(f"  bf16 before: {earlier:.3f} s; now {earlier / bf16:.2f} times as fast")
    fp32, bf16 = (values[f"{precision} megabytes"] for precision in PRECISIONS)
    less = 100 - 100 * bf16 / fp32
    print(f"{name}: a step takes {fp32:.0f} MB in fp32, {less:.0f} % less in bf16 (at least {LESS_MEMORY} %)")


def child(folder: Path, work: str, options: argparse.Namespace) -> dict[str, float]:
    """What a process of a checkout measures."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, CHILD, work, str(options.seconds), str(options.repeats)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, encoding="utf-8", check=True)
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def measure(work: str, seconds: float, repeats: int) -> dict[str, float]:
    """Least CPU seconds of each kind of work in each precision; or megabytes of a step in one."""
    torch.set_num_threads(1)
    keep_freed_memory()
    if work != "times":
        step = training_step(case(seconds, work))
        before = peak_megabytes("cpu")
        for _ in range(STEPS):
            step()
        return {f"{work} megabytes": peak_megabytes("cpu") - before}
    kinds = {f"{precision} step": training_step(case(seconds, precision)) for precision in PRECISIONS}
    kinds |= {f"{precision} forward": forward(seconds, precision) for precision in PRECISIONS}
    return {name: clocks["cpu_min"] for name, clocks in in_turns(kinds, repeats).items()}


def case(seconds: float, precision: str) -> dict[str, Any]:
    """A row of benchmarks/training.py."""
    return {"preset": COMPARED, "seconds": seconds, "precision": precision, "checkpointing": False, "device": "cpu"}


def forward(seconds: float, precision: str) -> Callable[[], None]:
    """A forward pass without gradients, ready to be called."""
    torch.manual_seed(1234)
    model = get_model(COMPARED).eval()
    mix = torch.randn(1, int(seconds * model.sample_rate))

    @torch.no_grad()
    def run() -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16) if precision == "bf16" else nullcontext():
            model(mix)

    return run


if __name__ == "__main__":
    if sys.argv[1:2] == [CHILD]:
        print(json.dumps(measure(sys.argv[2], float(sys.argv[3]), int(sys.argv[4]))))
    else:
        with exit_on_user_error():
            main()
