"""The fake training runs of ../run_folders.py, and small networks by name."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch

_SPEC = importlib.util.spec_from_file_location("run_folders", Path(__file__).parents[1] / "run_folders.py")
_FAKE = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_FAKE)

stand_in, make_run, run = _FAKE.stand_in, _FAKE.make_run, _FAKE.run

GRID = {"n_fft": 64, "n_layers": 1, "emb_dim": 4, "emb_ks": 4, "n_heads": 2, "approx_qk_dim": 66, "expand": 1}
SMALL = {
    "spmamba_tiny": GRID | {"hop_length": 32, "emb_hs": 2},
    "spmamba_local": GRID | {"hop_length": 16, "attention_window": 3},
    "spmamba_causal": GRID | {"hop_length": 16, "emb_hs": 4, "attention_window": 7},
    "tf_gridnet_mini": {"n_layers": 1, "n_fft": 64, "hop_length": 32, "lstm_hidden_units": 8},
    "bsrnn": {"n_fft": 64, "n_layers": 1, "n_channels": 8, "split": "mel", "n_bands": 4, "hop_length": 16},
    "bsrnn_causal": {"n_fft": 64, "n_layers": 1, "n_channels": 8, "split": "mel", "n_bands": 4, "hop_length": 16},
    "mbs_net": {"n_layers": 1, "n_channels": 8},
    "mbs_net_causal": {"n_layers": 1, "n_channels": 8},
    "bs_bimamba_abl1_small": {"n_layers": 1, "n_channels": 8},
    "convtasnet_tiny": {"N": 16, "B": 8, "H": 8, "X": 3, "R": 1},
    "convtasnet_cumulative": {"N": 16, "B": 8, "H": 8, "X": 2, "R": 1},
    "mamba_tasnet_tiny": {"N": 8, "d_model": 8, "n_layers": 1},
    "dpmamba_tiny": {"n_layers": 1, "N": 8},
    "sepformer_tiny": {},
    "dprnn_tiny": {},
    "skim": {"n_layers": 1, "unit": 8, "N": 8},
}


@pytest.fixture
def small() -> Any:
    """Return a function that makes a small network of a preset, with weights of a seed."""

    def make(preset: str, **more: Any) -> torch.nn.Module:
        from lobes.models import get_model

        torch.manual_seed(7)
        return get_model(preset, **(SMALL[preset] | more)).eval().requires_grad_(False)

    return make
