"""Mamba's convolution in a stream. B batch, L steps, D channels."""

from __future__ import annotations

from torch import Tensor, nn

from lobes.nnet.depthwise import conv_silu
from lobes.nnet.memory import Memory, behind_past


def conv_silu_in_stream(conv: nn.Conv1d, x: Tensor, memory: Memory | None = None, reverse: bool = False) -> Tensor:
    """Convolve `x` [B, L, D] causally and apply SiLU; with a `memory`, behind the steps of the chunk before.

    Arguments
    ---------
    conv : nn.Conv1d
        Depthwise, with a bias.
    x : Tensor
        [B, L, D].
    memory : Memory, optional
        Of the stream that `x` is a chunk of.
    reverse : bool
        As in `conv_silu`.

    Returns
    -------
    Tensor
        [B, L, D].

    Example
    -------
    >>> import torch
    >>> conv, memory, x = nn.Conv1d(4, 4, 3, groups=4), Memory(), torch.rand(1, 6, 4)
    >>> parts = [conv_silu_in_stream(conv, part, memory) for part in x.split(2, dim=1)]
    >>> torch.allclose(torch.cat(parts, 1), conv_silu_in_stream(conv, x), atol=1e-6)
    True
    """
    past = 0 if memory is None else conv.kernel_size[0] - 1
    if past:
        x = behind_past(x, past, 1, memory, conv)
    return conv_silu(x, conv.weight, conv.bias, reverse)[:, past:]  # type: ignore[arg-type]
