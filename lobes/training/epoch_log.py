"""Where the numbers of each epoch go: the learning curve, its picture, and TensorBoard or Weights & Biases."""

from __future__ import annotations

import hashlib
import importlib.util
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from lobes.errors import UserError, install
from lobes.runs import names
from lobes.training.progress import LearningCurve

TENSORBOARD, WANDB = "tensorboard", "wandb"  # values of the key train_logger, and the packages that they need
DRAW_S = 60.0  # between two pictures
PROJECT = "lobes"  # of Weights & Biases, unless WANDB_PROJECT names another


class TrainLogger(Protocol):
    """What takes the numbers of an epoch, in addition to the learning curve."""

    def add(self, row: Mapping[str, float]) -> None:
        """Take the numbers of an epoch; `step` is one of them."""

    def close(self) -> None:
        """Write what is left."""


class TensorBoardLogger:
    """Event files in the run folder's `tensorboard`: `tensorboard --logdir RUN` shows them.

    Arguments
    ---------
    folder : Path
        The run folder.
    step : int
        Steps that were trained before; numbers of later ones, which a stopped run has left, count no more.
    """

    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(folder / names.TENSORBOARD), purge_step=step + 1)

    def add(self, row: Mapping[str, float]) -> None:
        """Write the numbers of an epoch under their names in the learning curve."""
        for name, value in row.items():
            if name != "step":
                self.writer.add_scalar(name, value, int(row["step"]))
        self.writer.flush()

    def close(self) -> None:
        """Close the file."""
        self.writer.close()


class WandbLogger:
    """A run of Weights & Biases in the run folder's `wandb`. It stays on this machine unless WANDB_MODE says online.

    Arguments
    ---------
    folder : Path
        The run folder, which is also what a resumed run is recognised by.
    settings : mapping
        The plain keys of the recipe.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        import wandb

        self.run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT), name=settings.get("experiment_name"), dir=str(folder),
            config=dict(settings), mode=os.environ.get("WANDB_MODE", "offline"), id=_id_of(folder), resume="allow",
        )  # fmt: skip

    def add(self, row: Mapping[str, float]) -> None:
        """Write the numbers of an epoch under their names in the learning curve."""
        self.run.log(dict(row), step=int(row["step"]))

    def close(self) -> None:
        """End the run."""
        self.run.finish()


class EpochLog:
    """Take the numbers of each epoch; the first process of a training has one.

    Arguments
    ---------
    curve : LearningCurve
        Always written; drawn after the first epoch, then once a minute, and at the end.
    kind : str, optional
        tensorboard, wandb or None.
    settings : mapping
        The recipe's keys; those that are plain values are noted.

    Example
    -------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> log = EpochLog(LearningCurve(folder / "learning_curve.csv"), None, {})
    >>> log.begin(0); log.add({"step": 4, "epoch": 1, "train_loss": 0.5, "valid_si_sdri": 3.0}); log.end()
    >>> sorted(path.name for path in folder.iterdir())
    ['learning_curve.csv', 'learning_curve.png']
    """

    def __init__(self, curve: LearningCurve, kind: str | None, settings: Mapping[str, Any]) -> None:
        self.curve, self.kind = curve, kind
        self.settings = {key: value for key, value in settings.items() if isinstance(value, str | int | float | list)}
        self.logger: TrainLogger | None = None
        self._drawn, self._is_fresh = -math.inf, False  # when the picture was drawn, and whether it shows all

    def begin(self, step: int) -> None:
        """Open the logger; `step` is the number of steps that were trained before."""
        folder = self.curve.path.parent
        if self.kind == TENSORBOARD:
            self.logger = TensorBoardLogger(folder, step)
        elif self.kind == WANDB:
            self.logger = WandbLogger(folder, self.settings)

    def add(self, row: Mapping[str, float]) -> None:
        """Take the numbers of an epoch."""
        self.curve.add(row)
        if self.logger is not None:
            self.logger.add(row)
        self._is_fresh = False
        if time.monotonic() - self._drawn > DRAW_S:
            self._draw()

    def end(self) -> None:
        """Draw the whole curve, and close the logger."""
        if not self._is_fresh:
            self._draw()
        if self.logger is not None:
            self.logger.close()

    def _draw(self) -> None:
        self.curve.plot()
        self._drawn, self._is_fresh = time.monotonic(), True


def check_train_logger(kind: str | None) -> None:
    """Look whether the package of a logger is there.

    Raises
    ------
    UserError
        If it is not.

    Example
    -------
    >>> check_train_logger(None)
    """
    if kind is not None and importlib.util.find_spec(kind) is None:
        how = install(extra="track") if kind == TENSORBOARD else "pip install wandb"
        raise UserError(f"train_logger: {kind} is not installed: {how}")


def _id_of(folder: Path) -> str:
    """The same for all starts of a run: its first start names it, and its place."""
    starts = folder / names.STARTS
    first = starts.read_bytes().partition(b"\n")[0] if starts.is_file() else b""
    return hashlib.sha256(str(folder.resolve()).encode() + first).hexdigest()[:16]
