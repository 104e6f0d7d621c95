"""What a network takes at once: how far an output sample sees, how long its positions reach, how much memory it needs.

B batch, T samples, S sources.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from lobes.models.masking import MaskingSeparator, longest_input


def receptive_field(model: nn.Module) -> int | None:
    """The number of samples to each side that an output sample depends on; None: all of the mixture.

    A network may say so itself, by an attribute `receptive_field`. Found out here is that of ConvTasNet, unless its
    norms take statistics of the whole mixture (gLN), as in all presets.

    Example
    -------
    >>> from lobes.models import get_model
    >>> receptive_field(get_model("convtasnet_tiny", num_sources=2)) is None
    True
    """
    known = getattr(model, "receptive_field", None)
    if known is not None:
        return int(known)
    if not isinstance(model, MaskingSeparator) or type(model.masknet).__name__ != "MaskNet":
        return None
    if any(type(module).__name__ == "GlobalLayerNorm" for module in model.masknet.modules()):
        return None
    convolutions = (module for module in model.masknet.modules() if isinstance(module, nn.Conv1d))
    frames = sum((conv.kernel_size[0] - 1) * conv.dilation[0] for conv in convolutions)  # a causal one sees one side
    return frames * model.stride + 2 * model.kernel_size


def frame_step(model: nn.Module) -> int:
    """The number of samples by which a network's frames follow each other: pieces that begin at a multiple of it have
    the frames of the whole.

    Example
    -------
    >>> frame_step(nn.Identity())
    1
    """
    step = getattr(model, "stride", None) or getattr(getattr(model, "stft", None), "hop_length", None)
    return int(step) if step else 1


def longest_mixture(parts: nn.Module | dict[str, nn.Module]) -> int | None:
    """The most samples that the positional encodings of a network take; None: any number.

    Arguments
    ---------
    parts : nn.Module or dict
        A model, or the encoder and the mask network of one of SpeechBrain's own separators.

    Example
    -------
    >>> from lobes.models import get_model
    >>> longest_mixture(get_model("sepformer_tiny", num_sources=2)) > 8000
    True
    """
    masknet: Any = parts["masknet"] if isinstance(parts, dict) else getattr(parts, "masknet", None)
    frames = longest_input(masknet) if masknet is not None else None
    if frames is None:
        return None
    if isinstance(parts, dict):
        conv: Any = getattr(parts["encoder"], "conv1d", None)
        return frames * (conv.stride[0] if conv is not None else 1)
    return frames * frame_step(parts)


class _LiveBytes(TorchDispatchMode):
    """Counts the bytes of the tensors that exist at one time, for what operators return while the mode is on."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, Tensor):
                self._add(tensor.untyped_storage())
        return out

    def _add(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self.known:
            return
        size = storage.nbytes()
        self.known.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._remove, key, size)

    def _remove(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.now -= size


@torch.no_grad()
def bytes_of(run: Callable[[Tensor], Tensor], samples: int) -> int:
    """The most bytes that a network's tensors take at one time for a mixture of so many samples; it runs once.

    Example
    -------
    >>> bytes_of(lambda mix: mix * 2 + 1, 1000) >= 8000
    True
    """
    mix = torch.randn(1, samples, generator=torch.Generator().manual_seed(0)) / 10
    with _LiveBytes() as count:
        run(mix)
    return count.peak
