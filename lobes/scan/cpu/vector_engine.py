"""The vector kernels between tensors: blocked copies of the small ones, addresses of the large ones, scratch.

B batch, L steps, D channels, N state, K blocks of channels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lobes.kernels import memory, simd, simd_math
from lobes.kernels.memory import address, dense, rows
from lobes.kernels.simd import LANES
from lobes.kernels.threads import run, split, workers_for
from lobes.scan.cpu import vector_backward
from lobes.scan.cpu import vector_forward as kernels
from lobes.scan.inputs import ScanInputs

ALIGNMENT = 64
KERNELS = (kernels.forward, vector_backward.backward, vector_backward.add_shares)
SOURCES = (memory, simd, simd_math, kernels, vector_backward)  # what they are compiled from


class VectorScan:
    """A scan as the kernels see it, which also keeps alive the tensors that they have addresses of.

    Arguments
    ---------
    x : ScanInputs
        On the CPU, in float32; u, delta and z may all be bfloat16.
    """

    def __init__(self, x: ScanInputs) -> None:
        self.like = x.A
        self.batch, self.steps, self.channels = x.u.shape
        self.odd = x.A.shape[1] % 2  # the kernels take states in pairs: an odd one gets a partner of zeros
        self.states = x.A.shape[1] + self.odd
        self.blocks, self.chunks = blocks_and_chunks(x)
        self.full = x.lengths is None
        self.rows = [
            *(dense(tensor) for tensor in (x.u, x.delta, x.u if x.z is None else x.z)),
            *(F.pad(tensor, (0, 1)) if self.odd else dense(tensor) for tensor in (x.B.float(), x.C.float())),
        ]
        self.first = None if x.initial_state is None else self.block(x.initial_state)
        weight = None if x.delta_weight is None else x.delta_weight.t()
        small = (x.A, x.D, x.delta_bias, x.lengths, self.first, weight)
        self.rest = [None if tensor is None else tensor.contiguous() for tensor in small]
        rank = 0 if weight is None else len(weight)
        sizes = (rank, self.steps, self.channels, self.states, self.odd, self.blocks, self.chunks)
        places = [*map(rows, self.rows), *map(address, self.rest)]
        self.view = kernels.ScanAddresses._make([*places, *sizes, x.reverse, x.delta_softplus, x.z is not None])
        self._share()

    def block(self, tensor: Tensor) -> Tensor:
        """[..., D, N] -> [..., K, N, LANES], with zeros in the channels that fill the last block."""
        missing = self.blocks * LANES - self.channels
        filled = F.pad(tensor, (0, self.odd, 0, missing)) if self.odd or missing else tensor
        return filled.unflatten(-2, (self.blocks, LANES)).transpose(-1, -2).contiguous()

    def unblock(self, tensor: Tensor) -> Tensor:
        """[..., K, N, LANES] -> [..., D, N]."""
        return tensor.transpose(-1, -2).flatten(-3, -2)[..., : self.channels, :]

    def real(self, tensor: Tensor) -> Tensor:
        """[..., N], without an odd state's partner."""
        return tensor[..., :-1].contiguous() if self.odd else tensor

    def new(self, *shape: int) -> Tensor:
        """A tensor [*shape, K, N, LANES]."""
        return self.like.new_empty(*shape, self.blocks, self.states, LANES)

    def new_rows(self) -> Tensor:
        """A tensor [B, L, D] of u's type that a kernel fills up to the items' ends; zeros past them."""
        return self.to_fill(self.rows[0], self.batch, self.steps, self.channels)

    def to_fill(self, like: Tensor, *shape: int) -> Tensor:
        """A tensor [..., L, ...] that a kernel fills in the same way."""
        return like.new_empty(shape) if self.full else like.new_zeros(shape)

    def scratch(self, size: int) -> list[int]:
        """Aligned addresses of `size` bytes for each worker."""
        room = -(-size // ALIGNMENT) * ALIGNMENT
        self.memory = self.like.new_empty(self.workers * room + ALIGNMENT, dtype=torch.uint8)
        start = -(-self.memory.data_ptr() // ALIGNMENT) * ALIGNMENT
        return [start + worker * room for worker in range(self.workers)]

    def _share(self) -> None:
        """Cut the work: groups of blocks in each item, threads."""
        threads = workers_for(self.batch * self.steps * self.channels * self.states)
        self.groups = min(self.blocks, -(-threads // max(self.batch, 1)))
        self.workers = max(1, min(threads, self.batch * self.groups))
        self.shares = split(self.batch * self.groups, self.workers)


def forward(x: ScanInputs, save: bool, want_last: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return y [B, L, D], the last state [B, D, N] if wanted, and the states before every chunk if to be saved."""
    p = VectorScan(x)
    y, last = p.new_rows(), p.new(p.batch) if want_last else None
    saved = p.new(p.batch, p.chunks) if save else None
    if saved is not None and not p.full:
        saved.zero_()  # short items leave their last chunks alone
    out = kernels.OutputAddresses(rows(y), address(last), address(saved))
    scratch = p.scratch(kernels.forward_scratch(p.states, p.blocks))
    run(p.workers, p.shares, lambda a, b, w, _: kernels.forward(a, b, p.groups, scratch[w], p.view, out))
    last = p.like.new_empty(0) if last is None else p.real(p.unblock(last)).contiguous()
    return y, last, p.like.new_empty(0) if saved is None else saved


def backward(x: ScanInputs, saved: Tensor, gy: Tensor, glast: Tensor | None) -> tuple[Tensor, ...]:
    """Return the gradients of u, delta, A, B, C, D, z, delta_bias and the initial state. `gy` is of u's type."""
    p = VectorScan(x)
    gy, glast = dense(gy), None if glast is None else p.block(glast)
    gu, gdelta = p.new_rows(), p.new_rows()
    gz = p.new_rows() if p.view.gated else gu  # not written without a gate
    gB, gC = (p.to_fill(p.like, p.groups, p.batch, p.steps, p.states) for _ in range(2))
    sums = p.like.new_empty(len(p.shares), p.blocks, p.states + 2, LANES)
    gA, gD, gbias = (p.like.new_empty(p.channels, *more) for more in ([p.states - p.odd], [], []))
    gfirst = None if p.first is None else p.new(p.batch)
    known, rows_out = (rows(gy), address(glast), address(saved)), (rows(gu), rows(gdelta), rows(gz))
    g = vector_backward.GradientAddresses._make([*known, *rows_out, *map(address, (gB, gC, sums, gfirst))])
    scratch = p.scratch(vector_backward.backward_scratch(p.states, p.blocks))
    run(
        p.workers,
        p.shares,
        lambda a, b, w, i: vector_backward.backward(a, b, p.groups, i, p.batch, scratch[w], p.view, g),
    )
    vector_backward.add_shares(p.view, address(sums), len(p.shares), *map(address, (gA, gD, gbias)))
    gB, gC = (p.real(tensor[0] if p.groups == 1 else tensor.sum(0)) for tensor in (gB, gC))
    gfirst = p.like.new_empty(0) if gfirst is None else p.real(p.unblock(gfirst)).contiguous()
    return gu, gdelta, gA, gB, gC, gD, gz, gbias, gfirst


def saved_like(x: ScanInputs) -> Tensor:
    """An empty tensor of the shape of the saved states."""
    blocks, chunks = blocks_and_chunks(x)
    return x.A.new_empty(x.u.shape[0], chunks, blocks, x.A.shape[1] + x.A.shape[1] % 2, LANES)


def blocks_and_chunks(x: ScanInputs) -> tuple[int, int]:
    """Blocks of channels, and chunks of steps."""
    return (x.u.shape[2] + LANES - 1) // LANES, (x.u.shape[1] + kernels.CHUNK - 1) // kernels.CHUNK
