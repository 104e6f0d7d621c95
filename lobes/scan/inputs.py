"""The inputs of a selective scan: one tuple that every backend receives, and the checks that come before it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lobes.kernels.memory import readable


class ScanInputs(NamedTuple):
    """Checked arguments: rows (u, delta, B, C, z) in the dtype they came in, everything else in the compute dtype.

    B batch, L steps, D channels, N state, R rank. The order of the fields is that of the operator's arguments; the last
    one never reaches it (see `lobes.scan.low_rank`).
    """

    u: Tensor  # [B, L, D]
    delta: Tensor  # [B, L, D]
    A: Tensor  # [D, N]
    B: Tensor  # [B, L, N]
    C: Tensor  # [B, L, N]
    D: Tensor | None  # [D]
    z: Tensor | None  # [B, L, D]
    delta_bias: Tensor | None  # [D]
    initial_state: Tensor | None  # [B, D, N]
    lengths: Tensor | None  # int64 [B], on u's device
    delta_softplus: bool
    reverse: bool
    delta_weight: Tensor | None = None  # [D, R]: delta is [B, L, R], and the step sizes are their product

    def differentiable(self) -> tuple[Tensor | None, ...]:
        """The nine tensors that may have gradients."""
        return self[:9]

    def needs_grad(self) -> bool:
        """True if a backward pass may follow."""
        tensors = (*self.differentiable(), self.delta_weight)
        return torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors)

    def padding(self) -> Tensor | None:
        """True where a step lies past the item's end, [B, L, 1]; None if all items are full."""
        if self.lengths is None:
            return None
        steps = torch.arange(self.u.shape[1], device=self.u.device)
        return (steps >= self.lengths[:, None]).unsqueeze(-1)  # [B, L, 1]


class Facts(NamedTuple):
    """The properties of a scan that decide which backends can take it."""

    device: str
    dtype: torch.dtype  # of the computation
    states: int
    started: bool  # with an initial state
    wants_last: bool
    needs_grad: bool


def facts(x: ScanInputs, wants_last: bool) -> Facts:
    """Describe checked inputs."""
    states = len(range(x.A.shape[1]))  # in a compiled graph of any shape, too, a number, which int() would not give
    return Facts(x.u.device.type, x.A.dtype, states, x.initial_state is not None, wants_last, x.needs_grad())


def check(x: ScanInputs) -> None:
    """Raise ValueError or TypeError that names the argument, what was expected and what came."""
    if x.u.dim() != 3 or x.u.shape[2] == 0:
        raise ValueError(f"selective_scan: u must be [B, L, D] with D >= 1, got {list(x.u.shape)}")
    if not x.u.is_floating_point():
        raise TypeError(f"selective_scan: u must be a real floating-point tensor, got {x.u.dtype}")
    if x.A.dim() != 2:
        raise ValueError(f"selective_scan: A must be [D, N], got {list(x.A.shape)}")
    batch, steps, channels = x.u.shape
    state = x.A.shape[1]
    rows, maps, each = (batch, steps, channels), (batch, steps, state), (channels,)
    low_rank = x.delta_weight is not None and x.delta.dim() == 3
    sizes = (batch, steps, x.delta.shape[2]) if low_rank else rows
    shapes = (sizes, (channels, state), maps, maps, each, rows, each, (batch, channels, state))
    for name, tensor, shape in zip(ScanInputs._fields[1:9], x[1:9], shapes, strict=True):
        _check_tensor(name, tensor, shape, x.u)
    _check_tensor("delta_weight", x.delta_weight, (channels, sizes[2]), x.u)
    if x.lengths is not None:
        _check_lengths(x.lengths, batch, steps)


def _check_tensor(name: str, tensor: Tensor | None, shape: tuple[int, ...], u: Tensor) -> None:
    if tensor is None:
        return
    if tensor.shape != shape:
        hint = " (the scan is channel-last: [B, L, D])" if tensor.dim() == 3 else ""
        raise ValueError(
            f"selective_scan: {name} must have shape {list(shape)} to go with u {list(u.shape)}, "
            f"got {list(tensor.shape)}{hint}"
        )
    if tensor.device != u.device:
        raise ValueError(f"selective_scan: {name} is on {tensor.device}, expected u's device {u.device}")
    if not tensor.is_floating_point():
        raise TypeError(f"selective_scan: {name} must be a real floating-point tensor, got {tensor.dtype}")


def _check_lengths(lengths: Tensor, batch: int, steps: int) -> None:
    if lengths.is_floating_point() or lengths.dtype == torch.bool or lengths.is_complex():
        raise TypeError(
            f"selective_scan: lengths must be integers (numbers of steps), got {lengths.dtype}; "
            "relative lengths become steps through lobes.nnet.lengths"
        )
    if tuple(lengths.shape) != (batch,):
        raise ValueError(f"selective_scan: lengths must have shape [{batch}], got {list(lengths.shape)}")
    # On an accelerator this would wait for the device. There the Triton kernels cut lengths to 0..L themselves, and to
    # the other backends they are masks.
    if readable(lengths) and batch and (int(lengths.min()) < 0 or int(lengths.max()) > steps):
        raise ValueError(f"selective_scan: lengths must lie in 0..{steps} (L), got {lengths.tolist()}")


def cast(x: ScanInputs) -> ScanInputs:
    """Bring all but the rows to the compute dtype and `lengths` to int64 on u's device, or to None if all are full."""
    dtype = torch.float64 if x.u.dtype == torch.float64 else torch.float32
    lengths = x.lengths
    if lengths is not None and readable(lengths) and bool((lengths == x.u.shape[1]).all()):
        lengths = None
    if lengths is not None:
        lengths = lengths.to(device=x.u.device, dtype=torch.int64, non_blocking=True)
    if lengths is not x.lengths:
        x = x._replace(lengths=lengths)
    return _to(x, ("A", "D", "delta_bias", "initial_state"), dtype)


def cast_rows(x: ScanInputs) -> ScanInputs:
    """Bring the rows to the compute dtype, for a backend that does not convert them as it reads."""
    return _to(x, ("u", "delta", "B", "C", "z"), x.A.dtype)


def _to(x: ScanInputs, names: tuple[str, ...], dtype: torch.dtype) -> ScanInputs:
    present = {name: getattr(x, name) for name in names}
    others = {name: t.to(dtype) for name, t in present.items() if t is not None and t.dtype != dtype}
    return x._replace(**others) if others else x
