"""Part 1: the scan's time at nine shapes, forward and forward with backward, against the kernel of mamba_ssm.

That kernel is measured in its own layout [B,D,L], and through our backend of that name, which transposes. Every time is
a median over 100 calls after 20 that are not counted; four sets of inputs take turns.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch
from gpu_day_check import NAMES, Shape, drawn
from gpu_day_check import shapes as small_shapes
from gpu_day_clock import DRY, FULL, Effort, Work, times
from gpu_day_peer import Scan, peer
from gpu_day_rows import Row, Settings, in_a_line
from scan import SHAPES
from torch import Tensor

from lobes.scan import selective_scan
from lobes.scan.cuda.bridge import BridgeBackend
from lobes.scan.registry import BACKENDS

TITLE = "The scan against the kernel of mamba_ssm"
SECONDS = 60.0  # the build of the other kernel takes longer; the next call goes on with it
SETS = 4  # of inputs
KINDS = ("forward", "forward+backward")
TRANSPOSED = ("u", "delta", "B", "C", "z")  # [B,D,L] or [B,N,L] in the layout of mamba_ssm


def rows(settings: Settings) -> dict[str, Callable[[], Row]]:
    """The other kernel, and each shape."""
    shapes = small_shapes(settings) if settings.dry else SHAPES
    work: dict[str, Callable[[], Row]] = {"mamba_ssm": partial(other, settings)}
    return {**work, **{name: partial(measure, settings, shape) for name, shape in shapes.items()}}


def other(settings: Settings) -> Row:
    """Find or build the other kernel, and see whether it gives the same; or say why it is left out."""
    scan = found_peer(settings)
    if isinstance(scan, str):
        return {"left_out": scan}
    inputs = drawn((2, 4, 9, 2) if settings.dry else (2, 64, 129, 16), 1)
    ours, theirs = (work(settings, inputs)(KINDS[0])() for work in (ours_of, partial(theirs_of, scan=scan)))
    error = (ours.mT - theirs).abs().max() / ours.abs().max()
    return {"found": True, "differs_by": float(f"{error.item():.1e}")}


@cache
def found_peer(settings: Settings) -> Scan | str:
    """The other kernel, or the reason for which there is none. In a dry run our own counterpart has its place."""
    if settings.dry:
        from lobes.compat.mamba_ssm.scan import selective_scan_fn

        return lambda *tensors: selective_scan_fn(*tensors, delta_softplus=True)
    try:
        return peer(settings.peer, settings.out / "peer")
    except Exception as error:  # no sources, no nvcc, a build that fails
        return in_a_line(error)


def measure(settings: Settings, shape: Shape) -> Row:
    """The times at one shape."""
    scan = found_peer(settings)
    row: Row = {"shape": shape, "triton": of(settings, shape, ours_of)}
    if not isinstance(scan, str):
        row["mamba_ssm"] = of(settings, shape, partial(theirs_of, scan=scan))
        row["bridge"] = of(settings, shape, partial(ours_of, backend=bridge(scan, settings)))
    return row


def of(settings: Settings, shape: Shape, make: Callable[..., Callable[[str], Work]]) -> dict[str, Any]:
    """Both kinds of times of one implementation, and the most memory over its inputs in MB."""
    effort = DRY if settings.dry else FULL
    works = [make(settings, drawn(shape, seed)) for seed in range(1 if settings.dry else SETS)]
    found: dict[str, Any] = {kind: timed(settings, [work(kind) for work in works], effort) for kind in KINDS}
    if not settings.dry:
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        works[0](KINDS[1])()
        found["megabytes"] = round((torch.cuda.max_memory_allocated() - before) / 2**20, 1)
    return found


def timed(settings: Settings, works: list[Work], effort: Effort) -> dict[str, Any]:
    """The times of one kind of call."""
    return times(works, effort, settings.device)


def ours_of(settings: Settings, inputs: dict[str, Tensor], backend: str = "triton") -> Callable[[str], Work]:
    """Kind -> a call of our scan by a backend, with inputs as a layer has them."""
    tensors = [tensor.to(settings.device).requires_grad_() for tensor in inputs.values()]
    scan = partial(selective_scan, delta_softplus=True, backend=backend)
    return partial(call, scan, tensors, torch.randn_like(tensors[0]))


def theirs_of(settings: Settings, inputs: dict[str, Tensor], scan: Scan) -> Callable[[str], Work]:
    """The same of a scan in the layout of mamba_ssm."""
    turned = {name: tensor.mT.contiguous() if name in TRANSPOSED else tensor for name, tensor in inputs.items()}
    tensors = [turned[name].to(settings.device).requires_grad_() for name in NAMES]
    return partial(call, scan, tensors, torch.randn_like(tensors[0]))


def call(scan: Callable[..., Any], tensors: list[Tensor], gradient: Tensor, kind: str) -> Work:
    """One call of a kind."""
    if kind == KINDS[0]:
        return torch.no_grad()(lambda: scan(*tensors))
    return lambda: torch.autograd.grad(scan(*tensors), tensors, gradient)


def bridge(scan: Scan, settings: Settings) -> str:
    """The name of our backend through which a scan of mamba_ssm's layout runs; it is put there for this process."""
    if settings.dry:
        return "torch"

    class Built(BridgeBackend):
        """The kernel that was found or built. The usual small trial has lengths, which a narrowed one cannot take."""

        name = "mamba_ssm"

        def unavailable(self) -> None:
            """There is a kernel."""

        def load(self) -> Callable[..., Any]:
            def fn(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Any, z: Any, **more: Any) -> Any:
                return scan(u, delta, A, B, C, D, z, more["delta_bias"]), None

            return fn

    BACKENDS["mamba_ssm"] = Built()
    return "mamba_ssm"
