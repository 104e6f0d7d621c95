"""What the guards of our training cost: a step of our loop against one of SpeechBrain's plain loop, in turns.

The guards: a step that is skipped where it is not finite, the counts of the epoch and the budget, the look at signals
and at whether a checkpoint is due. Both loops train the same network from the same weights on the same batches, with
a checkpointer of their own that has nothing to save. A step lasts from one request for a batch to the next, so that
neither the begin nor the end of a stage counts.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import speechbrain as sb
import torch
from _common import ROOT
from speechbrain.utils.checkpoints import Checkpointer
from torch.utils._python_dispatch import TorchDispatchMode

from lobes.config import load, resolve
from lobes.data.datasets import examples
from lobes.objectives import separation_loss
from lobes.training.brain import SeparationBrain

AT_MOST = 3.0  # per cent of a step
STEPS = 8  # of one loop, before it is the other's turn
RECIPE = ROOT / "recipes" / "custom" / "hparams" / "spmamba.yaml"
CLOCKS = ("wall", "cpu", "operations", "waits")
WAITS = "aten._local_scalar_dense.default"  # a number leaves a tensor: on a GPU the host waits for it


class Method:
    """The method of the recipes for separation."""

    def compute_forward(self, batch: Any, stage: sb.Stage) -> torch.Tensor:
        """Estimates [B,T,S] of the mixtures [B,T]."""
        return self.modules.separator(*batch.to(self.device).mix_sig)  # type: ignore[attr-defined]

    def compute_objectives(self, predictions: torch.Tensor, batch: Any, stage: sb.Stage) -> torch.Tensor:
        """The mean loss of the batch."""
        mix, lengths = batch.mix_sig
        return separation_loss(predictions, batch.sources_sig.data, lengths, mix=mix).mean()


class Plain(Method, sb.Brain):
    """SpeechBrain's loop."""


class Guarded(Method, SeparationBrain):
    """Ours."""


class Counted(TorchDispatchMode):
    """Counts PyTorch's operations by name, while it is entered."""

    def __init__(self) -> None:
        super().__init__()
        self.names: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names[str(function)] += 1
        return function(*args, **(kwargs or {}))


class Clocked:
    """A loader that reads clocks whenever a batch is asked for."""

    def __init__(self, loader: Any) -> None:
        self.loader, self.counted = loader, Counted()
        self.readings: list[tuple[float, ...]] = []

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        self.readings = []
        for batch in self.loader:
            self._read()
            yield batch
        self._read()

    def _read(self) -> None:
        names = self.counted.names
        self.readings.append((time.perf_counter(), time.process_time(), names.total(), names[WAITS]))

    def steps(self) -> dict[str, float]:
        """Medians of a step: wall and CPU seconds, PyTorch operations and how many of them make the host wait."""
        return dict(zip(CLOCKS, np.median(np.diff(self.readings, axis=0), axis=0).tolist(), strict=True))


def guards(preset: str, seconds: float = 1.0, turns: int = 21, steps: int = STEPS) -> dict[str, Any]:
    """Compare the loops on one preset; returns seconds, the guards' cost in per cent, and counts of operations.

    The cost is the median, over the turns, of the ratio of the two loops' median steps.
    """
    with TemporaryDirectory() as folder:
        loops = {name: loop(kind, preset, seconds, steps, Path(folder) / name) for name, kind in KINDS.items()}
        times = [{name: run(False).steps() for name, run in loops.items()} for _ in range(turns + 1)][1:]
        counts = {name: run(True).steps() for name, run in loops.items()}
    found: dict[str, Any] = {"preset": preset, "seconds": seconds, "turns": turns, "steps": steps, "at_most": AT_MOST}
    for clock in CLOCKS[:2]:
        ratios = [turn["guarded"][clock] / turn["plain"][clock] for turn in times]
        found[f"{clock}_percent"] = round(100 * (statistics.median(ratios) - 1), 2)
        for name in loops:
            found[f"{name}_{clock}"] = round(statistics.median(turn[name][clock] for turn in times), 6)
    return {**found, **{clock: {name: counts[name][clock] for name in loops} for clock in CLOCKS[2:]}}


KINDS: Mapping[str, type] = {"plain": Plain, "guarded": Guarded}


def loop(kind: type, preset: str, seconds: float, steps: int, folder: Path) -> Callable[[bool], Clocked]:
    """A training that goes on for so many steps at each call, and counts its operations where it is asked to."""
    options = {"preset": preset, "data_folder": "none", "output_folder": str(folder), "precision": "fp32"}
    hparams = load(resolve(RECIPE, {**options, "num_workers": "0", "N_epochs": "100000"}))
    recoverables = {"separator": hparams["modules"]["separator"], "counter": hparams["epoch_counter"]}
    saver = hparams["checkpointer"] if kind is Guarded else Checkpointer(folder / "plain", recoverables)
    brain = kind(hparams["modules"], hparams["opt_class"], hparams, {"device": "cpu", "noprogressbar": True}, saver)
    samples = int(seconds * hparams["sample_rate"])
    dataset = noises(samples, hparams["num_sources"], steps)
    loader = Clocked(brain.make_dataloader(dataset, sb.Stage.TRAIN, batch_size=1, shuffle=False))
    brain.on_fit_start()

    def run(counts: bool) -> Clocked:
        hparams["epoch_counter"].current += 1
        with loader.counted if counts else nullcontext():
            brain._fit_train(train_set=loader, epoch=hparams["epoch_counter"].current, enable=False)
        return loader

    return run


def noises(samples: int, sources: int, items: int) -> Any:
    """A dataset in memory: mixtures of noises [T] with their sources [T,S]."""
    signals = np.random.default_rng(0).standard_normal((items, samples, sources)).astype(np.float32)
    return examples(
        [{"ID": str(number)} for number in range(items)], lambda ID: (signals[int(ID)].sum(-1), signals[int(ID)])
    )
