#!/usr/bin/env python3
"""How fast are the scan's backends, against each other, the unbound loop over time, mambapy and the first prototype?

> python benchmarks/scan.py [--threads 1] [--repeats 7] [--shapes intra inter cross] [--device cpu]

All of them take turns in one process. A time is one call in float32 with all inputs: forward without gradients, and
forward with backward. Factors are ratios of minima: of CPU time, which other processes disturb less, with one thread;
else of wall time. With one thread on a CPU the table ends with what a second thread gains, and with the time for a step
of the sequence, from short ones to long ones. Accuracy is that of float32 against the `torch` backend in float64.

The prototype is the code from which the backend `numba` was written; it takes part on a CPU where its file lies next to
the checkout, as PROTOTYPE says.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from _common import RESULTS, ROOT, about, in_turns, known_device, result_file, write
from torch import Tensor

from lobes.data import arguments
from lobes.errors import UserError, exit_on_user_error
from lobes.scan import backends, selective_scan
from lobes.training.memory import keep_freed_memory

# (B, D, L, N): within frames and over time in SPMamba at 8 kHz (a part of the batch, and all of it) and 16 kHz, across
# bands and over time in the band-split models, and long sequences.
SHAPES = {
    "intra": (64, 256, 129, 16),
    "inter": (16, 256, 500, 16),
    "cross": (128, 256, 30, 16),
    "intra_full": (500, 256, 129, 16),
    "inter_full": (129, 256, 500, 16),
    "spmamba_16k": (126, 512, 250, 16),
    "band_time": (60, 256, 250, 16),
    "long_16000": (1, 256, 16000, 16),
    "long_64000": (1, 128, 64000, 16),
}
DEFAULT = ("intra", "inter", "cross")
LARGEST_PSCAN = 2**26  # states (B L D N) beyond which mambapy's memory would not fit
CALLS = 10  # in a turn, where threads are compared
LENGTHS = (1000, 4000, 16000, 64000)  # each a part of the last
KINDS = ("forward", "forward+backward")
PROTOTYPE = ROOT.parent / "shared" / "prototypes" / "scan_numba.py"
PEERS = {"reference": 1, "pscan": 1, "prototype": 2}  # that the others are compared with -> digits of the factor
# Factors, forward with backward on one thread, while freed memory goes back to the system: over the reference by shape,
# and over the prototype.
AT_LEAST = {
    "torch": {"intra": 2.5, "inter": 2.5},
    "numba": {"intra": 20.0, "inter": 20.0, "cross": 12.0},
}
OVER_PROTOTYPE = 1.1
Inputs = list[Tensor]


def main() -> None:
    """Measure, print the tables, write the JSON file and the plot."""
    options = parse()
    torch.set_num_threads(options.threads)
    if options.keep_memory:
        keep_freed_memory()
    clock = "cpu_min" if options.threads == 1 and options.device == "cpu" else "wall_min"
    shapes = {name: measure_shape(SHAPES[name], options) for name in options.shapes}
    for name, rows in shapes.items():
        report(name, rows, clock)
    result = about(threads=options.threads, repeats=options.repeats, device=options.device, seed=1234, clock=clock)
    result["shapes"] = {name: dict(zip("BDLN", SHAPES[name], strict=True)) for name in shapes}
    result["results"] = shapes
    if options.threads == 1 and options.device == "cpu":
        keep_freed_memory()  # as in training; else new pages for the longest tensors cost as much as the scan
        result["two_threads"] = two_threads(options.repeats)
        result["lengths"] = lengths(options.repeats)
    write(result, options.output)
    plot(shapes, clock, options.output.with_suffix(".svg"))


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = arguments.Parser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--threads", type=arguments.count, default=1)
    add("--repeats", type=arguments.count, default=7)
    add("--device", type=known_device, default="cpu")
    add("--shapes", nargs="+", choices=list(SHAPES), default=list(DEFAULT))
    add("--keep_memory", action="store_true", help="keep freed memory in the process, as training does")
    add("--backends", nargs="+", choices=[*backends(), "pscan", "prototype"], help="default: all that run here")
    add("--output", type=result_file, default=RESULTS / "scan.json")
    options = parser.parse_args()
    options.backends = options.backends or default_peers(options.device)
    return options


def default_peers(device: str) -> list[str]:
    """The backends that run on a device, mambapy's parallel scan and the prototype where there are such."""
    names = ("reference", "torch", "numba") if device == "cpu" else ("torch", "triton", "mamba_ssm")
    found = [name for name in names if backends()[name] == "available"]
    found += ["pscan"] if find_spec("mambapy") else []
    return found + (["prototype"] if device == "cpu" and PROTOTYPE.exists() else [])


def make_inputs(shape: tuple[int, int, int, int], device: str = "cpu") -> Inputs:
    """u, delta, A, B, C, D, z, delta_bias as in a fresh Mamba: A = -(1..N), dt between 1e-3 and 1e-1."""
    batch, channels, steps, states = shape
    generator = torch.Generator().manual_seed(1234)

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator)

    A = -torch.arange(1.0, states + 1).repeat(channels, 1)
    B, C = normal(batch, steps, states), normal(batch, steps, states)
    dt = torch.exp(torch.empty(channels).uniform_(-6.9, -2.3, generator=generator))
    bias = dt + torch.log(-torch.expm1(-dt))  # softplus(bias) = dt
    u, delta, z = (normal(batch, steps, channels) for _ in range(3))
    inputs = [u, delta * 0.1, A, B, C, normal(channels), z, bias]
    return [tensor.to(device).requires_grad_() for tensor in inputs]


def scan_by(name: str) -> Callable[..., Tensor]:
    """The function of eight inputs behind a name: a backend, mambapy's parallel scan or the prototype."""
    if name == "pscan":
        return pscan
    if name == "prototype":
        return prototype()
    return lambda *inputs: selective_scan(*inputs, delta_softplus=True, backend=name)


def pscan(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, z: Tensor, bias: Tensor) -> Tensor:
    """The scan through mambapy, which wants decays and inputs of all states, [B, L, D, N]."""
    from mambapy.pscan import pscan as parallel

    dt = F.softplus(delta + bias)
    states = parallel(torch.exp(dt.unsqueeze(-1) * A), (dt * u).unsqueeze(-1) * B.unsqueeze(2))
    return ((states @ C.unsqueeze(-1)).squeeze(-1) + D * u) * F.silu(z)


def prototype() -> Callable[..., Tensor]:
    """The prototype's scan, on as many threads as PyTorch has."""
    if str(PROTOTYPE.parent) not in sys.path:
        sys.path.append(str(PROTOTYPE.parent))
    threads = torch.get_num_threads()
    importlib.import_module("numba").set_num_threads(threads)
    torch.set_num_threads(threads)  # numba's first call has set it to the number of processors
    return importlib.import_module(PROTOTYPE.stem).nv_cl  # type: ignore[no-any-return]


def work_of(name: str, kind: str, inputs: Inputs, gradient: Tensor) -> Callable[[], object]:
    """One call of a kind, to be timed."""
    scan = scan_by(name)
    if kind == "forward":
        return torch.no_grad()(lambda: scan(*inputs))
    return lambda: torch.autograd.grad(scan(*inputs), inputs, gradient)


def measure_shape(shape: tuple[int, int, int, int], options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """{backend: {"forward": times, "forward+backward": times, "error": largest relative error}}."""
    inputs = make_inputs(shape, options.device)
    gradient = torch.randn_like(inputs[0])
    states = inputs[0].numel() * shape[3]
    names = [name for name in options.backends if name != "pscan" or states <= LARGEST_PSCAN]
    work = {f"{name} {kind}": work_of(name, kind, inputs, gradient) for kind in KINDS for name in names}
    times = in_turns(work, options.repeats, options.device)
    if torch.get_num_threads() != options.threads:
        raise UserError(f"a backend of {', '.join(names)} has set PyTorch's threads to {torch.get_num_threads()}.")
    rows: dict[str, dict[str, Any]] = {name: {kind: times[f"{name} {kind}"] for kind in KINDS} for name in names}
    truth = results("torch", [tensor.detach().double().requires_grad_() for tensor in inputs], gradient.double())
    for name in names:
        rows[name]["error"] = largest_error(results(name, inputs, gradient), truth)
    return rows


def results(name: str, inputs: Inputs, gradient: Tensor) -> list[Tensor]:
    """Output and all eight gradients."""
    y = scan_by(name)(*inputs)
    return [y.detach(), *torch.autograd.grad(y, inputs, gradient)]


def largest_error(got: list[Tensor], truth: list[Tensor]) -> float:
    """The largest error of any tensor, as a share of the tensor's largest value."""
    errors = [(g - t).abs().max() / t.abs().max() for g, t in zip(got, truth, strict=True)]
    return float(f"{max(errors):.1e}")


def report(shape: str, rows: dict[str, dict[str, Any]], clock: str) -> None:
    """Print one line for each backend, with the factors over its peers, and what is expected of them."""
    print(f"\n{shape} {SHAPES[shape]}, {clock}")
    columns = "".join(f"{f'x {peer}':>13}" for peer in PEERS)
    print(f"{'backend':11}{'forward ms':>12}{'fwd+bwd ms':>12}{columns}{'error':>10}")
    for name, row in rows.items():
        for peer, digits in PEERS.items():
            base = rows.get(peer, {})
            row[f"times {peer}"] = {kind: round(base[kind][clock] / row[kind][clock], digits) for kind in KINDS if base}
        shown = "".join(f"{row[f'times {peer}'].get(KINDS[1], '-'):>13}" for peer in PEERS)
        alone, both = (f"{1e3 * row[kind][clock]:.1f}" for kind in KINDS)
        print(f"{name:11}{alone:>12}{both:>12}{shown}{row['error']:>10.0e}{expected(name, shape, rows)}")


def expected(name: str, shape: str, rows: dict[str, dict[str, Any]]) -> str:
    """The bounds of a backend at a shape, as the end of its line."""
    bounds = [(AT_LEAST.get(name, {}).get(shape), "reference"), (OVER_PROTOTYPE * (name == "numba"), "prototype")]
    words = [f"{bound:g} x {peer}" for bound, peer in bounds if bound and peer in rows and shape in DEFAULT]
    return f"   at least {', '.join(words)}" if words else ""


def often(call: Callable[[], object], times: int) -> Callable[[], None]:
    """A turn of several calls."""

    def run() -> None:
        for _ in range(times):
            call()

    return run


def two_threads(repeats: int) -> dict[str, Any]:
    """The gain of a second thread in wall time, forward with backward, backend numba.

    A turn is several calls, as in a training: the second core must first wake up after a turn of one thread.
    """

    def with_threads(count: int, work: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            torch.set_num_threads(count)
            often(work, CALLS)()

        return run

    found = {}
    for shape in DEFAULT:
        inputs = make_inputs(SHAPES[shape])
        work = work_of("numba", KINDS[1], inputs, torch.randn_like(inputs[0]))
        times = in_turns({str(count): with_threads(count, work) for count in (1, 2)}, repeats)
        found[shape] = {**times, "gain": round(times["1"]["wall_min"] / times["2"]["wall_min"], 2)}
        print(f"two threads, {shape}: {found[shape]['gain']} times as fast as one (at least 1.7)")
    torch.set_num_threads(1)
    return found


def lengths(repeats: int) -> dict[str, Any]:
    """Microseconds for one step of one item, 256 channels, by the length of the sequence; backend numba.

    Short sequences are run so often that every turn has the same number of steps.
    """
    work = {}
    for steps in LENGTHS:
        inputs = make_inputs((1, 256, steps, 16))
        call = work_of("numba", KINDS[1], inputs, torch.randn_like(inputs[0]))
        work[str(steps)] = often(call, LENGTHS[-1] // steps)
    times = in_turns(work, repeats)
    per_step = {steps: round(1e6 * clocks["cpu_min"] / LENGTHS[-1], 3) for steps, clocks in times.items()}
    spread = round(max(per_step.values()) / min(per_step.values()), 3)
    print(f"microseconds a step by length: {per_step}; largest over smallest {spread} (at most 1.25)")
    return {"microseconds_per_step": per_step, "spread": spread}


def plot(shapes: dict[str, dict[str, Any]], clock: str, path: Path) -> None:
    """A bar chart of times by backend, one group for each shape; the axis is logarithmic."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names = list(next(iter(shapes.values())))
    figure, axes = plt.subplots(figsize=(1.5 + 1.6 * len(shapes), 3.5), layout="constrained")
    for i, name in enumerate(names):
        places = [j + (i - (len(names) - 1) / 2) * 0.8 / len(names) for j in range(len(shapes))]
        heights = [1e3 * rows[name][KINDS[1]][clock] if name in rows else 0 for rows in shapes.values()]
        axes.bar(places, heights, 0.8 / len(names), label=name)
    axes.set(yscale="log", ylabel=f"ms, {KINDS[1]} ({clock})")
    axes.set_xticks(range(len(shapes)), [f"{name}\n{SHAPES[name]}" for name in shapes], fontsize=7)
    axes.legend(fontsize=7)
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    with exit_on_user_error():
        main()
