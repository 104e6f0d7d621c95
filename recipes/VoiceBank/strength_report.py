"""Scores against the share of an enhancement that is applied: means, differences from the input, table, picture.

N files, R trainings of one network. Intervals are drawn over speakers and trainings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lobes.evaluation.clusters import Estimate, estimate, holm
from lobes.evaluation.comparison import clusters_of
from lobes.evaluation.score_tables import ScoreTable, speakers_of
from lobes.metrics.directions import limits
from lobes.metrics.utterance import INPUT
from lobes.reports.figures import as_svg, new_figure
from lobes.reports.tables import as_markdown, show
from lobes.runs.provenance import commit, machine

MEASURES = {
    "dnsmos_ovrl": ("DNSMOS OVRL", 2),
    "dnsmos_sig": ("DNSMOS SIG", 2),
    "dnsmos_bak": ("DNSMOS BAK", 2),
    "wer": ("WER", 3),
    "pesq": ("PESQ", 2),
    "si_sdr": ("SI-SDR", 2),
}  # heading and digits
PANELS = (("dnsmos_ovrl", "dnsmos_sig", "dnsmos_bak"), ("wer",), ("pesq",), ("si_sdr",))
LEVEL = 0.95
NOTHING = Estimate(np.nan, np.nan, np.nan, 1.0)

Tables = Mapping[tuple[int, float], ScoreTable]  # (training, strength) -> scores


@dataclass(frozen=True)
class Point:
    """A measure at one strength: its mean, its difference from the input, and whether one is shown."""

    strength: float
    mean: Estimate
    difference: Estimate
    shown: bool = False


@dataclass(frozen=True)
class Curves:
    """For each measure its points, the input first; how many files count for it, and how much was scored."""

    points: Mapping[str, Sequence[Point]]
    files: Mapping[str, int]
    speakers: int
    trainings: int


def curves_of(tables: Tables) -> Curves:
    """Make the curves from the scores of each training at each strength.

    A file counts for a measure where all strengths and trainings have a number of it. Word errors are the sum of the
    errors by that of the words.

    Arguments
    ---------
    tables : mapping
        (training, strength) -> scores of the same files, with those of the input.

    Returns
    -------
    Curves

    Example
    -------
    >>> ids = [f"u{n}" for n in range(20)]
    >>> scores = {"pesq": {ID: 2.0 + len(ID) for ID in ids}, "pesq_in": {ID: float(len(ID)) for ID in ids}}
    >>> table = ScoreTable("t", scores, {"speaker": {ID: f"s{ID[-1]}" for ID in ids}}, ids)
    >>> point = curves_of({(1, 1.0): table}).points["pesq"][1]
    >>> round(point.difference.mean, 6), point.shown
    (2.0, True)
    """
    found = {measure: _points(measure, tables) for measure in MEASURES}
    asked = [
        (measure, place)
        for measure, (points, _) in found.items()
        for place, point in enumerate(points)
        if np.isfinite(point.difference.mean)
    ]
    together = holm([found[measure][0][place].difference.p for measure, place in asked])
    p_all = dict(zip(asked, together, strict=True))
    points = {
        measure: [_judged(point, p_all.get((measure, place), 1.0)) for place, point in enumerate(part)]
        for measure, (part, _) in found.items()
    }
    speakers = {name for together in speakers_of(next(iter(tables.values()))).values() for name in together}
    trainings = {training for training, _ in tables}
    return Curves(points, {measure: n for measure, (_, n) in found.items()}, len(speakers), len(trainings))


def _points(measure: str, tables: Tables) -> tuple[list[Point], int]:
    """The points of a measure, and of how many files."""
    first = next(iter(tables.values()))
    trainings, strengths = (sorted(set(part)) for part in zip(*tables, strict=True))

    def column(table: ScoreTable, name: str) -> np.ndarray:
        return np.array([table.numbers.get(name, {}).get(ID, np.nan) for ID in first.ids])  # [N]

    before = column(first, measure + INPUT)
    after = {s: np.stack([column(tables[t, s], measure) for t in trainings], 1) for s in strengths}  # [N,R] each
    weights = column(first, "wer_words") if measure == "wer" else np.ones(len(first.ids))
    kept = np.isfinite(before) & np.isfinite(weights) & np.isfinite(np.concatenate([*after.values()], 1)).all(1)
    files = int(kept.sum())
    if files < 2:
        return [Point(strength, NOTHING, NOTHING) for strength in (0.0, *strengths)], files
    clusters = clusters_of([ID for ID, there in zip(first.ids, kept, strict=True) if there], speakers_of(first))
    before, share = before[kept], weights[kept] / weights[kept].sum()
    points = [Point(0.0, estimate(before, clusters, share, level=LEVEL).within(*limits(measure)), NOTHING)]
    for strength, values in after.items():
        values, over = values[kept], [share @ values[kept]]
        mean = estimate(values.mean(1), clusters, share, over, LEVEL).within(*limits(measure))
        points.append(Point(strength, mean, estimate(values.mean(1) - before, clusters, share, over, LEVEL)))
    return points, files


def _judged(point: Point, p_all: float) -> Point:
    found = point.difference
    return Point(point.strength, point.mean, found, (found.low > 0 or found.high < 0) and p_all < 1 - LEVEL)


def section(curves: Curves, name: str, words: str, recogniser: str, picture: str, command: str) -> str:
    """The section of RESULTS.md.

    Arguments
    ---------
    curves : Curves
    name : str
        Of the model.
    words : str
        What word errors are counted against: `text`, the texts of the set; `clean`, what the recogniser hears in the
        clean files; empty where nothing listens.
    recogniser : str
    picture : str
        The file with the picture, in the same folder.
    command : str
        What made all this.

    Returns
    -------
    str
    """
    files, speakers = max(curves.files.values()), curves.speakers or "unknown"
    lines = [
        f"### Strength of the enhancement: {name}",
        "",
        f"A share of the enhanced signal and the rest of the input, as `lobes enhance --strength` adds them: {files} "
        f"files, {speakers} speakers, {curves.trainings} training(s). Each sum is scored at the level that fits its "
        f"input best. {_of_words(words, recogniser)}",
        "",
        as_markdown(["strength", *(heading for heading, _ in MEASURES.values())], _rows(curves, "mean")),
        "",
        "Differences from the input, on the same files; \\* is a difference that is shown:",
        "",
        as_markdown(["strength", *(heading for heading, _ in MEASURES.values())], _rows(curves, "difference")[1:]),
        "",
        f"![differences against the strength]({picture})",
        "",
        f"In brackets {100 * LEVEL:g} % intervals by a bootstrap of "
        f"{'speakers' if curves.speakers > 1 else 'files'} and of trainings. A difference is shown where its interval "
        "excludes zero and p, corrected for all measures and strengths (Holm), is below 0.05. DNSMOS, PESQ, SI-SDR in "
        "dB: higher is better. WER: errors by words of all files, lower is better.",
        "",
        *(f"- {MEASURES[name][0]}: {n} of {files} files" for name, n in curves.files.items() if n < files),
        f"- command: `{command}`",
        f"- commit: {commit()}",
        f"- machine: {machine()}",
    ]
    return "\n".join(lines)


def _of_words(words: str, recogniser: str) -> str:
    """What the word errors are counted against."""
    if not words:
        return f"There are no word errors, since {recogniser} or jiwer is not installed."
    if words == "text":
        return f"WER: of {recogniser} against the texts of the set."
    return (
        f"WER: of {recogniser} against what it hears in the clean file, since the set has no texts. That is zero for "
        "the clean file itself, so that it says how much of what this recogniser hears has changed, and not how much "
        "is right."
    )


def _rows(curves: Curves, what: str) -> list[list[str]]:
    """A row for each strength, a cell for each measure."""
    rows = []
    for place, first in enumerate(next(iter(curves.points.values()))):
        label = f"{first.strength:g}" if first.strength else "0, the input"
        cells = [_cell(curves.points[name][place], what, digits) for name, (_, digits) in MEASURES.items()]
        rows.append([label, *cells])
    return rows


def _cell(point: Point, what: str, digits: int) -> str:
    found = getattr(point, what)
    if not np.isfinite(found.mean):
        return "-"
    mark = " \\*" if what == "difference" and point.shown else ""
    return f"{show(found.mean, digits)} [{show(found.low, digits)}, {show(found.high, digits)}]{mark}"


def as_picture(curves: Curves, title: str) -> str:
    """Draw the difference of each measure from the input against the strength, with its intervals: an SVG file.

    Intervals of the means would mostly show how different the files are.
    """
    with new_figure(8, 6) as figure:
        for axes, panel in zip(figure.subplots(2, 2).flat, PANELS, strict=True):
            axes.axhline(0, color="0.7", linewidth=1, zorder=0)
            for shift, name in enumerate(panel):
                points = [point for point in curves.points[name] if np.isfinite(point.difference.mean)]
                x = [point.strength + 0.012 * (shift - (len(panel) - 1) / 2) for point in points]
                mean, low, high = np.array([point.difference[:3] for point in points]).reshape(-1, 3).T
                bounds = np.abs([mean - low, high - mean])
                axes.errorbar(x, mean, yerr=bounds, fmt="o-", capsize=3, markersize=4, label=MEASURES[name][0])
            axes.set(xlim=(0, 1.05), xlabel="share of the enhancement")
            axes.set_ylabel(f"{MEASURES[panel[0]][0] if len(panel) == 1 else 'DNSMOS'}, output minus input")
            axes.grid(alpha=0.3)
            axes.spines[["top", "right"]].set_visible(False)
            if len(panel) > 1:
                axes.legend(frameon=False, fontsize=8)
        figure.suptitle(title, parse_math=False)
        return as_svg(figure, title)
