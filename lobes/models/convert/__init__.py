"""Weights of other implementations and of earlier versions: key maps live here and nowhere else."""

from lobes.models.convert.gridnet_keys import current_keys, to_upstream

__all__ = ["current_keys", "to_upstream"]
