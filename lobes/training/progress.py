"""What a run remembers of its progress: the learning curve, the validation scores and when to stop."""

from __future__ import annotations

import csv
import json
import math
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

CURVE_COLUMNS = ("step", "seconds", "epoch", "train_loss", "valid_si_sdr", "valid_si_sdri", "grad_norm") + (
    "skipped",
    "lr",
)


class LearningCurve:
    """One CSV row per epoch, which survives a resume without double rows.

    Arguments
    ---------
    path : str or Path
        `learning_curve.csv` in the run folder.
    columns : sequence of str
        Its columns; `step` is one of them.

    Example
    -------
    >>> import tempfile
    >>> curve = LearningCurve(tempfile.mkdtemp() + "/curve.csv")
    >>> curve.add({"step": 1, "lr": 0.1}); curve.add({"step": 2, "lr": 0.1})
    >>> curve.forget_after(step=1)
    >>> [row["step"] for row in curve.rows()]
    ['1']
    """

    def __init__(self, path: str | Path, columns: Sequence[str] = CURVE_COLUMNS) -> None:
        self.path, self.columns = Path(path), tuple(columns)

    def rows(self) -> list[dict[str, str]]:
        """Read the rows written so far."""
        if not self.path.exists():
            return []
        with self.path.open(newline="") as file:
            return list(csv.DictReader(file))

    def add(self, row: dict[str, float]) -> None:
        """Append one row."""
        new = not self.path.exists()
        with self.path.open("a", newline="") as file:
            writer = csv.DictWriter(file, self.columns)
            if new:
                writer.writeheader()
            writer.writerow({key: f"{value:.6g}" for key, value in row.items()})

    def plot(self, columns: Sequence[str]) -> None:
        """Draw columns over the steps, one under the other, into a PNG beside the table."""
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt

        rows = self.rows()
        figure, axes = plt.subplots(len(columns), sharex=True, figsize=(6, 1.6 * len(columns)), layout="constrained")
        for axis, column in zip(axes, columns, strict=True):
            axis.plot([float(row["step"]) for row in rows], [float(row[column] or "nan") for row in rows], marker=".")
            axis.set_ylabel(column, fontsize=8)
        axes[-1].set_xlabel("step")
        figure.savefig(self.path.with_suffix(".png"), dpi=100)
        plt.close(figure)

    def forget_after(self, step: int) -> None:
        """Drop the rows of steps that a resumed run takes again."""
        kept = [row for row in self.rows() if int(float(row["step"])) <= step]
        partial = self.path.with_suffix(".partial")
        with partial.open("w", newline="") as file:
            writer = csv.DictWriter(file, self.columns)
            writer.writeheader()
            writer.writerows(kept)
        os.replace(partial, self.path)


class VariantMeter:
    """Mean of each score per variant, and the unweighted mean over variants.

    A non-finite score stays out of the means and is counted in `missing`.

    Example
    -------
    >>> meter = VariantMeter()
    >>> meter.add(["SE", "SE", "R"], si_sdr=[2.0, 4.0, 9.0], si_sdri=[1.0, 3.0, 6.0])
    >>> meter.mean("si_sdri")
    4.0
    """

    def __init__(self) -> None:
        self.scores: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        self.missing = 0

    def add(self, variants: Iterable[str], **scores: Iterable[float]) -> None:
        """Add one score per item; None or a missing improvement is given as NaN."""
        variants = list(variants)
        for name, values in scores.items():
            for variant, value in zip(variants, values, strict=True):
                if math.isfinite(value):
                    self.scores[name][variant].append(value)
                else:
                    self.missing += 1

    def per_variant(self, name: str) -> dict[str, float]:
        """Mean of each variant that has scores."""
        return {variant: sum(v) / len(v) for variant, v in sorted(self.scores[name].items())}

    def mean(self, name: str) -> float:
        """Unweighted mean over the variants; NaN if there is no score at all."""
        means = list(self.per_variant(name).values())
        return sum(means) / len(means) if means else math.nan


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
        """Take the metric of an epoch and tell whether to stop."""
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
        Path(path).write_text(json.dumps({"best": self.best, "epochs_without": self.epochs_without}))

    def load(self, path: str | Path, end_of_epoch: bool = True) -> None:
        """Read the state from a checkpoint file."""
        state = json.loads(Path(path).read_text())
        self.best, self.epochs_without = state["best"], state["epochs_without"]
