"""The result of an evaluation as a page of Markdown and as a table for LaTeX."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from lobes.evaluation.clusters import Estimate
from lobes.evaluation.comparison import ALL, PairedDifference
from lobes.evaluation.intervals import MeasureMeans
from lobes.metrics.directions import better
from lobes.reports import differences as page
from lobes.reports.tables import as_markdown, as_text, show

ESCAPES = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}  # fmt: skip
KEYS = ("mean", "low", "high")
BETTER = "$^{*}$"  # marks a difference that is shown


def as_page(
    title: str,
    means: Sequence[MeasureMeans],
    failed: Mapping[str, str],
    differences: Sequence[PairedDifference],
    known_speakers: bool,
) -> str:
    """The scores of all systems, how they are to be read, and their differences, in Markdown.

    Arguments
    ---------
    title : str
    means : sequence of MeasureMeans
        Of all systems, in the order of the lines.
    failed : mapping
        Label -> how many utterances have a failure.
    differences : sequence of PairedDifference
        Overall and by condition.
    known_speakers : bool
        Whether the intervals are by speakers.
    """
    blocks = [f"# {title}", as_markdown(*_cells(means, failed)), reading(means, known_speakers)]
    if differences:
        blocks += ["## Differences", page.as_page(differences, known_speakers).strip()]
    return "\n\n".join(blocks) + "\n"


def as_lines(means: Sequence[MeasureMeans], failed: Mapping[str, str], differences: Sequence[PairedDifference]) -> str:
    """The scores and the differences over all utterances, for a terminal."""
    overall = [page.sentence(one) for one in differences if one.condition == ALL]
    return "\n".join([as_text(*_cells(means, failed)), "", *overall])


def as_numbers(means: Sequence[MeasureMeans]) -> dict[str, Any]:
    """The means for a JSON file; a number that does not exist is None.

    Example
    -------
    >>> as_numbers([MeasureMeans("pesq", 9, 1, {"a": Estimate(2.0, 1.5, math.nan, 0.0)})])
    {'pesq': {'n': 9, 'left_out': 1, 'a': {'mean': 2.0, 'low': 1.5, 'high': None}}}
    """
    return {
        one.measure: {
            "n": one.n,
            "left_out": one.left_out,
            **{
                label: {key: value if math.isfinite(value) else None for key, value in zip(KEYS, found, strict=False)}
                for label, found in one.of.items()
            },
        }
        for one in means
    }


def reading(means: Sequence[MeasureMeans], known_speakers: bool) -> str:
    """What the numbers of the table are."""
    counts = sorted({one.n for one in means})
    n = str(counts[0]) if len(counts) == 1 else ", ".join(f"{one.n} ({one.measure})" for one in means)
    drawn = "speakers" if known_speakers else f"utterances ({page.ALONE})"
    rates = any(one.measure in ("wer", "cer") for one in means)
    return (
        f"Means with 95 % intervals by a bootstrap of {drawn}, over the utterances in which every line has a number: "
        f"{n}. ↑ higher, ↓ lower is better. Failed: utterances with a failure in some measure."
        + (" Word error rates are errors by words of all utterances; their differences, means by utterance." * rates)
    )


def arrow(measure: str) -> str:
    """Which way a measure gets better.

    Example
    -------
    >>> arrow("pesq"), arrow("wer"), arrow("speech_activity")
    ('↑', '↓', '')
    """
    return ("", "↑", "↓")[better(measure)]


def interval(measure: str, found: Estimate) -> str:
    """A mean with its interval.

    Example
    -------
    >>> interval("pesq", Estimate(2.0, 1.5, 2.5, 0.0))
    '2.00 [1.50, 2.50]'
    """
    mean, low, high = (show(value, page.DIGITS.get(measure, 2)) for value in found[:3])
    return f"{mean} [{low}, {high}]" if math.isfinite(found.mean) else "-"


def as_latex(means: Sequence[MeasureMeans], differences: Sequence[PairedDifference]) -> str:
    """A table for the package booktabs: a line for each system, and below it the differences over all utterances.

    Example
    -------
    >>> table = as_latex([MeasureMeans("si_sdr", 9, 0, {"a_b": Estimate(-1.0, -2.0, 0.5, 0.0)})], [])
    >>> table.splitlines()[6]
    'a\\\\_b & $-1.00$ [$-2.00$, $0.50$] \\\\\\\\'
    """
    arrows = {"↑": r" $\uparrow$", "↓": r" $\downarrow$", "": ""}
    header = ["System", *(escaped(one.measure) + arrows[arrow(one.measure)] for one in means)]
    lines = [
        "% made by lobes evaluate; needs \\usepackage{booktabs}",
        f"% means with 95 % intervals; n = {', '.join(str(one.n) for one in means)}",
        f"\\begin{{tabular}}{{l{'r' * len(means)}}}", "\\toprule", _row(header), "\\midrule",
        *(_row([escaped(label), *(_math(interval(one.measure, one.of[label])) for one in means)])
          for label in means[0].of),
        *_differences(differences, [one.measure for one in means]),
        "\\bottomrule", "\\end{tabular}",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """A text with the signs that LaTeX would take for orders.

    Example
    -------
    >>> escaped("a_b & 50% {x}^2")
    'a\\\\_b \\\\& 50\\\\% \\\\{x\\\\}\\\\textasciicircum{}2'
    """
    return "".join(ESCAPES.get(sign, sign) for sign in text)


def _cells(means: Sequence[MeasureMeans], failed: Mapping[str, str]) -> tuple[list[str], list[list[str]]]:
    """Header and lines of the scores."""
    header = ["system", *(f"{one.measure} {arrow(one.measure)}".strip() for one in means), "failed"]
    return header, [
        [label, *(interval(one.measure, one.of[label]) for one in means), failed[label]] for label in means[0].of
    ]


def _differences(found: Sequence[PairedDifference], measures: Sequence[str]) -> list[str]:
    """A block for each system that others are compared with."""
    overall = [one for one in found if one.condition == ALL]
    blocks = {
        second: [one for one in overall if one.second == second] for second in dict.fromkeys(o.second for o in overall)
    }
    return [line for block in blocks.values() for line in _block(block, measures)]


def _block(found: Sequence[PairedDifference], measures: Sequence[str]) -> list[str]:
    cells = {(one.first, one.measure): _math(page.with_interval(one)) + BETTER * bool(one.better) for one in found}
    note = f"Difference to {escaped(found[0].second)} ({BETTER} $p < {1 - found[0].level:.2g}$, Holm)"
    rows = [
        _row([escaped(label), *(cells.get((label, measure), "-") for measure in measures)])
        for label in dict.fromkeys(one.first for one in found)
    ]
    return ["\\midrule", _row([f"\\multicolumn{{{1 + len(measures)}}}{{l}}{{{note}}}"]), *rows]


def _row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _math(cell: str) -> str:
    """Numbers with a true minus sign."""
    return re.sub(r"-?\d+(?:\.\d+)?", lambda number: f"${number[0]}$", cell)
