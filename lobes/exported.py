"""The names that run folders and exported folders refer to. They are public and stay for ever.

A YAML file in such a folder says `!new:lobes.exported.Budget`; where the class stands in the code may change. Networks
are named by their own public paths, `lobes.models.spmamba.SPMamba` and so on.

Example
-------
>>> import lobes.exported
>>> lobes.exported.MixAndOnes.__name__
'MixAndOnes'
"""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    # exported folders
    "MixAndOnes": "lobes.inference.speechbrain_adapter",
    "MappingMaskNet": "lobes.inference.speechbrain_adapter",
    "TakeEstimate": "lobes.inference.speechbrain_adapter",
    "EnhanceModel": "lobes.inference.speechbrain_adapter",
    "load_strictly": "lobes.inference.weights",
    # parts of networks
    "BiMambaStack": "lobes.nnet.bimamba",
    "MambaTasNetMaskNet": "lobes.models.mamba_tasnet",
    "SequenceFirst": "lobes.models.masking",
    "RNNBlock": "lobes.models.dual_path",
    "TransformerBlock": "lobes.models.dual_path",
    # parts of networks of earlier versions: another name is another network, and no file of ours names these now
    "MambaMaskNet": "lobes.models.mamba_tasnet",
    "SharedBiMamba": "lobes.nnet.bimamba",
    # recipe files
    "Budget": "lobes.training.budget",
    "BudgetCosine": "lobes.training.schedule",
    "MetricGan": "lobes.training.metric_gan",
    "SafeCheckpointer": "lobes.runs.checkpointer",
    "num_sources": "lobes.polsess.variants",
    "describe_task": "lobes.polsess.variants",
}
__all__ = sorted(_HOME)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    """Import a name when it is asked for: a separator needs none of what training needs."""
    if name.partition(" ")[0] == "Lobes":  # the first key of an exported folder, which goes on to say how to install it
        return importlib.import_module("lobes")
    if name not in _HOME:
        raise AttributeError(f"lobes.exported has no name {name}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(_HOME[name]), name)
