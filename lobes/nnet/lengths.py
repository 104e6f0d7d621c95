"""Lengths of the items in a padded batch: from relative lengths to counts, and masks. B batch, L steps."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lobes.kernels.memory import readable


def to_samples(lengths: Tensor | None, total: int, batch: int, device: torch.device | str | None = None) -> Tensor:
    """Turn SpeechBrain's relative lengths in (0, 1], [B], into round(lengths * total), between 1 and total, Long [B].

    Without lengths all items of the `batch` are full. The device is by default that of the lengths. Keep lengths on the
    CPU: there they are checked, and nothing waits for the device of the result. On an accelerator nobody reads them.

    Raises
    ------
    ValueError
        If there is not one finite length per item.

    Example
    -------
    >>> to_samples(torch.tensor([1.0, 0.5]), 9, 2)
    tensor([9, 4])
    >>> to_samples(None, 9, 2)
    tensor([9, 9])
    """
    if lengths is None:
        return torch.full((batch,), total, dtype=torch.long, device=device)
    if lengths.shape != (batch,):
        raise ValueError(f"lengths: expected one relative length per item, [{batch}], got {list(lengths.shape)}")
    # fp64: 0.1 in fp32 times some millions of samples would be off by one
    counts = torch.round(lengths.detach().double() * total)
    if readable(lengths) and not bool(torch.isfinite(counts).all()):
        raise ValueError(f"lengths: expected finite relative lengths in (0, 1], got {lengths.tolist()}")
    return counts.long().clamp(1, total).to(device or lengths.device, non_blocking=True)


def to_device(n: Tensor, device: torch.device) -> Tensor:
    """Copy counts to a device. If they come from the CPU, `on_cpu` finds them there again, and waits for nothing.

    Example
    -------
    >>> on_cpu(to_device(torch.tensor([9, 4]), torch.device("meta")))
    tensor([9, 4])
    """
    copy = n.to(device, non_blocking=True)
    if copy is not n and readable(n):
        copy._on_cpu = n  # type: ignore[attr-defined]
    return copy


def on_cpu(n: Tensor) -> Tensor:
    """Return counts on the CPU: those from which they were copied, if they were; else this waits for their device."""
    kept = _kept(n)
    return n.cpu() if kept is None else kept


def derived(n: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """Return `change(n)`, whose values `on_cpu` finds if it finds those of `n`.

    Example
    -------
    >>> n = to_device(torch.tensor([9, 4]), torch.device("meta"))
    >>> on_cpu(derived(n, lambda counts: counts // 2))
    tensor([4, 2])
    """
    changed, kept = change(n), _kept(n)
    if kept is not None:
        changed._on_cpu = change(kept)  # type: ignore[attr-defined]
    return changed


def _kept(n: Tensor) -> Tensor | None:
    """What counts on a device were copied from; a compiled graph keeps no such thing."""
    return None if torch.compiler.is_compiling() else getattr(n, "_on_cpu", None)


def mask(n: Tensor, total: int) -> Tensor:
    """Mark the valid steps of each item: `n` is Long [B], the result bool [B, L] with L = `total`.

    Example
    -------
    >>> mask(torch.tensor([1, 3]), 3)
    tensor([[ True, False, False],
            [ True,  True,  True]])
    """
    return torch.arange(total, device=n.device)[None, :] < n[:, None]  # [B, L]


def zero_padding(x: Tensor, n: Tensor | None) -> Tensor:
    """Set all values of `x` [B, L, ...] after an item's end to zero, including NaN.

    `n` are valid steps per item, Long [B]; None returns `x` as it is.

    Example
    -------
    >>> zero_padding(torch.ones(2, 3), torch.tensor([1, 3]))
    tensor([[1., 0., 0.],
            [1., 1., 1.]])
    """
    if n is None:
        return x
    outside = ~mask(n, x.shape[1])
    return x.masked_fill(outside.reshape(*outside.shape, *[1] * (x.dim() - 2)), 0)
