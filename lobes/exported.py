"""Names that run folders and exported folders refer to, wherever the code behind them lives."""

from __future__ import annotations

import importlib
from typing import Any

_MODULES = {
    "Budget": "lobes.training.budget",
    "BudgetCosine": "lobes.training.schedule",
    "MambaMaskNet": "lobes.models.mamba_tasnet",
    "MetricGan": "lobes.training.metric_gan",
    "SequenceFirst": "lobes.models.sequence_first",
    "SharedBiMamba": "lobes.nnet.bimamba",
    "num_sources": "lobes.polsess.mmipc",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(name)
    return getattr(importlib.import_module(_MODULES[name]), name)
