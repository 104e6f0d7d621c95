#!/usr/bin/env python3
"""How fast is a training step of code written for mamba_ssm, against the same code with a loop over time?

> python benchmarks/compat.py [--networks dual_path enhancer patches] [--threads 1] [--repeats 5]

The networks are those of tests/compat/theirs, which import `mamba_ssm` and know nothing of Lobes. A step is forward,
loss, backward and Adam. Both ways take turns in one process, on the same network and inputs: the backend that Lobes
chooses, and its readable loop over time.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from _common import RESULTS, ROOT, about, in_turns, result_file, write
from torch import Tensor, nn

from lobes.compat.mamba_ssm import install
from lobes.data import arguments
from lobes.errors import exit_on_user_error
from lobes.scan.registry import ENVIRONMENT

# Module: class, its arguments, shape of the input
NETWORKS: dict[str, tuple[str, dict[str, int], tuple[int, ...]]] = {
    "dual_path": ("DualPath", {"channels": 8, "layers": 2, "taps": 4}, (1, 2, 62, 129)),
    "enhancer": ("Enhancer", {"channels": 32, "layers": 2}, (1, 2, 64, 101)),
    "patches": ("Patches", {"channels": 64, "layers": 4, "largest": 1024, "classes": 10}, (4, 1, 256, 256)),
}
WAYS = {"stand-in": "auto", "loop over time": "reference"}
AT_LEAST = 8.0


def main() -> None:
    """Measure, print, write the JSON file."""
    options = parse()
    torch.set_num_threads(options.threads)
    install(shadow=True)
    sys.path.insert(0, str(ROOT / "tests" / "compat" / "theirs"))
    rows = {name: measure(name, options.repeats) for name in options.networks}
    clock = "cpu_min" if options.threads == 1 else "wall_min"
    for name, row in rows.items():
        fast, slow = (row[way][clock] for way in WAYS)
        row["factor"] = round(slow / fast, 1)
        print(f"{name:10} {fast:8.3f} s, with a loop over time {slow:8.3f} s: {row['factor']} (at least {AT_LEAST:g})")
    result = about(threads=options.threads, repeats=options.repeats, seed=1234, clock=clock)
    write({**result, "at_least": AT_LEAST, "results": rows}, options.output)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = arguments.Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--threads", type=arguments.count, default=1)
    parser.add_argument("--repeats", type=arguments.count, default=5)
    parser.add_argument("--output", type=result_file, default=RESULTS / "compat.json")
    return parser.parse_args()


def measure(name: str, repeats: int) -> dict[str, Any]:
    """{way: times of a step}, the number of parameters, and the largest difference of the outputs."""
    torch.manual_seed(1234)
    kind, sizes, shape = NETWORKS[name]
    network: nn.Module = getattr(importlib.import_module(name), kind)(**sizes)
    inputs = torch.randn(shape)
    outputs = [by(way, torch.no_grad()(lambda: network(inputs)))() for way in WAYS.values()]
    difference = (outputs[0] - outputs[1]).abs().max() / outputs[1].abs().max()
    optimizer = torch.optim.Adam(network.parameters(), 1e-4)
    step = training_step(network, optimizer, inputs, torch.zeros_like(outputs[0]))
    row: dict[str, Any] = in_turns({name: by(way, step) for name, way in WAYS.items()}, repeats)
    row["parameters"] = sum(weight.numel() for weight in network.parameters())
    row["input"], row["largest_difference"] = list(shape), float(f"{difference:.1e}")
    return row


def training_step(
    network: nn.Module, optimizer: torch.optim.Optimizer, inputs: Tensor, target: Tensor
) -> Callable[[], None]:
    """Forward, loss, backward and an optimizer's step."""

    def step() -> None:
        optimizer.zero_grad()
        F.mse_loss(network(inputs), target).backward()
        optimizer.step()

    return step


def by(backend: str, work: Callable[[], Any]) -> Callable[[], Any]:
    """The same work with the scan by another backend."""

    def run() -> Any:
        os.environ[ENVIRONMENT] = backend
        return work()

    return run


if __name__ == "__main__":
    with exit_on_user_error():
        main()
