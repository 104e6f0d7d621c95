"""The numba kernels as a backend: tensors in and out, threads, first compilation.

float32 on the CPU only; float64 inputs go to the `torch` backend. Threads are Python's own (the kernels
release the GIL), as many as `torch.get_num_threads()`. numba's thread layers are not used: their OpenMP layer
kills a process that was forked after its parent had scanned (a DataLoader worker), and the others do not
allow calls from several threads.
"""

from __future__ import annotations

import importlib
import logging
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from lobes.scan.inputs import ScanInputs
from lobes.scan.numba_arrays import Gradients, Problem, Result

logger = logging.getLogger(__name__)

SMALL = 2**19  # state updates (B L D N) below which one thread is faster


def unavailable() -> str | None:
    """Why this backend cannot run here; None when it can."""
    return _probe()


@cache
def _probe() -> str | None:
    try:
        _kernels()
    except Exception as error:  # a broken numba raises more than ImportError
        return f"numba cannot be imported ({type(error).__name__}: {error})"
    return None


def refuses(x: ScanInputs, want_last_state: bool) -> str | None:
    """Why this backend cannot take these inputs; None when it can."""
    if x.u.device.type != "cpu":
        return f"numba runs on CPU tensors, and u is on {x.u.device}"
    if x.u.dtype != torch.float32:
        return f"numba computes in float32, and u is {x.u.dtype}"
    return None


def scan(x: ScanInputs, want_last_state: bool) -> tuple[Tensor, Tensor | None]:
    """Return y [B, L, D] and the last state [B, D, N] of the scan over `x`."""
    flags = (x.reverse, x.delta_softplus)
    return _NumbaScan.apply(
        x.u, x.delta, x.A, x.B, x.C, x.D, x.z, x.delta_bias, x.initial_state, x.lengths, flags, x.needs_grad()
    )


class _NumbaScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *args: Any) -> tuple[Tensor, Tensor]:
        *tensors, flags, save = args
        u, A = tensors[0], tensors[2]
        kernels = _kernels()
        chunks = -(-u.shape[1] // kernels.CHUNK) if save else 0
        y = torch.empty_like(u, memory_format=torch.contiguous_format)
        last = u.new_empty(u.shape[0], A.shape[1], A.shape[0])  # [B, N, D]
        saved = u.new_empty(u.shape[0], chunks, A.shape[1], A.shape[0])  # [B, chunks, N, D]
        problem = _problem(tensors, *flags)
        result = Result(y.numpy(), last.numpy(), saved.numpy())
        groups, width, workers = _share(u.shape, A.shape[1])
        _run(
            workers,
            u.shape[0] * groups,
            lambda a, b, _: kernels.forward(a, b, groups, width, problem, result),
        )
        ctx.save_for_backward(*tensors, saved)
        ctx.flags = flags
        return y, last.transpose(1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gy: Tensor, glast: Tensor) -> tuple[Tensor | None, ...]:
        *tensors, saved = ctx.saved_tensors
        u, _, A, B, C, D, z, bias, first, _ = tensors
        kernels = _kernels()
        groups, width, workers = _share(u.shape, A.shape[1])
        gu, gdelta = (u.new_empty(u.shape) for _ in range(2))
        gz = gu if z is None else u.new_empty(u.shape)  # not written without a gate
        gB, gC = (u.new_empty(groups, *B.shape) for _ in range(2))
        gA, gD, gbias = (u.new_zeros(workers, *shape) for shape in (A.shape[::-1], A.shape[:1], A.shape[:1]))
        gfirst = u.new_empty(u.shape[0], A.shape[1], A.shape[0])  # [B, N, D]
        incoming = (gy, glast.transpose(1, 2))
        filled = (gu, gdelta, gz, gB, gC, gA, gD, gbias, gfirst)
        problem = _problem(tensors, *ctx.flags)
        gradients = Gradients(*(_array(tensor) for tensor in (*incoming, *filled)))
        states = saved.numpy()
        _run(
            workers,
            u.shape[0] * groups,
            lambda a, b, worker: kernels.backward(a, b, groups, width, worker, problem, gradients, states),
        )
        return (
            gu,
            gdelta,
            gA.sum(0).t(),
            gB.sum(0),
            gC.sum(0),
            None if D is None else gD.sum(0),
            None if z is None else gz,
            None if bias is None else gbias.sum(0),
            None if first is None else gfirst.transpose(1, 2),
            *(None,) * 3,
        )


def _array(tensor: Tensor) -> Any:
    return tensor.detach().contiguous().numpy()


def _problem(tensors: list[Tensor | None], reverse: bool, softplus: bool) -> Problem:
    """The kernels' view of the inputs: what is absent becomes zeros, which changes nothing."""
    u, delta, A, B, C, D, z, bias, first, lengths = tensors
    assert u is not None and delta is not None and A is not None and B is not None and C is not None
    batch, steps, channels = u.shape
    nothing = u.new_zeros(channels)
    if first is None:
        first = u.new_zeros(batch, channels, A.shape[1])
    if lengths is None:
        lengths = u.new_full((batch,), steps, dtype=torch.int64)
    return Problem(
        u=_array(u),
        delta=_array(delta),
        z=_array(u if z is None else z),
        B=_array(B),
        C=_array(C),
        At=_array(A.t()),
        D=_array(nothing if D is None else D),
        bias=_array(nothing if bias is None else bias),
        first=_array(first.transpose(1, 2)),
        lengths=_array(lengths).astype("uint64"),
        reverse=reverse,
        softplus=softplus,
        gated=z is not None,
    )


def _share(shape: torch.Size, states: int) -> tuple[int, int, int]:
    """How the work is cut: groups of channel blocks in each item, channels in a block, threads."""
    batch, steps, channels = shape
    kernels = _kernels()
    threads = 1 if shape.numel() * states < SMALL else torch.get_num_threads()
    if batch >= threads:
        return 1, kernels.STRIDE, threads
    lanes = kernels.LANES
    each = -(-channels // -(-threads // max(batch, 1)))  # channels for a thread when items are shared out evenly
    width = min(kernels.STRIDE, -(-each // lanes) * lanes)
    groups = -(-channels // width)
    return groups, width, max(1, min(threads, batch * groups))


def _run(workers: int, jobs: int, kernel: Callable[[int, int, int], None]) -> None:
    """Call kernel(start, stop, worker) over contiguous shares of the jobs; the calling thread takes the first share."""
    bounds = [jobs * worker // workers for worker in range(workers + 1)]
    shares = list(zip(bounds[:-1], bounds[1:], range(workers), strict=True))
    if workers > 1:
        pending = [_pool(os.getpid()).submit(kernel, *share) for share in shares[1:]]
    kernel(*shares[0])
    if workers > 1:
        for future in pending:
            future.result()


@cache
def _pool(process: int) -> ThreadPoolExecutor:
    """The threads of this process. A forked child does not inherit them; by its own id it gets new ones."""
    return ThreadPoolExecutor(max_workers=os.cpu_count(), thread_name_prefix="lobes-scan")


@cache
def _kernels() -> ModuleType:
    """Import the kernels at first use, with numba's cache on disk where there is a writable place for it."""
    kernels = importlib.import_module("lobes.scan.numba_kernels")
    event = importlib.import_module("numba.core.event")
    try:
        for kernel in (kernels.forward, kernels.backward):
            kernel.enable_caching()
    except RuntimeError as error:
        logger.warning(
            "The compiled CPU scan cannot be kept (%s): every process will compile it anew. "
            "Set NUMBA_CACHE_DIR to a writable folder.",
            error,
        )
    event.register("numba:compile", _announcer(event, kernels))
    return kernels


def _announcer(event: Any, kernels: ModuleType) -> Any:
    """A listener that says when a kernel is really compiled, not loaded from the cache."""

    class Announcer(event.Listener):
        started = 0.0

        def on_start(self, what: Any) -> None:
            dispatcher = what.data["dispatcher"]
            if dispatcher in (kernels.forward, kernels.backward):
                self.started = time.perf_counter()
                logger.warning(
                    "Compiling the CPU scan (%s) for this machine: once, about 6 s; kept in %s",
                    dispatcher.__name__,
                    dispatcher.stats.cache_path or "memory only",
                )

        def on_end(self, what: Any) -> None:
            if what.data["dispatcher"] in (kernels.forward, kernels.backward):
                logger.info("Compiled in %.1f s", time.perf_counter() - self.started)

    return Announcer()
