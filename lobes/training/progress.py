"""The progress of a run: its learning curve, its validation scores and when to stop."""

from __future__ import annotations

import csv
import json
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from io import StringIO
from pathlib import Path
from typing import Any

from lobes.data.files import replacing, write_whole
from lobes.errors import UserError


class LearningCurve:
    """`learning_curve.csv`: one row per epoch, which survives a resume without double rows.

    The columns are those of the rows: a new one, such as a further part of the loss, is added when it first appears.

    Example
    -------
    >>> import tempfile
    >>> curve = LearningCurve(tempfile.mkdtemp() + "/curve.csv")
    >>> curve.add({"epoch": 1, "lr": 0.1}); curve.add({"epoch": 2, "lr": 0.1, "train_phase": 0.5})
    >>> curve.rows()
    [{'epoch': '1', 'lr': '0.1', 'train_phase': ''}, {'epoch': '2', 'lr': '0.1', 'train_phase': '0.5'}]
    >>> curve.keep_until(epoch=1)
    >>> [row["epoch"] for row in curve.rows()]
    ['1']
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def rows(self) -> list[dict[str, str]]:
        """Read the rows written so far."""
        if not self.path.exists():
            return []
        with self.path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def add(self, row: Mapping[str, float]) -> None:
        """Append one row; it has the numbers `epoch` and `step`."""
        self._write([*self.rows(), {key: f"{value:.6g}" for key, value in row.items()}])

    def keep_until(self, epoch: int) -> None:
        """Drop the rows of epochs that a resumed run ends again.

        Raises
        ------
        UserError
            If the file is no learning curve any more.
        """
        try:
            rows = self.rows()
            kept = [row for row in rows if int(float(row["epoch"])) <= epoch]
        except (ValueError, TypeError, OverflowError, KeyError, csv.Error) as error:
            raise UserError(
                f"{self.path}: is no learning curve of a training, which has a number in the column epoch of each row. "
                "Bring it back from a copy, or move it away: then the next epoch begins a new one."
            ) from error
        if kept != rows:
            self._write(kept)

    def plot(self) -> None:
        """Draw the losses and the scores of validation over the steps into a PNG next to the table."""
        from matplotlib.figure import Figure

        rows = self.rows()
        columns = [name for name in dict.fromkeys(key for row in rows for key in row) if _is_drawn(name)]
        if not columns:
            return
        figure = Figure(figsize=(6, 0.6 + 1.5 * len(columns)), layout="constrained")
        for axis, column in zip(figure.subplots(len(columns), sharex=True, squeeze=False)[:, 0], columns, strict=True):
            values = [float(row.get(column) or "nan") for row in rows]
            axis.plot([float(row["step"]) for row in rows], values, marker=".")
            axis.set_ylabel(column, fontsize=8)
        axis.set_xlabel("step")
        with replacing(self.path.with_suffix(".png")) as partial:
            figure.savefig(partial, dpi=100, format="png")

    def _write(self, rows: list[dict[str, str]]) -> None:
        columns = list(dict.fromkeys(key for row in rows for key in row))
        text = StringIO(newline="")
        writer = csv.DictWriter(text, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
        write_whole(self.path, text.getvalue())


def _is_drawn(column: str) -> bool:
    return column == "train_loss" or column.startswith("valid_")


class TrainLog:
    """`train_log.txt`: one line for each epoch, in words, which survives a resume without double lines.

    Example
    -------
    >>> import tempfile
    >>> log = TrainLog(tempfile.mkdtemp() + "/train_log.txt")
    >>> log.add("epoch 1, step 4: good"); log.add("epoch 2, step 8: better")
    >>> log.keep_until(epoch=1)
    >>> log.path.read_text()
    'epoch 1, step 4: good\\n'
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def add(self, line: str) -> None:
        """Append one line, which begins with `epoch` and its number."""
        write_whole(self.path, self._text() + line + "\n")

    def keep_until(self, epoch: int) -> None:
        """Drop the lines of epochs that a resumed run ends again."""
        text = self._text()
        kept = "".join(line for line in text.splitlines(keepends=True) if _epoch_of(line) <= epoch)
        if kept != text:
            write_whole(self.path, kept)

    def _text(self) -> str:
        return self.path.read_text(encoding="utf-8", errors="surrogateescape") if self.path.is_file() else ""


def _epoch_of(line: str) -> int:
    """The epoch of a line of the log; 0 of somebody's own line, which stays."""
    found = re.match(r"epoch (\d+),", line)
    return int(found[1]) if found else 0


class GroupMeter:
    """Mean of each score per group, and the unweighted mean over the groups.

    A non-finite score stays out of the means and is counted in `missing`.

    Example
    -------
    >>> meter = GroupMeter()
    >>> meter.add(["SE", "SE", "R"], si_sdr=[2.0, 4.0, 9.0], si_sdri=[1.0, 3.0, 6.0])
    >>> meter.mean("si_sdri")
    4.0
    """

    def __init__(self) -> None:
        self.scores: dict[str, dict[str, list[float]]] = defaultdict(_lists)  # ranks send it to each other
        self.missing = 0

    def add(self, groups: Iterable[str], **scores: Iterable[float]) -> None:
        """Add one score per item; None or a missing improvement is given as NaN."""
        groups = list(groups)
        for name, values in scores.items():
            for group, value in zip(groups, values, strict=True):
                if math.isfinite(value):
                    self.scores[name][group].append(value)
                else:
                    self.missing += 1

    def take(self, other: GroupMeter) -> None:
        """Take the scores of another meter, too, as of another rank."""
        self.missing += other.missing
        for name, groups in other.scores.items():
            for group, values in groups.items():
                self.scores[name][group] += values

    @property
    def missing_in_words(self) -> str:
        """How many scores are missing, to be put behind the means; nothing where all are there."""
        return f", {self.missing} numbers missing" if self.missing else ""

    def per_group(self, name: str) -> dict[str, float]:
        """Mean of each group that has scores; their order, which ranks change, does not count."""
        return {group: math.fsum(v) / len(v) for group, v in sorted(self.scores[name].items())}

    def mean(self, name: str) -> float:
        """Unweighted mean over the groups; NaN if there is no score at all."""
        means = list(self.per_group(name).values())
        return sum(means) / len(means) if means else math.nan


def _lists() -> dict[str, list[float]]:
    return defaultdict(list)


class EarlyStopping:
    """Stop after `patience` epochs without a better metric (higher is better; NaN is never better).

    Example
    -------
    >>> stopping = EarlyStopping(patience=2)
    >>> [stopping.update(metric) for metric in (1.0, math.nan, 0.5)]
    [False, False, True]
    """

    def __init__(self, patience: int | None) -> None:
        self.patience = patience
        self.best = -math.inf
        self.epochs_without = 0

    def update(self, metric: float) -> bool:
        """Take the metric of an epoch and return whether to stop."""
        if metric > self.best:
            self.best, self.epochs_without = metric, 0
        else:
            self.epochs_without += 1
        return self.exhausted

    @property
    def exhausted(self) -> bool:
        """Whether the patience is used up."""
        return self.patience is not None and self.epochs_without >= self.patience

    def save(self, path: str | Path) -> None:
        """Write the state to a checkpoint file."""
        write_whole(path, json.dumps({"best": self.best, "epochs_without": self.epochs_without}))

    def load(self, path: str | Path, end_of_epoch: bool = True) -> None:
        """Read the state from a checkpoint file."""
        state: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
        self.best, self.epochs_without = state["best"], state["epochs_without"]
