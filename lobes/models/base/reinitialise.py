"""Re-initialise layers that SpeechBrain made by deep copy, so that they do not start identical.

SpeechBrain's dual-path networks deep-copy one block for every layer. Its recipes then re-initialise the whole network,
which destroys the initialisation that a Mamba block needs.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn


def reinitialise_copies(network: nn.Module) -> None:
    """Re-initialise all layers of `network` if some of them are copies of each other; otherwise do nothing.

    Each module is initialised by its method `reset_parameters`, which covers everything inside it.

    Example
    -------
    >>> import copy
    >>> layer = nn.Linear(2, 2)
    >>> network = nn.ModuleList([layer, copy.deepcopy(layer)])
    >>> reinitialise_copies(network)
    >>> bool((network[0].weight == network[1].weight).all())
    False
    """
    if any(_share_weights(layers) for layers in _lists(network)):
        _redraw(network)


def _lists(network: nn.Module) -> Iterator[nn.ModuleList]:
    return (module for module in network.modules() if isinstance(module, nn.ModuleList) and len(module) > 1)


def _share_weights(layers: nn.ModuleList) -> bool:
    """Whether the first two layers have a random matrix in common."""
    first, second = (list(layer.parameters()) for layer in list(layers)[:2])
    pairs = [(a, b) for a, b in zip(first, second, strict=False) if a.ndim > 1 and bool(a.std() > 0)]
    return any(a.shape == b.shape and torch.equal(a, b) for a, b in pairs)


def _redraw(module: nn.Module) -> None:
    reset = getattr(module, "reset_parameters", None)
    if reset is not None:
        reset()
        return
    for child in module.children():
        _redraw(child)
    if isinstance(module, nn.MultiheadAttention):
        module._reset_parameters()  # its own matrices; its output projection is a child
