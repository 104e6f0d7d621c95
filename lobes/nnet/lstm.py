"""An LSTM that runs under bf16 on every processor. B batch, L steps, D channels, H units."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence

from lobes.nnet.precision import no_autocast


class LSTM(nn.LSTM):
    """`torch.nn.LSTM`, in fp32 under bf16 autocast where the processor has no LSTM for it.

    PyTorch's LSTM on CPUs comes from oneDNN, which has none in bf16 for processors without AVX-512 and fails there.

    Example
    -------
    >>> lstm = LSTM(8, 16, batch_first=True)
    >>> with torch.autocast("cpu", dtype=torch.bfloat16):
    ...     lstm(torch.rand(2, 5, 8))[0].shape
    torch.Size([2, 5, 16])
    """

    def forward(self, input: Any, hx: Any = None) -> Any:  # noqa: A002  the argument's name in PyTorch
        """Run over a sequence [B, L, D] or a packed one, as `torch.nn.LSTM` does."""
        data = input.data if isinstance(input, PackedSequence) else input
        run: Any = super().forward  # type: ignore[has-type]
        if data.device.type != "cpu" or not torch.is_autocast_enabled("cpu") or runs_in_bf16():
            return run(input, hx)
        with no_autocast(data):
            return run(input.to(torch.float32), hx)


def run_lstms_in_any_precision(model: nn.Module) -> None:
    """Let the LSTMs of a network from elsewhere, such as SpeechBrain's, compute as `LSTM` does; weights stay.

    Example
    -------
    >>> network = nn.Sequential(nn.LSTM(2, 3))
    >>> run_lstms_in_any_precision(network)
    >>> type(network[0]) is LSTM
    True
    """
    for module in model.modules():
        if type(module) is nn.LSTM:
            module.__class__ = LSTM


@cache
def runs_in_bf16() -> bool:
    """Whether this processor has an LSTM in bf16, tried once."""
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            nn.LSTM(1, 1)(torch.zeros(1, 1, 1))
    except RuntimeError:
        return False
    return True
