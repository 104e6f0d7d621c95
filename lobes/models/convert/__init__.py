"""Weights of other implementations and of earlier versions: key maps live here and nowhere else."""

from collections.abc import Mapping

from torch import Tensor, nn

from lobes.models.convert import gridnet_keys
from lobes.models.convert.bsrnn_earlier import current_bsrnn_keys, restore_local_norms
from lobes.models.convert.gridnet_keys import to_upstream

__all__ = ["current_keys", "restore_local_norms", "to_upstream"]


def current_keys(model: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Turn a state dict of an earlier version into one with today's keys; leave others as they are.

    Example
    -------
    >>> current_keys(nn.Linear(2, 3), nn.Linear(2, 3).state_dict()).keys()
    dict_keys(['weight', 'bias'])
    """
    return current_bsrnn_keys(model, gridnet_keys.current_keys(model, state))
