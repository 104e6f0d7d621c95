"""The network of a separator alone, to count its operations. B batch, T samples, S sources."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from speechbrain.inference.separation import SepformerSeparation
from torch import Tensor, nn

from lobes.inference.external import External
from lobes.inference.speechbrain_adapter import MappingMaskNet


class Called(nn.Module):
    """A function of mixtures [B,T] and the modules that it runs, as one network.

    Arguments
    ---------
    parts : nn.Module or None
        Whose parameters count.
    run : callable
        [B,T] to [B,T,S].
    sample_rate : int
        In Hz.
    num_sources : int
        S.

    Example
    -------
    >>> Called(None, lambda mix: mix[..., None], 8000, 1)(torch.zeros(1, 5)).shape
    torch.Size([1, 5, 1])
    """

    def __init__(
        self, parts: nn.Module | None, run: Callable[[Tensor], Tensor], sample_rate: int, num_sources: int
    ) -> None:
        super().__init__()
        self.parts, self.run = parts, run
        self.sample_rate, self.num_sources = sample_rate, num_sources

    def forward(self, mix: Tensor) -> Tensor:
        """Separate `mix` [B,T]."""
        return self.run(mix)


def network_of(separator: Any) -> nn.Module:
    """The network of a `lobes.inference.Separator`, [B,T] to [B,T,S], without looks at the values of its input.

    Example
    -------
    >>> from lobes.inference.measuring import open_model
    >>> type(network_of(open_model("spmamba_tiny"))).__name__
    'SPMamba'
    """
    masknet, facts = separator.mods["masknet"], (separator.sample_rate, separator.num_sources)
    if not isinstance(masknet, MappingMaskNet):  # one of SpeechBrain's own separators
        run = SepformerSeparation.separate_batch
        return Called(separator.mods, lambda mix: run(separator, mix), *facts)
    model: Any = masknet.model
    if not isinstance(model, External):
        return model
    theirs = model.model
    parts = theirs if isinstance(theirs, nn.Module) else getattr(theirs, "model", None)
    known = parts if isinstance(parts, nn.Module) else None
    return Called(known, lambda mix: torch.as_tensor(theirs(mix[0])).T[None], *facts)
