"""Part 0: what the device is, how fast it copies, and whether the scan's kernels are right on it.

Each shape is compared at a small batch with the backend `torch` in fp64, on inputs that are drawn anew in every call:
the output, the last state and all gradients, forward and in reverse, with lengths and without. Every tensor that is
not filled when it is made holds NaN, so that what a kernel leaves out is seen.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from gpu_day_rows import Row, Settings
from scan import SHAPES
from torch import Tensor

from lobes.errors import UserError
from lobes.scan import backends, selective_scan

TITLE = "The device, and whether the scan is right on it"
SECONDS = 90.0
AGREED = 3e-6  # of the largest value, as tests/scan asks for
BATCH = 4
SMALL = (2, 3, 18, 2)  # B, D, L, N: what the interpreter does in a second
QUERY = "name,driver_version,memory.total,clocks.max.sm,clocks.max.memory,power.limit"
NAMES = ("u", "delta", "A", "B", "C", "D", "z", "delta_bias")
Shape = tuple[int, int, int, int]


def rows(settings: Settings) -> dict[str, Callable[[], Row]]:
    """Facts, copy rate, a comparison for each shape and kind, and a small call under compute-sanitizer."""
    work: dict[str, Callable[[], Row]] = {"facts": partial(facts, settings), "copy": partial(copy_rate, settings)}
    for name, shape in shapes(settings).items():
        work[f"right {name}"] = partial(compare, settings, shape)
    return {**work, "sanitizer": partial(sanitizer, settings)}


def shapes(settings: Settings) -> dict[str, Shape]:
    """The benchmark's nine shapes with few items."""
    if settings.dry:
        return {name: (2, 3, 4 + number, 2) for number, name in enumerate(SHAPES)}
    return {name: (min(batch, BATCH), *more) for name, (batch, *more) in SHAPES.items()}


# ------------------------------------------------------------------ the device
def facts(settings: Settings) -> Row:
    """What PyTorch and the driver say about the device, and which tools there are."""
    found: Row = {"backends": backends(), "tools": {name: tool(name) or "absent" for name in ("nvcc", "ncu", CHECKER)}}
    if settings.dry:
        return found
    known = torch.cuda.get_device_properties(0)
    ask = ["nvidia-smi", f"--query-gpu={QUERY}", "--format=csv,noheader,nounits"]
    said = subprocess.run(ask, capture_output=True, text=True, encoding="utf-8").stdout.strip().splitlines()
    values = [value.strip() for value in said[0].split(",")] if said else []
    return {
        **found,
        "nvidia-smi": dict(zip(QUERY.split(","), values, strict=False)),
        "multiprocessors": known.multi_processor_count,
        "capability": f"{known.major}.{known.minor}",
        "gigabytes": round(known.total_memory / 2**30, 1),
    }


def tool(name: str) -> str | None:
    """The name of a tool of CUDA, with its folder where it is not on PATH."""
    home = os.environ.get("CUDA_HOME", str(Path(os.sep, "usr", "local", "cuda")))
    return shutil.which(name) or shutil.which(name, path=str(Path(home, "bin")))


def copy_rate(settings: Settings) -> Row:
    """Bytes that are read and written in a second, where a large tensor is copied."""
    size = 2**20 if settings.dry else 2**31
    source = torch.empty(size, dtype=torch.uint8, device=settings.device)
    target, times = torch.empty_like(source), []
    for _ in range(23):
        synchronize(settings)
        begin = time.perf_counter()
        target.copy_(source)
        synchronize(settings)
        times.append(time.perf_counter() - begin)
    return {"terabytes_per_second": round(2 * size / statistics.median(times[3:]) / 1e12, 3)}


def synchronize(settings: Settings) -> None:
    """Wait for the device."""
    if not settings.dry:
        torch.cuda.synchronize()


# ------------------------------------------------------------------ is the scan right
def compare(settings: Settings, shape: Shape) -> Row:
    """The largest error of each kind of call, as a share of the largest value."""
    seed = 1 if settings.dry else secrets.randbelow(2**31)  # sums of a few numbers may cancel: a dry run is the same
    errors = {}
    with poisoned():
        for reverse in (False, True):
            for padded in (False, True):
                kind = "reverse" * reverse or "forward"
                errors[kind + ", lengths" * padded] = largest_error(settings, shape, seed, reverse, padded)
    row = {"shape": shape, "seed": seed, "errors": errors}
    wrong = {kind: error for kind, error in errors.items() if not error <= AGREED}  # a NaN is no agreement
    if wrong:
        raise UserError(f"errors above {AGREED:g} at {shape}, seed {seed}: {wrong}")
    return row


@contextlib.contextmanager
def poisoned() -> Iterator[None]:
    """Let all tensors that are made without values hold NaN."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)  # to which PyTorch ties the filling
    try:
        assert torch.utils.deterministic.fill_uninitialized_memory and torch.empty(3).isnan().all()
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def largest_error(settings: Settings, shape: Shape, seed: int, reverse: bool, padded: bool) -> float:
    """The error of the worst tensor: output, last state and eight gradients."""
    inputs, lengths = drawn(shape, seed), lengths_of(shape, seed) if padded else None
    options = {"reverse": reverse, "lengths": lengths}
    got = results("triton", inputs, settings.device, torch.float32, **options)
    truth = results("torch", inputs, settings.device, torch.float64, **options)
    errors = [(g.double() - t).abs().max() / t.abs().max().clamp_min(1e-30) for g, t in zip(got, truth, strict=True)]
    return float(f"{torch.stack(errors).max().item():.1e}")  # NaN where one is


def drawn(shape: Shape, seed: int) -> dict[str, Tensor]:
    """Random inputs of a scan on the CPU, as layers have them: dt between 1e-3 and 1e-1, A from -1 to -N."""
    batch, channels, steps, states = shape
    generator = torch.Generator().manual_seed(seed)

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator)

    dt = torch.exp(torch.empty(channels).uniform_(-6.9, -2.3, generator=generator))
    bias = dt + torch.log(-torch.expm1(-dt))  # softplus(bias) = dt
    A = -torch.arange(1.0, states + 1).repeat(channels, 1)
    rows_ = [normal(batch, steps, channels) for _ in range(3)]
    maps = [normal(batch, steps, states) for _ in range(2)]
    values = (rows_[0], 0.1 * rows_[1], A, *maps, normal(channels), rows_[2], bias)
    return dict(zip(NAMES, values, strict=True))


def lengths_of(shape: Shape, seed: int) -> Tensor:
    """Valid steps of each item: none, all, and whatever comes."""
    batch, _, steps, _ = shape
    lengths = torch.randint(0, steps + 1, (batch,), generator=torch.Generator().manual_seed(seed))
    lengths[0] = steps
    if batch > 2:
        lengths[1] = 0
    return lengths


def results(name: str, inputs: dict[str, Tensor], device: str, dtype: torch.dtype, **options: Any) -> list[Tensor]:
    """Output, last state and the gradients of all inputs."""
    leaves = {key: tensor.to(device, dtype).requires_grad_() for key, tensor in inputs.items()}
    y, last = selective_scan(**leaves, delta_softplus=True, return_last_state=True, backend=name, **options)
    generator = torch.Generator().manual_seed(9)
    weights = [torch.randn(t.shape, generator=generator).to(device, dtype) for t in (y, last)]
    loss = (y * weights[0]).sum() + (last * weights[1]).sum()
    return [y.detach(), last.detach(), *torch.autograd.grad(loss, list(leaves.values()))]


# ------------------------------------------------------------------ memory
CHECKER = "compute-sanitizer"


def sanitizer(settings: Settings) -> Row:
    """A small call with lengths, one of them above L, under compute-sanitizer; alone where there is none."""
    checker = None if settings.dry else tool(CHECKER)
    command = [sys.executable, __file__, "dry" if settings.dry else "device"]
    if checker:
        command = [checker, "--tool", "memcheck", "--error-exitcode", "9", *command]
    environment = {**os.environ, "PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}  # each tensor is an allocation of its own
    done = subprocess.run(command, env=environment, capture_output=True, text=True, encoding="utf-8", errors="replace")
    print(done.stdout[-3000:], done.stderr[-3000:])
    if done.returncode:
        raise UserError(f"the small call ended with exit code {done.returncode} under {checker or 'no checker'}")
    return {"checker": Path(checker).name if checker else "absent: the call alone", "calls": done.stdout.count("call")}


def small_calls(dry: bool) -> None:
    """Two small scans with all gradients; on a device the lengths lie outside of 0..L, too."""
    settings = Settings(Path(), dry)
    lengths = torch.tensor([SMALL[2], 3] if dry else [SMALL[2] + 9, -1], device=settings.device)
    shape = SMALL if dry else (2, 40, 300, 16)
    for reverse in (False, True):
        options = {"reverse": reverse, "lengths": lengths}
        found = results("triton", drawn(shape, 1), settings.device, torch.float32, **options)
        print(f"call {len(found)}", flush=True)
        synchronize(settings)


if __name__ == "__main__":
    small_calls(dry=sys.argv[1] == "dry")
