"""The pictures of an evaluation's page, each with its caption and with what it shows in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lobes.evaluation.comparison import GAINS
from lobes.reports.looks import Look
from lobes.reports.measure_names import digits, direction, heading, listed, upwards, with_unit
from lobes.reports.page_figures import distributions_svg, gains_svg
from lobes.reports.page_scores import Scores
from lobes.reports.tables import show

LEVEL_AXIS = "SI-SDR of the input in dB"


@dataclass(frozen=True)
class Picture:
    """A picture, its caption, and what it shows in words."""

    caption: str
    words: str
    svg: str


def distributions(scores: Scores, looks: Mapping[str, Look]) -> list[Picture]:
    """How each measure is distributed over the utterances, for each system that has it."""
    return [_distribution(scores, measure, looks) for measure in _known(scores)]


def gains(scores: Scores, looks: Mapping[str, Look]) -> list[Picture]:
    """What each measure gains over the untouched input, by the input's level; nothing where that is unknown."""
    return [found for measure in _known(scores) if (found := _gain(scores, measure, looks))]


def _distribution(scores: Scores, measure: str, looks: Mapping[str, Look]) -> Picture:
    shown = [label for label in scores.labels if scores.has(label, measure)]
    shown = [label for label in shown if label != scores.reference or measure not in GAINS.values()]
    values = {label: scores.of(label, measure) for label in shown}
    medians = [f"{label} {show(float(np.nanmedian(values[label])), digits(measure))}" for label in shown]
    svg = distributions_svg(values, looks, with_unit(measure), f"distribution of {measure}")
    words = f"Distributions of {heading(measure)}. Medians: {', '.join(medians)}."
    return Picture(f"{heading(measure)}, {direction(measure)}", words, svg)


def _gain(scores: Scores, measure: str, looks: Mapping[str, Look]) -> Picture | None:
    level = scores.of_input("si_sdr")
    bins = [(float(level[rows].mean()), rows) for rows in scores.bins()]
    lines = {label: [(x, scores.mean_gain(label, measure, rows)) for x, rows in bins] for label in scores.models}
    lines = {label: points for label, points in lines.items() if any(np.isfinite(one.mean) for _, one in points)}
    if not lines:
        return None
    verb = "gain in" if upwards(measure) > 0 else "reduction of"
    axis = with_unit(measure) if measure in GAINS.values() else f"{verb} {with_unit(measure)}"
    ends = [f"{label} {_show(p[0][1].mean, measure)} to {_show(p[-1][1].mean, measure)}" for label, p in lines.items()]
    words = f"{axis} over the level of the input, from the lowest to the highest levels: {listed(ends)}."
    return Picture(axis, words, gains_svg(lines, looks, LEVEL_AXIS, axis, f"gain of {measure}"))


def _known(scores: Scores) -> list[str]:
    return [measure for measure in scores.measures if any(scores.has(label, measure) for label in scores.models)]


def _show(value: float, measure: str) -> str:
    return show(value, digits(measure))
