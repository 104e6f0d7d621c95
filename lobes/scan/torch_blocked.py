"""The scan in plain torch operations, block by block: bounded memory, any device and dtype, no compiler.

The states of a whole sequence would need N times the input's memory. Here only the state before each block of
`BLOCK` steps is stored; the backward pass recomputes a block's states before it walks back through it. Inside
a block everything but the recurrence itself is done for all steps at once. Channels are the innermost axis,
[T, B, N, D], so that torch vectorises over them. Sums are written as products and sums, not as matrix products:
that is as fast here, and neither autocast nor TF32 can lower their precision.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from lobes.scan.backend import Backend, Operate
from lobes.scan.inputs import ScanInputs
from lobes.scan.reference import finish, first_state, prepare

BLOCK = 16  # steps between stored states
WORKING_SET = {"cpu": 2**18}  # elements of one [T, B, N, D] buffer; on a CPU it should stay in the cache
WORKING_SET_ELSEWHERE = 2**26


class TorchBackend(Backend):
    """The scan in blocks of steps as a backend: it runs everywhere and takes everything."""

    def scan(self, x: ScanInputs, want_last: bool, operate: Operate) -> tuple[Tensor, Tensor | None]:
        """Return y [B, L, D] and, if wanted, the last state [B, D, N] of the scan over `x`.

        Only the recurrence runs inside the operator. Step sizes, skip, gate and padding are done outside of it.
        """
        prepared, dt = prepare(x)
        bare = prepared._replace(delta=dt, D=None, z=None, delta_bias=None, delta_softplus=False, lengths=None)
        y, last_state = operate(bare, want_last)
        return finish(y, prepared), last_state

    def forward(self, x: ScanInputs, save: bool, want_last: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Return y[t] = <C[t], h[t]>, the last state, and the states before each block.

        h[t] = exp(dt[t] A) h[t-1] + dt[t] u[t] B[t], where dt is `delta`; skip, gate and lengths are left to `scan`.
        """
        h0, At = first_state(x), x.A.t().contiguous()
        y, last = x.u.new_empty(x.u.shape), h0.new_empty(h0.shape)
        blocks = _blocks(x.u.shape[1], x.reverse)
        saved = self.saved_like(x) if save else x.u.new_empty(0)  # [blocks, B, N, D]
        for items in _slices(h0.shape, h0.device.type):
            h = h0[items].transpose(1, 2).contiguous()  # [B, N, D]
            for k, block in enumerate(blocks):
                if save:
                    saved[k, items] = h
                piece = _piece(x, At, items, block)
                states = piece.states(h, piece.decay())
                h = states[piece.order[-1]]
                y[items, block[0]] = (piece.C.unsqueeze(-1) * states).sum(2).transpose(0, 1)  # [B, T, D]
            last[items] = h.transpose(1, 2)
        return y, last if want_last else last.new_empty(0), saved

    def backward(self, x: ScanInputs, saved: Tensor, gy: Tensor, glast: Tensor | None) -> tuple[Tensor, ...]:
        """Return the gradients of u, delta, A, B, C and the initial state in the places of all nine."""
        glast = x.A.new_zeros(x.u.shape[0], *x.A.shape) if glast is None else glast
        At = x.A.t().contiguous()
        gdt, gu, gB, gC = (tensor.new_empty(tensor.shape) for tensor in (x.delta, x.u, x.B, x.C))
        gA, gh0 = torch.zeros_like(At), glast.new_empty(glast.shape)
        for items in _slices(glast.shape, glast.device.type):
            gh = glast[items].transpose(1, 2).contiguous()  # [B, N, D], gradient of the state leaving a block
            for k, block in reversed(list(enumerate(_blocks(x.u.shape[1], x.reverse)))):
                dy = gy[items, block[0]].transpose(0, 1).unsqueeze(2)  # [T, B, 1, D]
                u = x.u[items, block[0]].transpose(0, 1)
                gh, grads = _piece_backward(_piece(x, At, items, block), saved[k, items], dy, gh, u)
                for full, part in zip((gdt, gu, gB, gC), grads, strict=False):
                    full[items, block[0]] = part.transpose(0, 1)
                gA += grads[-1]
            gh0[items] = gh.transpose(1, 2)
        absent = [gy.new_empty(0) for _ in range(3)]
        first = gy.new_empty(0) if x.initial_state is None else gh0
        return gu, gdt, gA.t().contiguous(), gB, gC, *absent, first

    def saved_like(self, x: ScanInputs) -> Tensor:
        """An empty tensor of the shape of the saved states, [blocks, B, N, D]."""
        batch, steps, channels = x.u.shape
        return x.u.new_empty((steps + BLOCK - 1) // BLOCK, batch, x.A.shape[1], channels)


class _Piece(NamedTuple):
    """One block of steps of some items, time first so that a step is a contiguous slice of a buffer."""

    dt: Tensor  # [T, B, 1, D]
    du: Tensor  # [T, B, 1, D]
    At: Tensor  # [N, D]
    B: Tensor  # [T, B, N]
    C: Tensor  # [T, B, N]
    order: range  # the steps in the direction of the scan

    def decay(self) -> Tensor:
        """a = exp(dt A), [T, B, N, D]."""
        return (self.dt * self.At).exp_()

    def states(self, h: Tensor, a: Tensor) -> Tensor:
        """All states of the block after `h`, [T, B, N, D]."""
        states = self.du * self.B.unsqueeze(-1)
        for t in self.order:
            h = torch.addcmul(states[t], a[t], h, out=states[t])
        return states


def _piece_backward(piece: _Piece, h: Tensor, dy: Tensor, gh: Tensor, u: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Gradients of one block: of the state that enters it, and (dt, u, B, C, A^T)."""
    a = piece.decay()
    states = piece.states(h, a)
    gC = (states * dy).sum(-1)  # [T, B, N]
    g = piece.C.unsqueeze(-1) * dy  # [T, B, N, D], becomes the gradient of each state
    for t in reversed(piece.order):
        g[t] += gh
        gh = torch.mul(a[t], g[t], out=a[t])
    gh = gh.clone()  # a is reused below
    gB = (g * piece.du).sum(-1)  # [T, B, N]
    gdu = (piece.B.unsqueeze(-1) * g).sum(2)  # [T, B, D]
    for t, before in zip(piece.order, [None, *piece.order], strict=False):
        a[t] *= h if before is None else states[before]  # gradient of dt A
    gA = (a * piece.dt).sum((0, 1))
    gdt = (a * piece.At).sum(2).addcmul_(gdu, u)  # [T, B, D]
    return gh, (gdt, gdu * piece.dt.squeeze(2), gB, gC, gA)


def _blocks(steps: int, reverse: bool) -> list[tuple[slice, range]]:
    """The place of each block and the order of the steps inside it, in the direction of the scan."""
    blocks = []
    for start in range(0, steps, BLOCK):
        size = min(BLOCK, steps - start)
        order = range(size - 1, -1, -1) if reverse else range(size)
        blocks.append((slice(start, start + size), order))
    return blocks[::-1] if reverse else blocks


def _slices(state: torch.Size, device: str) -> Iterator[slice]:
    """Cut the batch so that a block's buffers stay small. `state` is [B, D, N]."""
    batch, channels, n = state
    limit = WORKING_SET.get(device, WORKING_SET_ELSEWHERE)
    rows = max(1, limit // (BLOCK * channels * n))
    for start in range(0, batch, rows):
        yield slice(start, start + rows)


def _piece(x: ScanInputs, At: Tensor, items: slice, block: tuple[slice, range]) -> _Piece:
    steps, order = block
    dt, u, B, C = (tensor[items, steps].transpose(0, 1) for tensor in (x.delta, x.u, x.B, x.C))  # [T, B, D or N]
    return _Piece(dt.unsqueeze(2), (dt * u).unsqueeze(2), At, B, C, order)
