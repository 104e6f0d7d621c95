"""A sweep as a picture: how much each key matters, and every trial as a line through its values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from optuna.study import Study
from optuna.trial import FrozenTrial

from lobes.reports.figures import as_svg, new_figure
from lobes.reports.tables import short_labels
from lobes.sweep.space import SearchList, SearchRange
from lobes.sweep.sweep_file import Sweep
from lobes.sweep.table import score_of_trial, trained

LEAST = 2  # trained trials, below which there is nothing to compare
COLORS = "viridis"
LONGEST = 18  # letters of a label


def as_picture(sweep: Sweep, study: Study) -> str | None:
    """Draw a sweep: an SVG file, or None where fewer than two trials were trained to their end."""
    trials = trained(study)
    if len(trials) < LEAST:
        return None
    with new_figure(5.5 + 1.5 * len(sweep.search), 3.6) as figure:
        left, right = figure.subplots(1, 2, width_ratios=[2.2, 1 + 1.5 * len(sweep.search)])
        _draw_importance(left, importance(sweep, study))
        _draw_lines(figure, right, sweep, trials)
        figure.suptitle(f"{sweep.name}: {len(trials)} trials", parse_math=False, fontsize=10)
        return as_svg(figure, sweep.name)


def importance(sweep: Sweep, study: Study) -> dict[str, float]:
    """How much each key decides whether a trial is among the best, as shares of 1 (PED-ANOVA, arXiv 2304.10255)."""
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    varied = [key for key in sweep.search if len({trial.params[key] for trial in trained(study)}) > 1]
    if not varied:
        return dict.fromkeys(sweep.search, 0.0)
    found = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator(), params=varied)
    return {key: float(np.nan_to_num(found.get(key, 0.0))) for key in sweep.search}


def place_of(space: SearchRange | SearchList, value: Any) -> float:
    """Where a value lies on its axis, from 0 to 1.

    Example
    -------
    >>> place_of(SearchRange(1e-4, 1e-2, log=True), 1e-3), place_of(SearchList(("a", "b", "c")), "b")
    (0.5, 0.5)
    """
    if isinstance(space, SearchList):
        return space.values.index(value) / max(1, len(space.values) - 1)
    low, high, here = (math.log(one) if space.log else one for one in (space.low, space.high, value))
    return round((here - low) / (high - low), 9)


def _draw_importance(axes: Any, shares: dict[str, float]) -> None:
    keys = sorted(shares, key=lambda key: shares[key])
    names = short_labels(keys, LONGEST)
    axes.barh(range(len(keys)), [shares[key] for key in keys], color="0.6", height=0.6)
    axes.set_yticks(range(len(keys)), [names[key] for key in keys], parse_math=False)
    axes.set_xlim(0, 1)
    axes.set_xlabel("importance")
    axes.spines[["top", "right"]].set_visible(False)


def _draw_lines(figure: Any, axes: Any, sweep: Sweep, trials: list[FrozenTrial]) -> None:
    """One line for each trial over the axes of the keys, the best one last and thick."""
    scores = [score_of_trial(trial) for trial in trials]
    colors = ScalarMappable(Normalize(min(scores), max(scores)), colormaps[COLORS])
    for trial, score in reversed(list(zip(trials, scores, strict=True))):
        places = [place_of(space, trial.params[key]) for key, space in sweep.search.items()]
        best = trial is trials[0]
        color, width, mark = colors.to_rgba(np.array(score)), 3 if best else 1, "o" if best else "."
        axes.plot(places, color=color, linewidth=width, marker=mark)
    _draw_axes(axes, sweep)
    figure.colorbar(colors, ax=axes, label="score; the thick line is the best trial")


def _draw_axes(axes: Any, sweep: Sweep) -> None:
    names = short_labels(list(sweep.search), LONGEST)
    axes.set_xticks(range(len(sweep.search)), [names[key] for key in sweep.search], parse_math=False)
    axes.set_xlim(-0.3, len(sweep.search) - 0.3)
    axes.set_ylim(-0.08, 1.08)
    axes.set_yticks([])
    axes.spines[["top", "right", "left", "bottom"]].set_visible(False)
    for place, space in enumerate(sweep.search.values()):
        axes.axvline(place, color="0.8", linewidth=1, zorder=0)
        ends = space.ends() if isinstance(space, SearchList) else [f"{space.low:.4g}", f"{space.high:.4g}"]
        for end, text in enumerate(ends):
            height = end / max(1, len(ends) - 1)
            label = short_labels([text], LONGEST)[text]
            name = axes.annotate(label, (place, height), (5, 3), textcoords="offset points", fontsize=7, zorder=4)
            name.set(parse_math=False, bbox={"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.5})
