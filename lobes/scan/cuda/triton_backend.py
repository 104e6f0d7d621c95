"""The scan in Triton kernels as a backend: CUDA tensors of any floating type but float64, no compiler to install.

The kernels compile at first use, for the device at hand. Under TRITON_INTERPRET=1, set before the first import,
they run on the CPU, step by step in Python: slow, and good for tests.
"""

from __future__ import annotations

import contextlib
import os
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from lobes.kernels.memory import dense
from lobes.scan.backend import Backend, Operate
from lobes.scan.inputs import Facts, ScanInputs

CHUNK = 16  # steps between saved states
WIDTH = 32  # channels of a program, one for each lane of a warp
AHEAD = 8  # steps whose rows the forward pass reads at once
REGISTERS = 64  # of a lane, for the states that the backward pass holds at once
ENOUGH_PROGRAMS = 1024  # with fewer, long sequences are cut into segments
SHORTEST_SEGMENT = 256


def interpreted() -> bool:
    """Whether Triton runs its kernels in Python, on any device."""
    return os.environ.get("TRITON_INTERPRET") == "1"


class TritonBackend(Backend):
    """The kernels of `triton_kernels` as a backend. It looks for Triton once."""

    def unavailable(self) -> str | None:
        """The reason for which this backend cannot run on this machine; None if it can."""
        return self._problem

    @cached_property
    def _problem(self) -> str | None:
        if not (torch.cuda.is_available() or interpreted()):
            return "there is no CUDA device"
        try:
            _kernels()
        except Exception as error:  # not installed, or not for this platform
            return f"triton cannot be imported ({type(error).__name__}: {error})"
        return None

    def refuses(self, x: Facts) -> str | None:
        """The reason for which this backend cannot take these inputs; None if it can."""
        if x.device != "cuda" and not interpreted():
            return f"triton runs on CUDA tensors, and u is on {x.device}"
        if x.dtype != torch.float32:
            return f"triton computes in float32, and u is {x.dtype}"
        return None

    def scan(self, x: ScanInputs, want_last: bool, operate: Operate) -> tuple[Tensor, Tensor]:
        """Return y [B, L, D] and, if wanted, the last state [B, D, N] of the scan over `x`."""
        return operate(x, want_last)

    def forward(self, x: ScanInputs, save: bool, want_last: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Return y, the last state and, if a backward pass may follow, the states before every chunk."""
        p = Launch(x)
        y, last = p.new_rows(x.u, *x.u.shape), p.states(p.batch)
        saved = self.saved_like(x) if save else x.u.new_empty(0)
        if p.lengths is not None:
            saved.zero_()  # past the ends nothing is written, and the same call must give the same bits
        first = p.entering(x.initial_state, x.u, x.B, back=False)
        outputs = (rows(y), last, saved if save else None)
        p.run("forward", p.pieces, *p.inputs, first, p.lengths, *outputs, CHUNK=CHUNK, T=AHEAD, **p.flags)
        return y, last if want_last else last.new_empty(0), saved

    def backward(self, x: ScanInputs, saved: Tensor, gy: Tensor, glast: Tensor | None) -> tuple[Tensor, ...]:
        """Return the gradients of u, delta, A, B, C, D, z, delta_bias and initial_state; of what is absent, nothing."""
        p = Launch(x)
        gu, gdelta, gz = (t if t is None else p.new_rows(t, *t.shape) for t in (x.u, x.delta, x.z))
        gB, gC = (p.new_rows(x.A, *p.parts) for _ in range(2))  # a sum over each block of channels
        gA, gfirst = p.states(p.pieces), p.states(p.batch)
        gD, gbias = (gA.new_empty(p.pieces, p.channels) for _ in range(2))
        entering = p.entering(glast, gy, x.C, back=True)
        maps = (rows(gB.flatten(0, 1)), rows(gC.flatten(0, 1)))
        outputs = (rows(gu), rows(gdelta), rows(gz), *maps, gA, gD, gbias, gfirst)
        held = max(1, min(CHUNK, REGISTERS // p.tile))
        known = (*p.inputs, p.lengths, saved, rows(gy), entering)
        p.run("backward", p.pieces, *known, *outputs, CHUNK=CHUNK, T=held, **p.flags)
        sums = (gB.sum(1).to(x.B.dtype), gC.sum(1).to(x.C.dtype))
        gradients = (gu, gdelta, gA.sum(0), *sums, gD.sum(0), gz, gbias.sum(0), gfirst)
        pairs = zip(x.differentiable(), gradients, strict=True)
        return tuple(gy.new_empty(0) if tensor is None or grad is None else grad for tensor, grad in pairs)

    def saved_like(self, x: ScanInputs) -> Tensor:
        """An empty tensor of the shape of what `forward` saves, [B, chunks, N, D]."""
        batch, steps, channels = x.u.shape
        return x.A.new_empty(batch, (steps + CHUNK - 1) // CHUNK, x.A.shape[1], channels)


class Launch:
    """A scan as the kernels see it: rows with their distances, sizes, tile, and how many programs there are.

    Arguments
    ---------
    x : ScanInputs
        Parameters in float32; rows (u, delta, B, C, z) in any type that Triton converts to it.
    """

    def __init__(self, x: ScanInputs) -> None:
        self.x = x
        self.batch, self.steps, self.channels = x.u.shape
        self.blocks = -(-self.channels // WIDTH)
        self.segment = segment_steps(self.batch * self.blocks, self.steps)
        self.segments = max(1, -(-self.steps // self.segment))
        self.pieces = self.batch * self.segments
        self.parts = (self.batch, self.blocks, self.steps, x.A.shape[1])
        self.sizes = (self.steps, self.channels, x.A.shape[1], self.segment, self.segments)
        parameters = (x.A, x.D, x.delta_bias, x.lengths)
        A, D, bias, self.lengths = (None if t is None else t.detach().contiguous() for t in parameters)
        u, delta, B, C, z = (rows(t) for t in (x.u, x.delta, x.B, x.C, x.z))
        self.inputs = (u, delta, A, B, C, D, z, bias)
        self.flags = {"REVERSE": x.reverse, "SOFTPLUS": x.delta_softplus}
        self.tile = 1 << (x.A.shape[1] - 1).bit_length()  # N, or the next power of two

    def new_rows(self, like: Tensor, *shape: int) -> Tensor:
        """A tensor [..., L, D or N] that a kernel fills up to the items' ends; zeros past them."""
        return like.new_empty(shape) if self.lengths is None else like.new_zeros(shape)

    def states(self, *shape: int) -> Tensor:
        """An empty tensor [*shape, D, N]."""
        return self.x.A.new_empty(*shape, *self.x.A.shape)

    def entering(self, state: Tensor | None, values: Tensor, maps: Tensor, back: bool) -> Tensor | None:
        """The state before each piece, [B, segments, D, N], if `state` [B, D, N] enters the first (back: the last)."""
        state = None if state is None else state.detach().contiguous()
        if self.segments == 1:
            return state
        _, delta, A, _, _, _, z, bias = self.inputs
        total, ends = self.x.A.new_empty(self.pieces, self.channels), self.states(self.batch, self.segments)
        gate = z if back else None
        self.run(
            "summarize", self.pieces, rows(values), delta, A, rows(maps), gate, bias, self.lengths, total, ends,
            BACK=back, **self.flags,
        )  # fmt: skip
        self.run("join", self.batch, A, state, total, ends, BACK=back)
        return ends

    def run(self, kernel: str, pieces: int, *arguments: Any, **options: Any) -> None:
        """Launch a kernel with a program for each block of channels of each piece."""
        if pieces == 0:
            return
        grid = (pieces * self.blocks,)
        on_device = torch.cuda.device(self.x.u.device) if self.x.u.is_cuda else contextlib.nullcontext()
        with on_device:
            getattr(_kernels(), kernel)[grid](*arguments, self.sizes, **options, N=self.tile, W=WIDTH, num_warps=1)


def segment_steps(programs: int, steps: int) -> int:
    """The number of steps that a program walks: all, unless so few programs would leave most of the device idle."""
    wanted = -(-ENOUGH_PROGRAMS // max(programs, 1))
    length = max(SHORTEST_SEGMENT, -(-steps // wanted))
    return -(-length // CHUNK) * CHUNK


def rows(tensor: Tensor | None) -> tuple[Tensor, int, int] | None:
    """A tensor [B, L, D or N] and its distances, in elements, from item to item and from step to step."""
    if tensor is None:
        return None
    tensor = dense(tensor)
    return tensor, tensor.stride(0), tensor.stride(1)


def _kernels() -> Any:
    from lobes.scan.cuda import triton_kernels

    return triton_kernels
