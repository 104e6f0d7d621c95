"""The vector kernels between tensors: blocked copies of the small ones, addresses of the large ones, scratch.

B batch, L steps, D channels, N state, K blocks of channels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lobes.scan import simd, vector_backward, vector_math
from lobes.scan import vector_kernels as kernels
from lobes.scan.inputs import ScanInputs, dense
from lobes.scan.simd import LANES
from lobes.scan.threads import run, workers_for

ALIGNMENT = 64
KERNELS = (kernels.forward, vector_backward.backward)
SOURCES = (simd, vector_math, kernels, vector_backward)  # what they are compiled from


class Problem:
    """A scan as the kernels see it, which also keeps alive what they have addresses of.

    Arguments
    ---------
    x : ScanInputs
        In float32, on the CPU.
    """

    def __init__(self, x: ScanInputs) -> None:
        self.like = x.u
        self.batch, self.steps, self.channels = x.u.shape
        self.odd = x.A.shape[1] % 2  # the kernels take states in pairs: an odd one gets a partner of zeros
        self.states = x.A.shape[1] + self.odd
        self.blocks, self.chunks = blocks_and_chunks(x)
        self.full = x.lengths is None
        self.rows = [
            *(dense(tensor) for tensor in (x.u, x.delta, x.u if x.z is None else x.z)),
            *(F.pad(tensor, (0, 1)) if self.odd else dense(tensor) for tensor in (x.B, x.C)),
        ]
        self.first = None if x.initial_state is None else self.block(x.initial_state)
        lengths = None if x.lengths is None else x.lengths.contiguous()
        self.rest = [self.block(x.A), *map(self._channels, (x.D, x.delta_bias)), lengths, self.first]
        sizes = (self.steps, self.channels, self.states, self.blocks, self.chunks)
        places = [*map(rows, self.rows), *map(address, self.rest)]
        self.view = kernels.Problem._make([*places, *sizes, x.reverse, x.delta_softplus, x.z is not None])
        self._share()

    def block(self, tensor: Tensor) -> Tensor:
        """[..., D, N] -> [..., K, N, LANES], with zeros in the channels that fill the last block."""
        filled, missing = tensor.detach(), self.blocks * LANES - self.channels
        filled = F.pad(filled, (0, self.odd, 0, missing)) if self.odd or missing else filled
        return filled.unflatten(-2, (self.blocks, LANES)).transpose(-1, -2).contiguous()

    def unblock(self, tensor: Tensor) -> Tensor:
        """[..., K, N, LANES] -> [..., D, N]."""
        return tensor.transpose(-1, -2).flatten(-3, -2)[..., : self.channels, :]

    def real(self, tensor: Tensor) -> Tensor:
        """[..., N], without an odd state's partner."""
        return tensor[..., : self.states - self.odd]

    def new(self, *shape: int, fill: float | None = None) -> Tensor:
        """A tensor [*shape, K, N, LANES]."""
        size = (*shape, self.blocks, self.states, LANES)
        return self.like.new_empty(size) if fill is None else self.like.new_full(size, fill)

    def new_rows(self, *shape: int) -> Tensor:
        """A tensor [B, L, ...] that a kernel fills up to the items' ends; zeros past them."""
        return self.like.new_empty(shape) if self.full else self.like.new_zeros(shape)

    def scratch(self, size: int) -> list[int]:
        """Aligned addresses of `size` bytes for each worker."""
        room = -(-size // ALIGNMENT) * ALIGNMENT
        self.memory = self.like.new_empty(self.workers * room + ALIGNMENT, dtype=torch.uint8)
        start = -(-self.memory.data_ptr() // ALIGNMENT) * ALIGNMENT
        return [start + worker * room for worker in range(self.workers)]

    def _channels(self, tensor: Tensor | None) -> Tensor | None:
        """[D] -> [K * LANES]."""
        if tensor is None or self.channels == self.blocks * LANES:
            return None if tensor is None else tensor.detach().contiguous()
        return F.pad(tensor.detach(), (0, self.blocks * LANES - self.channels))

    def _share(self) -> None:
        """Cut the work: groups of blocks in each item, threads."""
        threads = workers_for(self.batch * self.steps * self.channels * self.states)
        self.groups = min(self.blocks, -(-threads // max(self.batch, 1)))
        self.workers = max(1, min(threads, self.batch * self.groups))


def forward(problem: Problem, save: bool, want_last: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return y [B, L, D], the last state [B, D, N] if wanted, and the states before every chunk if to be saved."""
    p = problem
    y, last = p.new_rows(p.batch, p.steps, p.channels), p.new(p.batch) if want_last else None
    saved = p.new(p.batch, p.chunks, fill=None if p.full else 0.0) if save else None
    out = kernels.Result(rows(y), address(last), address(saved))
    scratch = p.scratch(kernels.forward_scratch(p.states, p.blocks))
    run(p.workers, p.batch * p.groups, lambda a, b, w: kernels.forward(a, b, p.groups, scratch[w], p.view, out))
    last = y.new_empty(0) if last is None else p.real(p.unblock(last)).contiguous()
    return y, last, y.new_empty(0) if saved is None else saved


def backward(problem: Problem, saved: Tensor, gy: Tensor, glast: Tensor | None) -> tuple[Tensor, ...]:
    """Return the gradients of u, delta, A, B, C, D, z, delta_bias and the initial state."""
    p = problem
    gy, glast = dense(gy), None if glast is None else p.block(glast)
    gu, gdelta = (p.new_rows(p.batch, p.steps, p.channels) for _ in range(2))
    gz = p.new_rows(p.batch, p.steps, p.channels) if p.view.gated else gu  # not written without a gate
    gB, gC = (p.new_rows(p.groups, p.batch, p.steps, p.states) for _ in range(2))
    sums = gy.new_zeros(2, p.workers, p.blocks, p.states + 2, LANES)
    gfirst = None if p.first is None else p.new(p.batch)
    known, rows_out = (rows(gy), address(glast), address(saved)), (rows(gu), rows(gdelta), rows(gz))
    places = map(address, (gB, gC, *sums, gfirst))
    g = vector_backward.Gradients._make([*known, *rows_out, *places])
    scratch = p.scratch(vector_backward.backward_scratch(p.states, p.blocks))
    run(
        p.workers,
        p.batch * p.groups,
        lambda a, b, w: vector_backward.backward(a, b, p.groups, w, p.batch, scratch[w], p.view, g),
    )
    gB, gC = (p.real(tensor[0] if p.groups == 1 else tensor.sum(0)) for tensor in (gB, gC))
    total = sums[0, 0] if p.workers == 1 else sums[0].sum(0)
    gA, gD, gbias = p.unblock(total).split([p.states, 1, 1], 1)  # [D, N + 2] side by side
    gfirst = gy.new_empty(0) if gfirst is None else p.real(p.unblock(gfirst))
    return gu, gdelta, p.real(gA), gB, gC, gD[:, 0].clone(), gz, gbias[:, 0].clone(), gfirst


def saved_like(x: ScanInputs) -> Tensor:
    """An empty tensor of the shape of the saved states."""
    blocks, chunks = blocks_and_chunks(x)
    return x.u.new_empty(x.u.shape[0], chunks, blocks, x.A.shape[1] + x.A.shape[1] % 2, LANES)


def blocks_and_chunks(x: ScanInputs) -> tuple[int, int]:
    """Blocks of channels, and chunks of steps."""
    return (x.u.shape[2] + LANES - 1) // LANES, (x.u.shape[1] + kernels.CHUNK - 1) // kernels.CHUNK


def address(tensor: Tensor | None) -> int:
    """Where a tensor begins; 0 for none."""
    return 0 if tensor is None else tensor.data_ptr()


def rows(tensor: Tensor) -> vector_math.Rows:
    """Where the rows of [B, L, ...] lie."""
    return vector_math.Rows(tensor.data_ptr(), 4 * tensor.stride(0), 4 * tensor.stride(1))
