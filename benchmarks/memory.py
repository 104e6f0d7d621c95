#!/usr/bin/env python3
"""How much memory does a scan take beyond its inputs, forward with backward?

> python benchmarks/memory.py [--backends numba torch reference pscan] [--shape 32 256 129 16]

Every figure comes from a fresh process: it runs a tiny scan, so that all code is loaded and compiled, makes the inputs,
and then looks at the highest memory of one call. The gradients of the eight inputs are part of it. On a GPU PyTorch's
own count of its tensors is used. A second table is for one item of several lengths: memory must grow in line.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys

import torch
from _common import MEGABYTE, RESULTS, about, known_device, result_file, write
from scan import LENGTHS, default_peers, make_inputs, work_of

from lobes.data import arguments
from lobes.errors import exit_on_user_error
from lobes.inference.measuring import peak, start_peak

SHAPE = (32, 256, 129, 16)
LIMIT = 64.0  # MB over the inputs for numba at this shape
WARM = (1, 4, 20, 2)


def main() -> None:
    """Measure in fresh processes, print, write the JSON file; or, as such a process, print one figure."""
    options = parse()
    if options.child:
        print(json.dumps(measure(options.child, tuple(options.shape), options.device)))
        return
    names = options.backends or default_peers(options.device)
    found = {name: fresh(name, options.shape, options.device) for name in names}
    for name, megabytes in found.items():
        limit = f"   at most {LIMIT:g}" if name == "numba" and tuple(options.shape) == SHAPE else ""
        print(f"{name:11}{megabytes:9.1f} MB over the inputs{limit}")
    best = "triton" if options.device.startswith("cuda") else "numba"
    growth = {steps: fresh(best, [1, 256, steps, 16], options.device) for steps in LENGTHS}
    print(f"{best}, one item of 256 channels: {growth} MB by length")
    where = about(device=options.device, shape=dict(zip("BDLN", options.shape, strict=True)))
    write({**where, "megabytes_over_inputs": found, "lengths": {"backend": best, "megabytes": growth}}, options.output)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = arguments.Parser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--backends", nargs="+", help="default: all that run here, and pscan")
    add("--shape", nargs=4, type=arguments.count, default=list(SHAPE), metavar=("B", "D", "L", "N"))
    add("--device", type=known_device, default="cpu")
    add("--output", type=result_file, default=RESULTS / "memory.json")
    add("--child", help=argparse.SUPPRESS)
    return parser.parse_args()


def fresh(name: str, shape: list[int], device: str) -> float:
    """The figure of one backend, from a process of its own."""
    command = [sys.executable, __file__, "--child", name, "--device", device, "--shape", *map(str, shape)]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=True)
    return float(json.loads(done.stdout.splitlines()[-1]))


def measure(name: str, shape: tuple[int, int, int, int], device: str) -> float:
    """MB that one forward with backward needs over its inputs, in one thread."""
    torch.set_num_threads(1)
    run(name, WARM, device)()
    work = run(name, shape, device)
    before = start_peak(device)
    work()
    return round((peak(device) - before) / MEGABYTE, 1)


def run(name: str, shape: tuple[int, int, int, int], device: str):  # noqa: ANN201
    """The work on fresh inputs."""
    inputs = make_inputs(shape, device)
    return work_of(name, "forward+backward", inputs, torch.randn_like(inputs[0]))


if __name__ == "__main__":
    with exit_on_user_error():
        main()
