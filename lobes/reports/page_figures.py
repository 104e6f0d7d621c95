"""Pictures of an evaluation: how scores are distributed, and what is gained at which level of the input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from lobes.evaluation.clusters import Estimate
from lobes.reports.figures import PAGE_STYLE, SOFT, for_page, new_figure
from lobes.reports.looks import Look
from lobes.reports.tables import short_labels

FEWEST_OF_A_DENSITY = 10  # different values; fewer are drawn one by one
WIDTH = 4.2  # in inches: letters have a size that suits a phone
ROW_INCHES, HALF_HEIGHT = 0.42, 0.4  # of a system in inches, and of the widest place of a violin in rows
WIDE_INTERVALS = 1.5  # intervals are cut at so many ranges of the means beyond these: few speakers make long ones


def distributions_svg(scores: Mapping[str, np.ndarray], looks: Mapping[str, Look], x_label: str, name: str) -> str:
    """Draw a violin for each system with its median and the middle half, one above the other.

    Arguments
    ---------
    scores : mapping
        Label -> scores [N]; NaN are left out.
    looks : mapping
        Label -> colour and mark.
    x_label, name : str
        The name of the axis, and one that no other picture of the page has.

    Returns
    -------
    str
        An `<svg>` element.

    Example
    -------
    >>> from lobes.reports.looks import looks_of
    >>> svg = distributions_svg({"a model": np.arange(20.0)}, looks_of(["a model"], None), "PESQ", "PESQ")
    >>> svg[:4], ">a model</text>" in svg
    ('<svg', True)
    """
    short = short_labels(list(scores))
    with new_figure(WIDTH, 0.8 + ROW_INCHES * len(scores), PAGE_STYLE) as figure:
        axes = figure.add_subplot(xlabel=x_label)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.grid(axis="x", clip_on=False)
        axes.set_axisbelow(True)
        for place, (label, values) in enumerate(scores.items()):
            _violin(axes, values[np.isfinite(values)], -place, looks[label])
        axes.set_yticks([-place for place in range(len(scores))], [short[label] for label in scores])
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(-len(scores) + 0.45, 0.55)
        return for_page(figure, name)


def gains_svg(
    gains: Mapping[str, Sequence[tuple[float, Estimate]]],
    looks: Mapping[str, Look],
    x_label: str,
    y_label: str,
    name: str,
) -> str:
    """Draw what systems gain against the level of the input, with intervals; zero is the untouched input.

    Arguments
    ---------
    gains : mapping
        Label -> points: the level, and the mean gain with its interval; means that are not finite are left out.
    looks : mapping
        Label -> colour and mark.
    x_label, y_label, name : str
        The names of the axes, and one that no other picture of the page has.

    Returns
    -------
    str
        An `<svg>` element.

    Example
    -------
    >>> from lobes.reports.looks import looks_of
    >>> points = [(0.0, Estimate(1.0, 0.5, 1.5, 0.1)), (5.0, Estimate(0.5, 0.1, 0.9, 0.1))]
    >>> gains_svg({"a": points}, looks_of(["a"], None), "input in dB", "gain", "gain")[:4]
    '<svg'
    """
    with new_figure(WIDTH, 2.8, PAGE_STYLE) as figure:
        axes = figure.add_subplot(xlabel=x_label, ylabel=y_label)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", clip_on=False)
        axes.axhline(0, color=SOFT, linewidth=1, linestyle=(0, (4, 3)), clip_on=False)
        levels = [level for points in gains.values() for level, _ in points]
        step = float(np.ptp(levels)) / 150 if levels else 0.0  # so that intervals at one level do not hide each other
        low, high = _limits([one for points in gains.values() for _, one in points])
        for place, (label, points) in enumerate(gains.items()):
            shift = step * (place - (len(gains) - 1) / 2)
            _line(axes, [(level + shift, one) for level, one in points], looks[label], low, high)
        axes.set_ylim(low, high)
        return for_page(figure, name)


def _violin(axes: Any, values: np.ndarray, place: float, look: Look) -> None:
    if not len(values):
        return
    if len(np.unique(values)) < FEWEST_OF_A_DENSITY:
        axes.plot(values, np.full(len(values), place), linestyle="", marker="|", color=look.drawn, clip_on=False)
    else:
        x = np.linspace(values.min(), values.max(), 64)
        density = stats.gaussian_kde(values)(x)
        height = HALF_HEIGHT * density / density.max()
        axes.fill_between(x, place - height, place + height, color=look.drawn, alpha=0.3, linewidth=0, clip_on=False)
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    axes.plot([low, high], [place, place], color=look.drawn, linewidth=2.5, clip_on=False)
    axes.plot([middle], [place], marker=look.marker, markersize=8, color=look.drawn, clip_on=False)


def _limits(estimates: Sequence[Estimate]) -> tuple[float, float]:
    """The ends of the vertical axis: zero, all means, and intervals that are not far longer than the means differ."""
    means = np.array([0.0, *(one.mean for one in estimates if np.isfinite(one.mean))])
    room = WIDE_INTERVALS * max(float(np.ptp(means)), 1e-6)
    ends = [end for one in estimates for end in (one.low, one.high) if np.isfinite(end)]
    low = max(means.min() - room, min([*ends, means.min()]))
    high = min(means.max() + room, max([*ends, means.max()]))
    margin = 0.05 * max(high - low, 1e-6)
    return low - margin, high + margin


def _line(axes: Any, points: Sequence[tuple[float, Estimate]], look: Look, low: float, high: float) -> None:
    shown = [(x, one) for x, one in points if np.isfinite(one.mean)]
    if not shown:
        return
    x = np.array([level for level, _ in shown])
    mean = np.array([one.mean for _, one in shown])
    ends = [np.clip([one[1 + side] for _, one in shown], low, high) for side in (0, 1)]
    ends = [np.where(np.isfinite(end), end, mean) for end in ends]
    axes.vlines(x, *ends, color=look.drawn, linewidth=1.2, alpha=0.7, clip_on=False)
    axes.plot(x, mean, color=look.drawn, marker=look.marker, markersize=6, linewidth=1.4, clip_on=False)
