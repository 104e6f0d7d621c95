"""A comparison of systems as a page of Markdown, a forest plot and a file of numbers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from lobes.data.files import write_whole
from lobes.evaluation.comparison import ALL, PairedDifference
from lobes.metrics.directions import OURS, better
from lobes.reports.tables import as_markdown, percent, short_labels, show

DIGITS = {"stoi": 3, "estoi": 3, "wer": 3, "cer": 3}
NOTHING = "no difference is shown"
ALONE = "nothing says who speaks, or one speaker speaks in all"  # so that utterances count as independent
HEADER = ("first", "second", "measure", "difference", "p", "p of all", "first better", "n", "speakers", "verdict")
ROW_INCHES, LEAST_INCHES, LETTER_INCHES = 0.28, 1.6, 0.075
LONGEST_LABEL, LONGEST_CONDITION = 48, 32  # letters in the picture


def as_page(differences: Sequence[PairedDifference], known_speakers: bool) -> str:
    """The comparison in Markdown: what is better than what, all numbers, the conditions, and how to read them."""
    overall = [one for one in differences if one.condition == ALL]
    parts = [one for one in differences if one.condition != ALL]
    blocks = ["\n".join(f"- {sentence(one)}" for one in overall), as_table(overall)]
    if parts:
        blocks += [
            "By condition (intervals of single conditions, not corrected for their number):",
            by_condition(parts),
        ]
    return "\n\n".join([*blocks, explanation(overall[0], known_speakers) + _of_unknown(overall)]) + "\n"


def sentence(one: PairedDifference) -> str:
    """What a difference over all utterances says.

    Example
    -------
    >>> from lobes.evaluation.clusters import Estimate
    >>> sentence(PairedDifference("a", "b", "pesq", ALL, 9, 0, 3, Estimate(0.1, -0.1, 0.3, 0.4), 0.4, 0.5, 0.95))
    'pesq, a and b: no difference is shown (0.10 [-0.10, 0.30])'
    """
    names = f"{one.measure}, {one.first} and {one.second}"
    verdict = f"{one.better} is better" if one.better else NOTHING
    return f"{names}: {verdict} ({with_interval(one)})"


def with_interval(one: PairedDifference) -> str:
    """The mean difference with its interval."""
    digits = DIGITS.get(one.measure, 2)
    mean, low, high = (show(value, digits) for value in one.estimate[:3])
    return f"{mean} [{low}, {high}]"


def as_table(differences: Sequence[PairedDifference]) -> str:
    """One row for each pair of systems and measure."""
    return as_markdown(HEADER, [cells(one) for one in differences])


def by_condition(differences: Sequence[PairedDifference]) -> str:
    """One row for each condition, a column for each pair and measure."""
    keys = list(dict.fromkeys((one.first, one.second, one.measure) for one in differences))
    found = {(one.condition, (one.first, one.second, one.measure)): one for one in differences}
    conditions = list(dict.fromkeys(one.condition for one in differences))
    header = ["condition", "n", *(f"{first} - {second}, {measure}" for first, second, measure in keys)]
    sizes = {one.condition: max(o.n for o in differences if o.condition == one.condition) for one in differences}
    rows = [[name, str(sizes[name]), *(with_interval(found[name, key]) for key in keys)] for name in conditions]
    return as_markdown(header, rows)


def explanation(one: PairedDifference, known_speakers: bool) -> str:
    """How the numbers were made, for whoever reads the table."""
    drawn = "speakers" if known_speakers else f"utterances ({ALONE}; see --speakers)"
    return (
        f"Difference: first minus second on the same utterances, its {100 * one.level:g} % interval by a bootstrap "
        f"of {drawn} and of trainings. p: of exchanging the two systems for all utterances of a speaker, or of a t "
        "test where mixtures or several trainings allow no exchange. p of all: corrected for "
        "all pairs and measures of this comparison (Holm). First better: share of utterances, ties count half. A "
        f"difference is shown where the interval excludes zero and p of all is below {1 - one.level:.2g}. A system "
        "with one training says nothing about others of its kind."
    )


def as_picture(differences: Sequence[PairedDifference], title: str) -> str:
    """Forest plots, one for each measure: every pair and condition with its interval. Returns an SVG file."""
    from lobes.reports.figures import as_svg, new_figure

    measures = list(dict.fromkeys(one.measure for one in differences))
    rows = max(sum(one.measure == measure for one in differences) for measure in measures)
    names = LETTER_INCHES * max(map(len, _row_names(differences)))
    height = max(LEAST_INCHES, 0.9 + ROW_INCHES * rows)
    with new_figure(0.7 + names + 3.0 * len(measures), height) as figure:
        axes = np.atleast_1d(figure.subplots(1, len(measures), sharey=True))
        for axis, measure in zip(axes, measures, strict=True):
            _forest(axis, [one for one in differences if one.measure == measure])
        figure.suptitle(title, parse_math=False, fontsize=10)
        return as_svg(figure, title)


def as_numbers(differences: Sequence[PairedDifference]) -> list[dict[str, Any]]:
    """The same as rows for a JSON file; a number that does not exist is None."""
    rows = [{**asdict(one), **one.estimate._asdict(), "better": one.better} for one in differences]
    return [
        {key: None if isinstance(value, float) and not np.isfinite(value) else value for key, value in row.items()}
        for row in ({key: value for key, value in row.items() if key != "estimate"} for row in rows)
    ]


def write(folder: Path, page: str, differences: Sequence[PairedDifference]) -> None:
    """Write `comparison.md`, `comparison.svg` and `comparison.json` into a folder."""
    write_whole(folder / "comparison.md", page)
    write_whole(folder / "comparison.svg", as_picture(differences, "differences with their intervals"))
    write_whole(folder / "comparison.json", json.dumps(as_numbers(differences), indent=1) + "\n")


def cells(one: PairedDifference) -> list[str]:
    """The cells of a difference under `HEADER`."""
    p = [f"{value:.3f}" if value >= 0.001 else "< 0.001" for value in (one.estimate.p, one.p_all)]
    n = f"{one.n}" + (f" of {one.n + one.left_out}" if one.left_out else "")
    verdict = f"{one.better} is better" if one.better else NOTHING
    return [
        one.first,
        one.second,
        one.measure,
        with_interval(one),
        *p,
        percent(one.wins),
        n,
        str(one.speakers or "-"),
        verdict,
    ]


def _of_unknown(differences: Sequence[PairedDifference]) -> str:
    """Which way measures were taken that are not known here: no table says which way is better."""
    names = [name for name in dict.fromkeys(one.measure for one in differences) if name not in OURS]
    lower = [name for name in names if better(name) < 0]
    higher = [name for name in names if name not in lower]
    said = [f"{way} in {', '.join(some)}" for way, some in (("higher", higher), ("lower", lower)) if some]
    return f" By their names alone, better is {' and '.join(said)}." if said else ""


def _row_names(differences: Sequence[PairedDifference]) -> list[str]:
    """The names of a picture's rows; long ones are shortened."""
    label = short_labels([name for one in differences for name in (one.first, one.second)], LONGEST_LABEL)
    part = short_labels([one.condition for one in differences], LONGEST_CONDITION)
    return [
        f"{label[one.first]} - {label[one.second]}" + ("" if one.condition == ALL else f", {part[one.condition]}")
        for one in differences
    ]


def _forest(axis: Any, differences: Sequence[PairedDifference]) -> None:
    places = -np.arange(len(differences))
    for place, one in zip(places, differences, strict=True):
        mean, low, high = one.estimate[:3]
        whole = one.condition == ALL
        axis.errorbar(mean, place, xerr=[[mean - low], [high - mean]], fmt="D" if whole else "o", capsize=3,
                      markersize=6 if whole else 4, color="C0" if whole else "0.4")  # fmt: skip
    axis.axvline(0, color="0.7", linewidth=1, zorder=0)
    axis.set_yticks(places, _row_names(differences), fontsize=8, parse_math=False)
    axis.set_xlabel(differences[0].measure, parse_math=False)
    axis.spines[["top", "right"]].set_visible(False)
