"""The calls of the Triton kernels: which arguments each gets, and the tensors that it fills.

A call costs the host as much as a small scan costs the device, so what can be known beforehand is in the plan, and
nothing is allocated that no kernel fills. B batch, L steps, D channels, N state.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lobes.kernels.memory import dense
from lobes.scan.cuda.plan import ADDED, JOINED, SUMMARY_LOOK, TILE, plan
from lobes.scan.inputs import ScanInputs

ALIGNED = 16  # bytes, and elements between steps, from which the kernels read four numbers at once
LONGEST_STEP = 1 << 27  # elements: the kernels count 16 steps from a row in 32 bits


class Launch:
    """The kernels of one scan of at most MOST_STATES states.

    Arguments
    ---------
    x : ScanInputs
        Parameters in float32; rows (u, delta, B, C, z) in any type that Triton converts to it.
    chunk : int
        Steps between saved states.
    """

    def __init__(self, x: ScanInputs, chunk: int) -> None:
        batch, steps, channels = x.u.shape
        self.plan = plan(batch, steps, channels, x.A.shape[1])
        self.x, self.chunk = x, chunk
        self.A, self.bias, self.lengths = x.A.contiguous(), contiguous(x.delta_bias), x.lengths
        self.rows = (*row(x.u), *row(x.delta), *row(x.z))
        self.maps = maps_of(x)
        self.sizes = (steps, channels, self.plan.segment, self.plan.segments)
        self.known = (*self.rows, *self.maps, self.A, contiguous(x.D), self.bias, self.lengths, *self.sizes)
        self.flags = {"REVERSE": x.reverse, "SOFTPLUS": x.delta_softplus, **self.plan.constants}

    def forward(self, y: Tensor, last: Tensor | None, saved: Tensor | None) -> None:
        """Fill y [B, L, D], the last state [B, D, N] and the states that the backward pass wants."""
        first = self._entering(self.x.initial_state, self.x.u, self.maps[0], back=False)
        tuning = self.plan.tuning
        options: dict[str, Any] = {"CHUNK": self.chunk, "T": min(tuning.turn, self.chunk), "LOOK": tuning.look}
        if tuning.registers:
            options["maxnreg"] = tuning.registers
        self._run("forward", self.plan.pieces, *self.known, first, y, last, saved, **self.flags, **options)

    def backward(self, saved: Tensor, gy: Tensor, glast: Tensor | None, outputs: tuple[Any, ...]) -> None:
        """Fill the gradients gu, gdelta, gz, gmaps (and the size of its half), gA, gD, gbias and gfirst."""
        entering = self._entering(glast, gy, self.maps[1], back=True)
        arguments = (*self.known, saved, *row(gy), entering, *outputs)
        options = {"CHUNK": self.chunk, "T": min(self.plan.tuning.turn_back, self.chunk)}
        self._run("backward", self.plan.pieces, *arguments, **self.flags, **options)

    def add_up(self, maps: Tensor, parts: tuple[Tensor | None, ...], outputs: tuple[Tensor | None, ...]) -> None:
        """Fill the gradients gC, gB [B, L, N], gA, gD and gbias with the sums of what `backward` has left."""
        p, (_, items, blocks, steps, tile) = self.plan, maps.shape
        channels, states = self.A.shape
        of_maps, of_A, of_vector = (-(-size // TILE) for size in (steps * tile, channels * states, channels))
        arguments = (maps, maps.stride(0), *parts, items, steps, channels, p.pieces, blocks, *outputs)
        options = {"STATES": states, "N": tile, "ROWS": ADDED, "T": TILE}
        self._start("add_up", 2 * items * of_maps + of_A + 2 * of_vector, *arguments, **options)

    def _entering(self, state: Tensor | None, values: Tensor, maps: Tensor, back: bool) -> Tensor | None:
        """The state before each piece, [B, segments, D, N], if `state` [B, D, N] enters the first (back: the last)."""
        p, state = self.plan, contiguous(state)
        if p.segments == 1:
            return state
        channels = self.sizes[1]
        total, ends = self.A.new_empty(p.pieces, channels), self.A.new_empty(p.pieces, *self.A.shape)
        rows = (*row(values), *self.rows[3:6], *(self.rows[6:] if back else (None, 0, 0)))
        arguments = (*rows, maps, *self.maps[2:], self.A, self.bias, self.lengths, *self.sizes, total, ends)
        self._run("summarize", p.pieces, *arguments, **self.flags, BACK=back, LOOK=SUMMARY_LOOK)
        sizes = {name: p.constants[name] for name in ("STATES", "N", "W", "num_warps")}
        items = p.pieces // p.segments
        self._run("join", items, self.A, channels, p.segments, state, total, ends, **sizes, BACK=back, T=JOINED)
        return ends

    def _run(self, kernel: str, pieces: int, *arguments: Any, **options: Any) -> None:
        """Launch a kernel with a program for each block of channels of each piece."""
        if pieces:
            self._start(kernel, pieces * self.plan.blocks, *arguments, **options)

    def _start(self, kernel: str, programs: int, *arguments: Any, **options: Any) -> None:
        launch, device = kernels()[kernel][(programs,)], self.A.device
        if device.type == "cuda" and device.index != torch.cuda.current_device():
            with torch.cuda.device(device):
                launch(*arguments, **options)
        else:
            launch(*arguments, **options)


def contiguous(tensor: Tensor | None) -> Tensor | None:
    """The tensor in one piece, if there is one."""
    return None if tensor is None else tensor.contiguous()


def row(tensor: Tensor | None) -> tuple[Tensor | None, int, int]:
    """A tensor [B, L, D] and its distances, in elements, from item to item and from step to step."""
    if tensor is None:
        return None, 0, 0
    tensor = dense(tensor)
    item, step, _ = tensor.stride()
    return (tensor, item, step) if abs(step) < LONGEST_STEP else row(tensor.contiguous())


def maps_of(x: ScanInputs) -> tuple[Tensor, Tensor, int, int]:
    """B and C in float32 and their common distances, multiples of 16: themselves, or the halves of one copy of both."""
    B, C = x.B, x.C
    item, step, _ = B.stride()
    alike = B.dtype == C.dtype == torch.float32 and B.stride() == C.stride() and B.stride(2) == 1
    if alike and item % ALIGNED == step % ALIGNED == 0 and abs(step) < LONGEST_STEP:
        if B.data_ptr() % ALIGNED == C.data_ptr() % ALIGNED == 0:
            return B, C, item, step
    both = torch.cat((B.float(), C.float()), dim=2)  # [B, L, 2 N]
    B, C = both.chunk(2, dim=2)
    return B, C, both.stride(0), both.stride(1)


_KERNELS: dict[str, Any] = {}


def kernels() -> dict[str, Any]:
    """The kernels by name; Triton is imported at the first call."""
    if not _KERNELS:
        from lobes.scan.cuda.triton_backward import backward
        from lobes.scan.cuda.triton_forward import forward
        from lobes.scan.cuda.triton_segments import join, summarize
        from lobes.scan.cuda.triton_totals import add_up

        _KERNELS.update(forward=forward, backward=backward, summarize=summarize, join=join, add_up=add_up)
    return _KERNELS
