#!/usr/bin/env python3
"""How long does the host take for one call of the Triton scan? The kernels do nothing here, and tensors are on the CPU.

> python benchmarks/scan_host.py --before ../other_checkout --output benchmarks/results/scan_host.json

What is left is Python, the dispatcher and allocation: at small shapes a GPU waits for it. With `--before`, another
checkout runs in turns with this one. Triton's own launch, the same for both, is not counted.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from _common import RESULTS, ROOT, about, result_file, write

from lobes.data import arguments
from lobes.errors import exit_on_user_error
from lobes.scan import selective_scan

SHAPE = (4, 16, 32, 16)  # B, L, D, N: so small that allocation costs the same everywhere
CHILD = "--child"


def main() -> None:
    """Run both checkouts in turns and print the least microseconds of each."""
    parser = arguments.Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", type=Path, help="a checkout of an earlier version")
    parser.add_argument("--rounds", type=arguments.count, default=5, help="processes of each")
    parser.add_argument("--output", type=result_file, default=RESULTS / "scan_host.json")
    options = parser.parse_args()
    checkouts = {"now": ROOT} | ({"before": options.before.resolve()} if options.before else {})
    found: dict[str, dict[str, float]] = {}
    for _ in range(options.rounds):
        for name, folder in checkouts.items():
            times = child(folder)
            found[name] = {key: min(value, found.get(name, times)[key]) for key, value in times.items()}
    for name, times in found.items():
        print(f"{name}: forward {times['forward']:.1f} us, with backward {times['both']:.1f} us")
    write({**about(), "shape": SHAPE, "microseconds": found}, options.output)


def child(folder: Path) -> dict[str, float]:
    """The times of a checkout, from a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, CHILD]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def measure() -> dict[str, float]:
    """Least microseconds of a call, forward and with backward."""
    without_kernels()
    torch.set_num_threads(1)
    batch, steps, channels, states = SHAPE
    shapes = [SHAPE[:3], SHAPE[:3], (channels, states), (batch, steps, states), (batch, steps, states)]
    shapes += [(channels,), SHAPE[:3], (channels,)]
    leaves = [(-torch.rand(shape)).requires_grad_() for shape in shapes]
    gy = torch.ones(SHAPE[:3])

    def forward() -> Any:
        return selective_scan(*leaves, delta_softplus=True, backend="triton")

    return {"forward": least(forward), "both": least(lambda: torch.autograd.grad(forward(), leaves, gy))}


def without_kernels() -> None:
    """Let all kernels of the Triton backend do nothing, in this version or in one that had them in a single file."""

    class Nothing:
        def __getitem__(self, grid: Any) -> Any:
            return lambda *arguments, **options: None

        def __getattr__(self, name: str) -> Any:
            return self

    try:
        from lobes.scan.cuda.launch import kernels
    except ImportError:
        from lobes.scan.cuda import triton_backend

        triton_backend._kernels = Nothing  # type: ignore[attr-defined]
        return
    kernels().update((name, Nothing()) for name in kernels())


def least(work: Callable[[], object], calls: int = 10, rounds: int = 300) -> float:
    """Microseconds of a call: the least of many short turns, as others use the machine, too."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(calls):
            work()
        times.append((time.perf_counter() - start) / calls)
    return 1e6 * min(times)


if __name__ == "__main__":
    if CHILD in sys.argv:
        print(json.dumps(measure()))
    else:
        with exit_on_user_error():
            main()
