"""A fair race: models that trained on one corpus with one budget, in one table and one picture. T samples."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from lobes.reports.tables import as_markdown, show
from lobes.runs.record import Outcome, number

HEADER = ("model", "SI-SDRi [95 %]", "by seed", "parameters", "GMAC/s", "RTF", "s/step", "steps", "peak MB")
UNITS = (
    "SI-SDRi in dB: mean over the test utterances after the mean over seeds, with its 95 % interval by bootstrap over "
    "utterances; it says nothing about other seeds, which stand beside it. GMAC/s: for one second of audio, scans "
    "included. RTF: seconds to separate one second, of ten, on the threads of the training. Peak: of the whole process "
    "that trained."
)
DRAWS = 2000
RTF_SECONDS = 10.0


@dataclass(frozen=True)
class Entry:
    """A model's line: its scores by utterance and what it costs."""

    label: str
    gains: np.ndarray  # SI-SDRi of each utterance, mean over the seeds
    by_seed: Sequence[float]
    parameters: int
    gmacs: float  # for one second of audio
    rtf: float
    seconds_per_step: float
    steps: int
    peak_megabytes: float

    @property
    def interval(self) -> tuple[float, float, float]:
        """Mean and 95 % interval over utterances."""
        return bootstrap(self.gains)


def bootstrap(values: np.ndarray, draws: int = DRAWS) -> tuple[float, float, float]:
    """Mean of the values, and the 2.5 and 97.5 % points of the means of drawn samples; the same draws every time.

    Example
    -------
    >>> mean, low, high = bootstrap(np.arange(100.0))
    >>> low < mean == 49.5 < high
    True
    """
    generator = np.random.default_rng(0)
    means = values[generator.integers(len(values), size=(draws, len(values)))].mean(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(values.mean()), float(low), float(high)


def entry(label: str, outcomes: Sequence[Outcome], model: Any, threads: int) -> Entry:
    """Make a model's line from its runs, one for each seed, and its network.

    Only utterances count that every seed has a SI-SDRi for.
    """
    scores = [gains_of(outcome) for outcome in outcomes]
    common = sorted(set.intersection(*(set(found) for found in scores)))
    facts = [outcome.train_time for outcome in outcomes]
    gmacs, rtf = cost_of(model, threads)
    return Entry(
        label,
        np.array([fmean(found[item] for found in scores) for item in common]),
        [fmean(found[item] for item in common) for found in scores],
        int(facts[0]["parameters"]),
        gmacs,
        rtf,
        fmean(float(fact["seconds"]) / max(1, int(fact["steps"])) for fact in facts),
        round(fmean(int(fact["steps"]) for fact in facts)),
        max(float(fact["peak_megabytes"]) for fact in facts),
    )


def gains_of(outcome: Outcome) -> dict[tuple[str, str], float]:
    """The finite SI-SDRi of a run by (id, variant)."""
    gains = {(row["id"], row["variant"]): number(row["si_sdri"]) for row in outcome.utterances}
    return {item: gain for item, gain in gains.items() if np.isfinite(gain)}


def cost_of(model: Any, threads: int) -> tuple[float, float]:
    """GMAC for a second of audio, and the real-time factor on so many threads (0: as they are)."""
    import torch

    from lobes.evaluation.complexity import count

    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        return count(model).total / 1e9, real_time_factor(model)
    finally:
        torch.set_num_threads(before)


def real_time_factor(model: Any, seconds: float = RTF_SECONDS, repeats: int = 3) -> float:
    """Least time of some repeats to separate so many seconds of noise, over those seconds."""
    import torch

    mix = torch.randn(1, int(seconds * model.sample_rate))
    times = []
    with torch.no_grad():
        for _ in range(repeats + 1):  # the first one compiles
            start = time.perf_counter()
            model(mix)
            times.append(time.perf_counter() - start)
    return min(times[1:]) / seconds


def as_table(entries: Sequence[Entry]) -> str:
    """The race as a Markdown table, the best first."""
    return as_markdown(HEADER, [row(e) for e in sorted(entries, key=lambda e: -e.interval[0])])


def row(e: Entry) -> list[str]:
    """A model's cells under `HEADER`."""
    mean, low, high = e.interval
    seeds = " / ".join(show(value) for value in e.by_seed)
    costs = [f"{e.parameters:,}", show(e.gmacs), show(e.rtf, 3), show(e.seconds_per_step, 3), str(e.steps)]
    return [e.label, f"{mean:.2f} [{low:.2f}, {high:.2f}]", seeds, *costs, f"{e.peak_megabytes:.0f}"]


def plot(entries: Sequence[Entry], path: Path, titles: Mapping[str, str]) -> None:
    """Draw SI-SDRi, with its interval, against GMAC/s; `titles` has "title" and "budget"."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for e in entries:
        mean, low, high = e.interval
        axis.errorbar(e.gmacs, mean, yerr=[[mean - low], [high - mean]], fmt="o", capsize=3)
        axis.annotate(e.label, (e.gmacs, mean), xytext=(6, 4), textcoords="offset points", fontsize=8)
    axis.set(xscale="log", xlabel="GMAC for one second of audio", ylabel="SI-SDRi in dB, 95 % over utterances")
    axis.set_title(f"{titles['title']}, {titles['budget']}", fontsize=10)
    axis.grid(alpha=0.3)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
