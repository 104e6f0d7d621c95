"""BSRNN of earlier versions, whose norms were local: its keys, and its norms back for folders that do not name them."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping

from torch import Tensor, nn

from lobes.models.bsrnn import BSRNN

_OLD = re.compile(r"(layers\.\d+\.)(weight|bias)")  # of a layer's norm, whose kind was not in its name

logger = logging.getLogger(__name__)


def current_bsrnn_keys(model: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give the norms of a BSRNN of an earlier version their present names; leave other keys as they are.

    Example
    -------
    >>> model = BSRNN(n_channels=4, n_layers=1, norms="local")
    >>> old = {key.replace("norm.local.", ""): value for key, value in model.state_dict().items()}
    >>> current_bsrnn_keys(model, old).keys() == model.state_dict().keys()
    True
    """
    renamed = {}
    for prefix, _ in _networks(model):
        for key in state:
            if key.startswith(prefix) and (old := _OLD.fullmatch(key.removeprefix(prefix))):
                renamed[key] = f"{prefix}{old[1]}norm.local.{old[2]}"
    return {renamed.get(key, key): value for key, value in state.items()}


def restore_local_norms(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Give each BSRNN in `model` local norms if its weights in `state` are of an earlier version, which had no others.

    The folders of such weights do not name the norms, so that the network is made with the joint ones of today, to
    which weights of the same shapes must not go.

    Example
    -------
    >>> model = BSRNN(n_channels=4, n_layers=1)
    >>> restore_local_norms(model, {"layers.0.weight": model.layers[0].linear.bias})
    >>> model.norms
    'local'
    """
    for prefix, network in _networks(model):
        if f"{prefix}layers.0.weight" in state and network.norms != "local":
            network.use_norms("local")
            logger.info("BSRNN with weights of an earlier version: its norms are local, as they were trained")


def _networks(model: nn.Module) -> Iterator[tuple[str, BSRNN]]:
    """All BSRNN in a module, with what stands before their keys."""
    for name, module in model.named_modules():
        if isinstance(module, BSRNN):
            yield f"{name}." if name else "", module
