"""Fake training runs: a folder as `train.py` leaves it, with a tiny network. Tests get these through conftest.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# Stand-in networks that are importable by name, as a YAML file needs them. Tiny is linear: level and length show.
STAND_IN = """
import torch

class Tiny(torch.nn.Module):
    def __init__(self, num_sources=2, sample_rate=8000, kernel=(3,), inner=(), activation=None):
        super().__init__()
        self.num_sources, self.sample_rate, self.causal = num_sources, sample_rate, True
        self.inner = torch.nn.ModuleList(inner)
        self.conv = torch.nn.Conv1d(1, num_sources, kernel[0], bias=False)
        self.activation = activation() if activation else torch.nn.Identity()

    def forward(self, mix, lengths=None):
        padded = torch.nn.functional.pad(mix, (self.conv.kernel_size[0] - 1, 0))
        y = self.activation(self.conv(padded[:, None]).transpose(1, 2))
        if lengths is not None:
            n = (lengths * mix.shape[1]).round()
            y = y * (torch.arange(mix.shape[1]) < n[:, None])[..., None]
        return y

class Unsaved(Tiny):
    "Holds a number that no checkpoint keeps."

    def __init__(self, **options):
        super().__init__(**options)
        self.gain = torch.rand(())

    def forward(self, mix, lengths=None):
        return self.gain * super().forward(mix, lengths)
"""

NETWORKS = {"lobes_test_stand_in.Tiny", "lobes_test_stand_in.Unsaved", "torch.nn.Linear", "torch.nn.ReLU"}
TINY = "!new:lobes_test_stand_in.Tiny {num_sources: !ref <num_spks>, sample_rate: !ref <sample_rate>}"


RECIPE = """
seed: 7
task: SB
task_description: separation of two speakers
limits: "The targets in training were dry speech: the output is dereverberated as well as denoised."
num_spks: 2
sample_rate: 8000
data_folder: /machine/PolSESS_mini
shared: !new:torch.nn.Linear [2, 2]
model:
    separator: SEPARATOR

# ---- modules ----
modules:
    separator: !ref <model[separator]>

# ---- optimiser ----
optimizer: !name:torch.optim.Adam
    lr: 0.001
"""


@pytest.fixture(scope="session", autouse=True)
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Make the stand-in networks importable, and allowed in a model's file as networks of Lobes are."""
    from lobes.runs import callables

    folder = tmp_path_factory.mktemp("stand_in")
    (folder / "lobes_test_stand_in.py").write_text(STAND_IN)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        for names, more in ((callables.NEW, NETWORKS), (callables.NAME, {"torch.nn.Hardtanh"})):
            names.update(more)
        yield
        callables.NEW.difference_update(NETWORKS)
        callables.NAME.discard("torch.nn.Hardtanh")


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a run folder: resolved YAML, and a checkpoint for each score."""

    def make(separator: str = TINY, scores: tuple[float | None, ...] = (1.5,), header: str = "") -> Path:
        import torch
        from hyperpyyaml import load_hyperpyyaml, resolve_references
        from speechbrain.utils.checkpoints import Checkpointer

        run = tmp_path / "run"
        resolved = resolve_references(RECIPE.replace("SEPARATOR", separator)).getvalue()
        (run / "save").mkdir(parents=True)
        (run / "hyperparams.yaml").write_text(header + resolved)
        for epoch, score in enumerate(scores, start=1):
            torch.manual_seed(epoch)
            network = load_hyperpyyaml(resolved)["modules"]["separator"]
            meta = {"epoch": epoch} | ({} if score is None else {"si_sdri": score})
            Checkpointer(run / "save", {"separator": network}).save_checkpoint(meta, name=f"{epoch}")
        return run

    return make


@pytest.fixture
def run(make_run: Callable[..., Path]) -> Path:
    """A run with one checkpoint."""
    return make_run()
