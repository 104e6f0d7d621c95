"""A batch on its way to the device."""

from __future__ import annotations

from typing import Any

import torch
from speechbrain.dataio.batch import PaddedData


def to_device(batch: Any, device: torch.device | str) -> Any:
    """Move a batch in place, but leave the lengths of its items on the CPU, where reading them waits for no device.

    Arguments
    ---------
    batch : PaddedBatch
        Its padded data become pairs of a tensor on `device` and lengths [B] on the CPU.
    device : torch.device or str
        Where the networks are.

    Example
    -------
    >>> from speechbrain.dataio.batch import PaddedBatch
    >>> batch = PaddedBatch([{"mix_sig": torch.ones(8)}, {"mix_sig": torch.ones(4)}])
    >>> mix, lengths = to_device(batch, "meta").mix_sig
    >>> mix.device.type, lengths.tolist()
    ('meta', [1.0, 0.5])
    """
    kept = {name: value.lengths for name, value in vars(batch).items() if isinstance(value, PaddedData)}
    batch.to(device)
    for name, lengths in kept.items():
        setattr(batch, name, PaddedData(getattr(batch, name).data, lengths.cpu()))
    return batch
