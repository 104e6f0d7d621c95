"""The two passes of the Triton backend: tensors for what the kernels fill, and the sums of their parts.

No tensor that is returned shares memory with another, as the operator demands. B batch, L steps, D channels, N state.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lobes.scan.cuda.launch import Launch
from lobes.scan.cuda.plan import chunk_steps, groups_of, saved_shape
from lobes.scan.inputs import ScanInputs, cast_rows


def forward(x: ScanInputs, save: bool, want_last: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return y, the last state and, if a backward pass may follow, the states before every chunk.

    y is linear in the states, also through the gate: groups of states give parts of y that are added up.
    """
    (batch, steps, channels), states = x.u.shape, x.A.shape[1]
    chunk, groups = chunk_steps(states), groups_of(states)
    saved = _to_fill(x, x.A, *saved_shape(x.u.shape, states)) if save else x.A.new_empty(0)
    if len(groups) == 1:
        y = _to_fill(x, x.u, batch, steps, channels)
        last = x.A.new_empty(batch, channels, states) if want_last else x.A.new_empty(0)
        Launch(x, chunk).forward(y, last if want_last else None, saved if save else None)
        return y, last, saved
    parts = _groups(x, groups)
    ys = [_to_fill(x, part.u, batch, steps, channels) for part in parts]
    ends = [part.A.new_empty((batch, *part.A.shape) if want_last else 0) for part in parts]
    for i, part in enumerate(parts):
        Launch(part, chunk).forward(ys[i], ends[i] if want_last else None, saved[i] if save else None)
    return torch.stack(ys).sum(0).to(x.u.dtype), torch.cat(ends, 2) if want_last else ends[0], saved


def backward(x: ScanInputs, saved: Tensor, gy: Tensor, glast: Tensor | None) -> tuple[Tensor, ...]:
    """Return the gradients of the nine tensors of `x.differentiable()`; empty tensors for those that are absent."""
    chunk, groups = chunk_steps(x.A.shape[1]), groups_of(x.A.shape[1])
    if len(groups) == 1:
        gradients = _backward(x, chunk, saved, gy, glast)  # one group: its states are all
    else:
        ends = [None if glast is None else glast[:, :, states] for states in groups]
        parts = [_backward(part, chunk, saved[i], gy, ends[i]) for i, part in enumerate(_groups(x, groups))]
        whole = (_together(i, of_groups) for i, of_groups in enumerate(zip(*parts, strict=True)))
        pairs = zip(whole, x.differentiable(), strict=True)
        gradients = tuple(g if g is None or t is None else g.to(t.dtype) for g, t in pairs)
    return tuple(x.A.new_empty(0) if g is None else g for g in gradients)


def _groups(x: ScanInputs, groups: Sequence[slice]) -> list[ScanInputs]:
    """A scan for each of several groups of states, with float32 rows, so that their sums are rounded once."""
    x, first = cast_rows(x), x.initial_state
    parts = []
    for n in groups:
        start, D = None if first is None else first[:, :, n], x.D if n.start == 0 else None  # D counts once
        parts.append(x._replace(A=x.A[:, n], B=x.B[:, :, n], C=x.C[:, :, n], D=D, initial_state=start))
    return parts


def _together(place: int, parts: tuple[Tensor | None, ...]) -> Tensor | None:
    """One of the nine gradients from those of the groups."""
    name, known = ScanInputs._fields[place], [part for part in parts if part is not None]
    if not known:
        return None
    if name in ("A", "B", "C", "initial_state"):
        return torch.cat(known, -1)
    return torch.stack(known).sum(0)


def _backward(x: ScanInputs, chunk: int, saved: Tensor, gy: Tensor, glast: Tensor | None) -> tuple[Tensor | None, ...]:
    """The nine gradients of one group of states, in the types of the inputs."""
    launch = Launch(x, chunk)
    (batch, steps, channels), states, p = x.u.shape, x.A.shape[1], launch.plan
    gu, gdelta = _to_fill(x, x.u, batch, steps, channels), _to_fill(x, x.delta, batch, steps, channels)
    gz = None if x.z is None else _to_fill(x, x.z, batch, steps, channels)
    maps = _to_fill(x, x.A, 2, batch, p.blocks, steps, p.constants["N"])  # of C and B: a sum over a block of channels
    gA = x.A.new_empty(p.pieces, channels, states)
    gD = None if x.D is None else x.D.new_empty(p.pieces, channels)
    gbias = None if x.delta_bias is None else x.delta_bias.new_empty(p.pieces, channels)
    gfirst = None if x.initial_state is None else x.A.new_empty(batch, channels, states)
    launch.backward(saved, gy, glast, (gu, gdelta, gz, maps, maps.stride(0), gA, gD, gbias, gfirst))
    new = Tensor.new_empty if p.pieces else Tensor.new_zeros
    gC, gB = new(x.C, batch, steps, states), new(x.B, batch, steps, states)
    sum_A = new(x.A, channels, states)
    sum_D, sum_bias = None if gD is None else new(gD, channels), None if gbias is None else new(gbias, channels)
    if p.pieces:
        launch.add_up(maps, (gA, gD, gbias), (gC, gB, sum_A, sum_D, sum_bias))
    return gu, gdelta, sum_A, gB, gC, sum_D, gz, sum_bias, gfirst


def _to_fill(x: ScanInputs, like: Tensor, *shape: int) -> Tensor:
    """A tensor of the type of `like` that kernels fill up to the items' ends; zeros past them.

    Sizes come one by one, here and above: from a tuple PyTorch reads them twice as slowly.
    """
    return like.new_empty(*shape) if x.lengths is None else like.new_zeros(*shape)
