"""The plain numba kernels between tensors: the same functions as in `vector_engine`, on contiguous arrays."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lobes.kernels.threads import run, split, workers_for
from lobes.scan.cpu import plain_arrays
from lobes.scan.cpu import plain_kernels as kernels
from lobes.scan.cpu.plain_arrays import PlainGradients, PlainInputs, PlainOutputs
from lobes.scan.inputs import ScanInputs

KERNELS = (kernels.forward, kernels.backward)
SOURCES = (kernels, plain_arrays)  # what they are compiled from


class PlainScan:
    """A scan as the kernels see it; absent tensors become zeros, which change nothing.

    Arguments
    ---------
    x : ScanInputs
        In float32, on the CPU.
    """

    def __init__(self, x: ScanInputs) -> None:
        batch, steps, channels = x.u.shape
        nothing, first, lengths = x.u.new_zeros(channels), x.initial_state, x.lengths
        first = x.u.new_zeros(batch, channels, x.A.shape[1]) if first is None else first
        lengths = x.u.new_full((batch,), steps, dtype=torch.int64) if lengths is None else lengths
        self.like = x.u
        self.view = PlainInputs(
            u=_array(x.u),
            delta=_array(x.delta),
            z=_array(x.u if x.z is None else x.z),
            B=_array(x.B),
            C=_array(x.C),
            At=_array(x.A.t()),
            D=_array(nothing if x.D is None else x.D),
            bias=_array(nothing if x.delta_bias is None else x.delta_bias),
            first=_array(first.transpose(1, 2)),
            lengths=_array(lengths).astype("uint64"),
            reverse=x.reverse,
            softplus=x.delta_softplus,
            gated=x.z is not None,
        )
        self._share()

    def _share(self) -> None:
        """Cut the work: groups of channel blocks in each item, channels in a block, threads."""
        batch, steps, channels = self.view.u.shape
        threads = workers_for(batch * steps * channels * self.view.At.shape[0])
        self.groups, self.width, self.workers = 1, kernels.STRIDE, threads
        if batch < threads:
            each = -(-channels // -(-threads // max(batch, 1)))  # channels for a thread, items shared out evenly
            self.width = min(kernels.STRIDE, -(-each // kernels.LANES) * kernels.LANES)
            self.groups = -(-channels // self.width)
            self.workers = max(1, min(threads, batch * self.groups))
        self.shares = split(batch * self.groups, self.workers)


def forward(x: ScanInputs, save: bool, want_last: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return y [B, L, D], the last state [B, D, N] if wanted, and the states before every chunk if to be saved."""
    p = PlainScan(x)
    view = p.view
    batch, steps, channels = view.u.shape
    states = view.At.shape[0]
    y, last = p.like.new_empty(batch, steps, channels), p.like.new_empty(batch, states, channels)
    chunks = -(-steps // kernels.CHUNK)
    saved = p.like.new_empty(batch, chunks if save else 0, states, channels)
    out = PlainOutputs(y.numpy(), last.numpy(), saved.numpy())
    run(p.workers, p.shares, lambda a, b, *_: kernels.forward(a, b, p.groups, p.width, view, out))
    return y, last.transpose(1, 2).contiguous() if want_last else y.new_empty(0), saved if save else y.new_empty(0)


def backward(x: ScanInputs, saved: Tensor, gy: Tensor, glast: Tensor | None) -> tuple[Tensor, ...]:
    """Return the gradients of u, delta, A, B, C, D, z, delta_bias and the initial state."""
    p = PlainScan(x)
    view = p.view
    gu, gdelta = (p.like.new_empty(view.u.shape) for _ in range(2))
    gz = p.like.new_empty(view.u.shape) if view.gated else gu  # not written without a gate
    gB, gC = (p.like.new_empty(p.groups, *view.B.shape) for _ in range(2))
    gA, gD, gbias = (p.like.new_zeros(len(p.shares), *array.shape) for array in (view.At, view.D, view.bias))
    gfirst = p.like.new_empty(view.first.shape)
    glast = gy.new_zeros(gfirst.shape) if glast is None else glast.transpose(1, 2)
    tensors = (gy, glast, gu, gdelta, gz, gB, gC, gA, gD, gbias, gfirst)
    g, states = PlainGradients(*(_array(tensor) for tensor in tensors)), saved.numpy()
    run(
        p.workers,
        p.shares,
        lambda a, b, _, share: kernels.backward(a, b, p.groups, p.width, share, view, g, states),
    )
    sums = [tensor.sum(0) for tensor in (gA, gB, gC, gD, gbias)]
    gA, gB, gC, gD, gbias = sums
    return gu, gdelta, gA.t().contiguous(), gB, gC, gD, gz, gbias, gfirst.transpose(1, 2).contiguous()


def saved_like(x: ScanInputs) -> Tensor:
    """An empty tensor of the shape of the saved states."""
    chunks = (x.u.shape[1] + kernels.CHUNK - 1) // kernels.CHUNK
    return x.A.new_empty(x.u.shape[0], chunks, x.A.shape[1], x.u.shape[2])


def _array(tensor: Tensor) -> Any:
    return tensor.detach().contiguous().numpy()
