"""The inputs that `separate_batch` accepts, and their conversion to [B,T] in the model's type."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from lobes.errors import UserError

Waveform = Tensor | np.ndarray


def to_batch(mix: Waveform, dtype: torch.dtype = torch.float32) -> Tensor:
    """Check a mixture, [B,T] or [T], and convert it to [B,T] of the wanted type.

    It holds floating-point samples of any precision, or int16, int32 or uint8, which are scaled to full scale 1.0 as in
    audio files.

    Raises
    ------
    UserError
        For another shape or type, no samples, or a sample that is not finite.

    Example
    -------
    >>> to_batch(np.array([0, 16384], np.int16))
    tensor([[0.0000, 0.5000]])
    """
    x = as_tensor(mix)
    shape = list(x.shape)
    if x.dim() == 1:
        x = x[None]  # [1,T]
    if x.dim() != 2 or x.numel() == 0:
        raise UserError(f"expected a mixture [T] or [B,T] with at least one sample, got shape {shape}.")
    x = _to_floating(x).to(dtype)
    bad = torch.nonzero(~torch.isfinite(x))
    if len(bad):
        item, sample = bad[0].tolist()
        value = float(x[item, sample])
        raise UserError(f"sample {sample} of item {item} of the mixture is {value}, expected finite samples.")
    return x


def as_tensor(x: Any) -> Tensor:
    """A waveform as a tensor; arrays that torch does not take as they are (reversed, of another byte order) are copied.

    Raises
    ------
    UserError
        For what is no array of numbers, such as signals of different lengths.

    Example
    -------
    >>> as_tensor(np.arange(3, dtype=">i2")[::-1])
    tensor([2, 1, 0], dtype=torch.int16)
    """
    if isinstance(x, Tensor):
        return x
    try:
        array = np.asarray(x)
    except (ValueError, TypeError) as error:
        raise UserError(
            "expected a mixture [T] or [B,T], got signals of different lengths. Give each alone."
        ) from error
    if array.dtype.kind not in "fiub":
        raise UserError(
            f"expected floating-point, int16, int32 or uint8 samples, got {type(x).__name__}, {array.dtype}."
        )
    native = np.dtype(np.float64) if array.dtype.itemsize > 8 else array.dtype.newbyteorder("=")
    array = array.astype(native, copy=False)
    if not array.flags.writeable or any(stride < 0 for stride in array.strides):
        array = array.copy()
    return torch.from_numpy(array)


def checked_lengths(lengths: Tensor, batch: int) -> Tensor:
    """Check the relative lengths [B] of a batch.

    Raises
    ------
    UserError
        For another shape, or values outside of (0, 1].

    Example
    -------
    >>> checked_lengths(torch.tensor([1.0, 0.5]), 2).shape
    torch.Size([2])
    """
    lengths = torch.as_tensor(lengths)
    if lengths.shape != (batch,):
        raise UserError(f"lengths: expected shape [{batch}], one per item, got {list(lengths.shape)}.")
    if not bool(((lengths > 0) & (lengths <= 1)).all()):
        values = lengths.tolist()
        raise UserError(f"lengths: expected relative lengths in (0, 1], got {values}. Divide samples by T.")
    return lengths


def _to_floating(x: Tensor) -> Tensor:
    if x.is_floating_point():
        return x
    if x.dtype == torch.uint8:  # 8-bit WAV is unsigned around 128
        return (x.double() - 128) / 128
    if x.dtype in (torch.int16, torch.int32):
        return x.double() / -torch.iinfo(x.dtype).min
    raise UserError(f"expected floating-point, int16, int32 or uint8 samples, got {x.dtype}.")
