"""SpeechBrain's DPTNet block, made to run along the sequence. B batch, L steps, N channels."""

from __future__ import annotations

from torch import Tensor, nn


class SequenceFirst(nn.Module):
    """A block that runs along the first dimension, for a caller whose sequences lie along the second.

    SpeechBrain's `DPTNetBlock` is documented for [B, L, N], but its attention and its LSTM run along the first
    dimension: used as documented it mixes the items of a batch instead of the steps of a sequence.

    Arguments
    ---------
    block : nn.Module
        [L, B, N] -> [L, B, N].

    Example
    -------
    >>> import torch
    >>> from speechbrain.lobes.models.dual_path import DPTNetBlock
    >>> SequenceFirst(DPTNetBlock(16, nhead=4))(torch.rand(3, 10, 16)).shape
    torch.Size([3, 10, 16])
    """

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        """Run the block over `x` [B, L, N]."""
        return self.block(x.transpose(0, 1)).transpose(0, 1)
