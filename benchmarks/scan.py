#!/usr/bin/env python3
"""How much faster are the scan's backends than the reference, which is the unbound loop over time?

> python benchmarks/scan.py [--threads 1] [--repeats 7] [--device cpu] [--output benchmarks/results/scan.json]

All backends take turns in one process, so that a busy machine slows them alike. A time is one call in float32 with all
inputs: forward without gradients, and forward with backward. `cpu` is the process's CPU time, which other processes
disturb less; `wall` is the time that one waits. Factors are ratios of minima: of CPU time with one thread, else of wall
time.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from lobes.scan import backends, selective_scan

ROOT = Path(__file__).resolve().parents[1]
# (B, D, L, N): one pass of SPMamba within frames and one over time, a part of the batch of each.
SHAPES = {"intra": (64, 256, 129, 16), "inter": (16, 256, 500, 16)}
# Forward with backward against the reference, one thread; what issue 2 and specs/selective_scan.md ask for.
BARS = {"torch": 2.5, "numba": 12.0}


def main() -> None:
    """Measure, print the table, write the JSON file."""
    options = parse()
    torch.set_num_threads(options.threads)
    names = options.backends or [name for name in ("reference", "torch", "numba") if backends()[name] == "available"]
    shapes = {name: measure_shape(shape, names, options) for name, shape in SHAPES.items()}
    report(shapes, options.threads)
    write(shapes, options)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--backends", nargs="+", choices=list(backends()), help="default: all that run on a CPU")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "scan.json")
    return parser.parse_args()


def make_inputs(shape: tuple[int, int, int, int], device: str) -> list[torch.Tensor]:
    """u, delta, A, B, C, D, z, delta_bias as in a fresh Mamba: A = -(1..N), dt between 1e-3 and 1e-1."""
    batch, channels, steps, states = shape
    generator = torch.Generator().manual_seed(1234)

    def normal(*size: int) -> torch.Tensor:
        return torch.randn(*size, generator=generator)

    A = -torch.arange(1.0, states + 1).repeat(channels, 1)
    B, C = normal(batch, steps, states), normal(batch, steps, states)
    dt = torch.exp(torch.empty(channels).uniform_(-6.9, -2.3, generator=generator))
    bias = dt + torch.log(-torch.expm1(-dt))  # softplus(bias) = dt
    u, delta, z = (normal(batch, steps, channels) for _ in range(3))
    inputs = [u, delta * 0.1, A, B, C, normal(channels), z, bias]
    return [tensor.to(device).requires_grad_() for tensor in inputs]


def measure_shape(shape: tuple[int, int, int, int], names: list[str], options: argparse.Namespace) -> dict[str, dict]:
    """{backend: {"forward": {...}, "forward+backward": {...}}} with lists of seconds, the backends interleaved."""
    inputs = make_inputs(shape, options.device)
    gradient = torch.randn_like(inputs[0])
    work = {"forward": forward, "forward+backward": forward_and_backward}
    seconds = {name: {kind: {"cpu": [], "wall": []} for kind in work} for name in names}
    for repeat in range(options.repeats + 1):  # the first one compiles and warms up
        for kind, function in work.items():
            for name in names:
                clocks = timed(lambda: function(inputs, gradient, name), options.device)  # noqa: B023, called at once
                for clock, value in clocks.items() if repeat else ():
                    seconds[name][kind][clock].append(round(value, 5))
    return {name: {kind: summary(clocks) for kind, clocks in kinds.items()} for name, kinds in seconds.items()}


def forward(inputs: list[torch.Tensor], gradient: torch.Tensor, name: str) -> None:
    """One call without gradients."""
    with torch.no_grad():
        selective_scan(*inputs, delta_softplus=True, backend=name)


def forward_and_backward(inputs: list[torch.Tensor], gradient: torch.Tensor, name: str) -> None:
    """One call and the gradients of all eight inputs."""
    torch.autograd.grad(selective_scan(*inputs, delta_softplus=True, backend=name), inputs, gradient)


def timed(work: Callable[[], None], device: str) -> dict[str, float]:
    """CPU and wall seconds of one piece of work."""
    synchronize = torch.cuda.synchronize if device.startswith("cuda") else lambda: None
    synchronize()
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    synchronize()
    return {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}


def summary(clocks: dict[str, list[float]]) -> dict[str, float]:
    """Minimum and median of each clock."""
    found = {}
    for clock, values in clocks.items():
        found[f"{clock}_min"], found[f"{clock}_median"] = min(values), round(statistics.median(values), 5)
    return found


def report(shapes: dict[str, dict], threads: int) -> None:
    """Print one line for each shape and backend, with the factor over the reference."""
    clock = "cpu_min" if threads == 1 else "wall_min"
    print(
        f"{'shape':7}{'backend':11}{'forward ms':>12}{'fwd+bwd ms':>12}{'factor':>8}   ({clock}, {threads} thread(s))"
    )
    for shape, rows in shapes.items():
        for name, kinds in rows.items():
            alone, both = kinds["forward"][clock], kinds["forward+backward"][clock]
            factor = rows["reference"]["forward+backward"][clock] / both if "reference" in rows else float("nan")
            kinds["factor"] = round(factor, 1)
            bar = f"   bar {BARS[name]:g}" if name in BARS and threads == 1 else ""
            print(f"{shape:7}{name:11}{1e3 * alone:12.1f}{1e3 * both:12.1f}{factor:8.1f}{bar}")


def write(shapes: dict[str, dict], options: argparse.Namespace) -> None:
    """Write the JSON file, with all that is needed to run it again."""
    from lobes.training.launch import commit, machine

    about = {
        "command": " ".join(["python", *sys.argv]),
        "commit": commit(),
        "machine": machine(),
        "torch": torch.__version__,
        "load": os.getloadavg(),
        "threads": options.threads,
        "repeats": options.repeats,
        "device": options.device,
        "shapes": {name: dict(zip("BDLN", shape, strict=True)) for name, shape in SHAPES.items()},
        "seed": 1234,
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps({**about, "results": shapes}, indent=2) + "\n", encoding="utf-8")
    print(f"wrote {os.path.relpath(options.output)}")


if __name__ == "__main__":
    main()
