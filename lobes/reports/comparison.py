"""A comparison of models that trained on one corpus with one budget: one table and one picture of finished runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Any

import numpy as np

from lobes.evaluation.clusters import Clusters, estimate
from lobes.reports.tables import as_markdown, percent, short_labels, show
from lobes.runs.record import Outcome

METRICS = {"si_sdr": ("SI-SDR", 2), "pesq": ("PESQ", 2), "stoi": ("STOI", 3)}  # heading and digits
GAINS = {"si_sdri": ("SI-SDRi", 2, " in dB"), "pesq": ("PESQ gain", 2, ""), "stoi": ("STOI gain", 3, "")}  # and units
QUALITY = [heading for name, _ in METRICS.values() for heading in (name, f"{name} up")]
COSTS = ("parameters", "GMAC/s", "RTF", "s/step", "steps", "peak MB")
INPUT = "mixture as it is"
LONGEST = 32  # letters of a name in the picture
UNITS = (
    "{gain}, output minus mixture: mean over the test utterances after the mean over seeds, with its 95 % interval by "
    "a bootstrap of speakers and seeds; each seed has its own mean in the next column. "
    "SI-SDR, PESQ and STOI: of the output, means over the same utterances; up: share of them above the mixture. "
    "GMAC/s: for one second of audio, scans included. RTF: seconds to separate one second, of ten, on the threads of "
    "the training. Peak: of the whole process that trained."
)


@dataclass(frozen=True)
class Quality:
    """Means of a metric of input and output over the same utterances, and the share of outputs that are higher."""

    input: float
    output: float
    up: float


@dataclass(frozen=True)
class ComparedModel:
    """A model's line of the comparison: its scores by utterance and what it costs."""

    label: str
    gains: np.ndarray  # of each utterance in `measure`, mean over the seeds
    speakers: Sequence[tuple[str, ...]]  # of each utterance
    by_seed: Sequence[float]
    parameters: int
    gmacs: float  # for one second of audio
    rtf: float
    seconds_per_step: float
    steps: int
    peak_megabytes: float
    quality: Mapping[str, Quality]  # by metric
    measure: str = "si_sdri"  # of `GAINS`

    @cached_property
    def interval(self) -> tuple[float, float, float]:
        """Mean and 95 % interval over speakers and seeds."""
        found = estimate(self.gains, Clusters(self.speakers), None, [np.array(self.by_seed)])
        return found.mean, found.low, found.high


def compared_model(
    label: str, outcomes: Sequence[Outcome], gmacs: float, rtf: float, measure: str = "si_sdri"
) -> ComparedModel:
    """Make a model's line from its finished runs, one for each seed.

    Only utterances count that every seed has a gain for.

    Arguments
    ---------
    label : str
        The model's name in table and picture.
    outcomes : sequence of Outcome
        One for each seed.
    gmacs, rtf : float
        10^9 multiply-accumulates for one second of audio, and the real-time factor.
    measure : str
        One of `GAINS`, by which the comparison is ordered.
    """
    scores = [gains_of(outcome, measure) for outcome in outcomes]
    common = sorted(set.intersection(*(set(found) for found in scores)))
    facts = [outcome.train_time for outcome in outcomes]
    return ComparedModel(
        label,
        np.array([fmean(found[item] for found in scores) for item in common]),
        speakers_of(outcomes[0], common),
        [fmean(found[item] for item in common) for found in scores],
        int(facts[0]["parameters"]),
        gmacs,
        rtf,
        fmean(float(fact["seconds"]) / max(1, int(fact["steps"])) for fact in facts),
        round(fmean(int(fact["steps"]) for fact in facts)),
        max(float(fact["peak_megabytes"]) for fact in facts),
        {name: quality_of(outcomes, common, name) for name in METRICS},
        measure,
    )


def gains_of(outcome: Outcome, measure: str) -> dict[str, float]:
    """The finite gains of a run by utterance: output minus mixture, which SI-SDRi itself is."""
    inputs = {row["id"]: row.get(f"{measure}_in", np.nan) if measure in METRICS else 0.0 for row in outcome.utterances}
    gains = {row["id"]: row[measure] - inputs[row["id"]] for row in outcome.utterances}
    return {item: gain for item, gain in gains.items() if np.isfinite(gain)}


def speakers_of(outcome: Outcome, items: Sequence[str]) -> list[tuple[str, ...]]:
    """The speakers of items; an item whose speakers are not known stands for itself."""
    found = {row["id"]: tuple(filter(None, row.get("speaker", "").split("+"))) for row in outcome.utterances}
    return [found[item] or (f"utterance {item}",) for item in items]


def quality_of(outcomes: Sequence[Outcome], items: Sequence[str], metric: str) -> Quality:
    """A metric over those of the items that have it, of all seeds; NaN where there are none."""
    chosen = set(items)
    rows = [row for outcome in outcomes for row in outcome.utterances if row["id"] in chosen]
    pairs = np.array([(row.get(f"{metric}_in", np.nan), row.get(metric, np.nan)) for row in rows]).reshape(-1, 2)
    pairs = pairs[np.isfinite(pairs).all(1)]
    if not len(pairs):
        return Quality(np.nan, np.nan, np.nan)
    before, after = pairs.T
    return Quality(float(before.mean()), float(after.mean()), float((after > before).mean()))


def as_table(models: Sequence[ComparedModel]) -> str:
    """The comparison as a Markdown table: the untouched mixture, then the models, the best first."""
    best_first = sorted(models, key=lambda model: -model.interval[0])
    header = ("model", f"{GAINS[best_first[0].measure][0]} [95 %]", "by seed", *QUALITY, *COSTS)
    return as_markdown(header, [input_cells(best_first[0]), *map(cells, best_first)])


def units(measure: str) -> str:
    """What the columns of the table say.

    Example
    -------
    >>> units("pesq")[:40]
    'PESQ gain, output minus mixture: mean ov'
    """
    heading, _, unit = GAINS[measure]
    return UNITS.format(gain=heading + unit)


def input_cells(model: ComparedModel) -> list[str]:
    """The cells of the mixture, which is the same for all models."""
    of = {name: show(quality.input, METRICS[name][1]) for name, quality in model.quality.items()}
    nothing = show(0.0, GAINS[model.measure][1])
    return [INPUT, nothing, "", *(cell for name in METRICS for cell in (of[name], "")), *("" for _ in COSTS)]


def cells(model: ComparedModel) -> list[str]:
    """A model's cells under the header of `as_table`."""
    digits = GAINS[model.measure][1]
    mean, low, high = (show(value, digits) for value in model.interval)
    seeds = " / ".join(show(value, digits) for value in model.by_seed)
    costs = [f"{model.parameters:,}", show(model.gmacs), show(model.rtf, 3), show(model.seconds_per_step, 3)]
    gain = [f"{mean} [{low}, {high}]", seeds]
    found = [(model.quality[name], places) for name, (_, places) in METRICS.items()]
    quality = [cell for of, places in found for cell in (show(of.output, places), percent(of.up))]
    return [model.label, *gain, *quality, *costs, str(model.steps), f"{model.peak_megabytes:.0f}"]


def as_picture(models: Sequence[ComparedModel], title: str) -> str:
    """Draw the gain, with its interval and its seeds, against GMAC/s: an SVG file."""
    from lobes.reports.figures import as_svg, new_figure  # here, because a command line should not wait for matplotlib

    with new_figure(7, 4.5) as figure:
        draw(figure, models, title)
        return as_svg(figure, title)


def draw(figure: Any, models: Sequence[ComparedModel], title: str) -> None:
    """Draw on an empty figure: a point with its interval for each model, dots for its seeds, names within the axes."""
    axes = figure.add_subplot(xscale="log", xlabel="GMAC for one second of audio")
    heading, _, unit = GAINS[models[0].measure]
    axes.set_ylabel(f"{heading}{unit}, 95 % over speakers and seeds;\ndots: the seeds", fontsize=9)
    axes.set_title(title, parse_math=False)
    axes.grid(alpha=0.3)
    axes.margins(x=0.12, y=0.12)
    shown = short_labels([model.label for model in models], LONGEST)
    names, dots = [], []
    for model in models:
        mean, low, high = model.interval
        point = axes.errorbar(model.gmacs, mean, yerr=[[mean - low], [high - mean]], fmt="o", capsize=3)
        seeds = [model.gmacs] * len(model.by_seed)
        color = point[0].get_color()
        dots.append(axes.scatter(seeds, model.by_seed, s=16, color=color, edgecolors="none", zorder=3))
        name = axes.annotate(shown[model.label], (model.gmacs, mean), (0, 0), textcoords="offset points", fontsize=8)
        name.set(parse_math=False, in_layout=False)  # names take no space from the axes
        names.append(name)
    _place(figure, axes, names, dots)


def _place(figure: Any, axes: Any, names: Sequence[Any], dots: Sequence[Any]) -> None:
    """Put each name on the side of its point with more space, on no other name, and the seeds on the other side."""
    from matplotlib.transforms import ScaledTranslation

    figure.draw_without_rendering()
    inside = axes.get_window_extent()
    placed: list[Any] = []
    for name, seeds in sorted(zip(names, dots, strict=True), key=lambda pair: -pair[0].xy[1]):
        x, y = axes.transData.transform(name.xy)
        left = x > (inside.x0 + inside.x1) / 2
        name.set(ha="right" if left else "left", va="center")
        aside = ScaledTranslation((6 if left else -6) / 72, 0, figure.dpi_scale_trans)
        seeds.set_offset_transform(axes.transData + aside)
        for height in sorted(range(-300, 300, 2), key=lambda one: abs(one - 4)):  # points
            name.set_position((-8 if left else 8, height))
            box = name.get_window_extent()
            if inside.y0 < box.y0 and box.y1 < inside.y1 and not any(box.overlaps(other) for other in placed):
                break
        placed.append(box)
