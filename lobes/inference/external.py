"""Models of other projects, named `package.module:factory` or `package.module:factory=word`. B batch, T samples,
S sources.

The factory is called with the word, if there is one, and returns an object with the attributes `sample_rate` (Hz) and
`num_sources` that maps a mixture [T] (torch.Tensor, float32) to its sources [S,T]. See `lobes.inference.third_party`.
"""

from __future__ import annotations

import importlib
import re
from typing import Any

import torch
from torch import Tensor, nn

from lobes.errors import UserError
from lobes.nnet.lengths import to_samples

NAME = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*(=.+)?", re.ASCII)
CONTRACT = "an object with sample_rate and num_sources that maps a mixture [T] to its sources [S,T]"


class External(nn.Module):
    """Another project's model under the contract of the models here: [B,T] to [B,T,S], item by item.

    Arguments
    ---------
    name : str
        `package.module:factory`, and perhaps `=word`.

    Raises
    ------
    UserError
        If the module or the factory cannot be found, or what it makes is no such model.

    Example
    -------
    >>> External("lobes.no_such_module:make")
    Traceback (most recent call last):
    ...
    lobes.errors.UserError: lobes.no_such_module:make: cannot be imported: No module named 'lobes.no_such_module'
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.model = _make(name)
        self.sample_rate, self.num_sources = int(self.model.sample_rate), int(self.model.num_sources)

    def forward(self, mix: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Separate `mix` [B,T]; with relative `lengths` [B] each item at its own length, zeros behind it.

        Silence gives silence.
        """
        out = mix.new_zeros(*mix.shape, self.num_sources)  # [B,T,S]
        for item, samples in enumerate(to_samples(lengths, mix.shape[1], len(mix)).tolist()):
            if not mix[item, :samples].any():
                continue  # many models divide by the level
            sources = torch.as_tensor(self.model(mix[item, :samples]))
            if sources.shape != (self.num_sources, samples):
                raise UserError(
                    f"{self.name}: expected sources of shape {(self.num_sources, samples)} for a mixture of {samples} "
                    f"samples, got {tuple(sources.shape)}. The factory must return {CONTRACT}."
                )
            out[item, :samples] = sources.to(out).T
        return out


def _make(name: str) -> Any:
    module, _, rest = name.partition(":")
    factory, *words = rest.split("=", 1)
    try:
        make = getattr(importlib.import_module(module), factory)
    except (ImportError, AttributeError) as error:
        raise UserError(f"{name}: cannot be imported: {error}") from error
    model = make(*words)
    missing = [key for key in ("sample_rate", "num_sources") if not hasattr(model, key)]
    if missing or not callable(model):
        raise UserError(f"{name}: expected a factory of {CONTRACT}; {', '.join(missing) or '__call__'} is missing.")
    return model
