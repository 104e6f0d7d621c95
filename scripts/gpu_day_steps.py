"""Part 4: seconds and peak memory of a training step of every full preset, in bf16 and in fp32, on 4 s of audio."""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import partial

import torch
from _common import in_turns
from gpu_day_rows import Row, Settings
from training import training_step

from lobes.models import get_model, list_models
from lobes.training.memory import peak_megabytes

TITLE = "Training steps"
SECONDS = 60.0
SMALL = ("_tiny", "_mini", "_small")  # ends of the names of presets that are no full ones
DRY = ("convtasnet_tiny", "spmamba_tiny")
PRECISIONS = ("bf16", "fp32")
AUDIO = 4.0  # seconds
REPEATS = 5


def rows(settings: Settings) -> dict[str, Callable[[], Row]]:
    """Each preset in each precision."""
    names = DRY if settings.dry else full_presets()
    return {f"{name} {how}": partial(measure, settings, name, how) for name in names for how in PRECISIONS}


def full_presets() -> list[str]:
    """The presets whose names do not say that they are small.

    Example
    -------
    >>> "spmamba_8k" in full_presets(), "spmamba_tiny" in full_presets()
    (True, False)
    """
    return [name for name in list_models() if not name.endswith(SMALL)]


def measure(settings: Settings, preset: str, precision: str) -> Row:
    """Seconds of a step, batch 1, and the memory that PyTorch's tensors took at most."""
    seconds, repeats = (0.1, 1) if settings.dry else (AUDIO, REPEATS)
    case = {"preset": preset, "seconds": seconds, "precision": precision, "checkpointing": False}
    gc.collect()
    if not settings.dry:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    step = training_step({**case, "device": settings.device})
    clocks = in_turns({"step": step}, repeats, settings.device, warm=1 if settings.dry else 3)["step"]
    megabytes = round(peak_megabytes(settings.device), 1)
    parameters = sum(weight.numel() for weight in get_model(preset).parameters())
    return {**case, "step_seconds": clocks["wall_median"], "megabytes": megabytes, "parameters": parameters}
