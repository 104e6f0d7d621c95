"""An evaluation of several systems as one HTML file: the answer in words, then what it rests on. Nothing to fetch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lobes.data.files import write_whole
from lobes.evaluation.comparison import GAINS, PairedDifference
from lobes.evaluation.score_tables import System
from lobes.reports import page_answer
from lobes.reports.differences import explanation
from lobes.reports.html import AudioExample, templates
from lobes.reports.looks import Look, looks_of
from lobes.reports.measure_names import digits, direction, heading, listed, upwards, with_unit
from lobes.reports.page_figures import distributions_svg, gains_svg
from lobes.reports.page_scores import Scores
from lobes.reports.page_tables import condition_tables, pairs_table, systems_table, utterances_table
from lobes.reports.tables import show

LEVEL_AXIS = "SI-SDR of the input in dB"


@dataclass(frozen=True)
class Picture:
    """A picture, its caption, and what it shows in words."""

    caption: str
    words: str
    svg: str


def write_evaluation_page(
    path: str | Path,
    title: str,
    systems: Sequence[System],
    differences: Sequence[PairedDifference],
    examples: Sequence[AudioExample],
    *,
    reference: str | None,
    facts: Mapping[str, str],
) -> Path:
    """Write the page of an evaluation: one file without requests, which is whole without its script.

    Arguments
    ---------
    path : str | Path
        The file to write; it is replaced in one step.
    title : str
        The heading.
    systems : sequence of System
        All of the same utterances; labels differ.
    differences : sequence of PairedDifference
        From `lobes.evaluation.comparison.compare`; what they do not show, the page does not say. Empty for one system.
    examples : sequence of AudioExample
        Signals to look at and to hear, such as those of `chosen_examples`.
    reference : str, optional
        The label of the untouched input among the systems. None: the columns that end with `_in` are the input.
    facts : mapping of str to str
        What made this page: command, commit, seed, machine.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    ValueError
        No system, equal labels, or a reference that is none of them.

    Example
    -------
    >>> import tempfile
    >>> from lobes.evaluation.score_tables import ScoreTable
    >>> folder = tempfile.TemporaryDirectory()
    >>> table = ScoreTable("a", {"pesq": {"u1": 2.5, "u2": 3.5}}, {}, ["u1", "u2"])
    >>> page = write_evaluation_page(
    ...     folder.name + "/report.html", "One model", [System("a", [table])], [], [], reference=None, facts={})
    >>> "How good is a?" in page.read_text(encoding="utf-8")
    True
    """
    scores = Scores(systems, differences, reference)
    verdicts = page_answer.Verdicts(scores, differences)
    looks = looks_of(scores.labels, scores.reference)
    html = templates().get_template("evaluation.html").render(
        title=title,
        question=page_answer.question(scores),
        headline=page_answer.headline(verdicts),
        by_measure=page_answer.by_measure(verdicts),
        against_input=page_answer.against_input(verdicts),
        results=systems_table(verdicts, looks),
        pairs=pairs_table(differences),
        explanation=explanation(differences[0], bool(scores.speaker_count)) if differences else "",
        speakers=scores.speaker_count,
        looks=looks,
        reference=scores.reference,
        distributions=[distribution(scores, measure, looks) for measure in _known(scores)],
        gains=gains(scores, looks),
        conditions=condition_tables(scores),
        examples=examples,
        utterances=utterances_table(scores),
        facts=facts,
    )  # fmt: skip
    write_whole(path, html)
    return Path(path)


def chosen_examples(
    systems: Sequence[System], measure: str, count: int = 1, *, reference: str | None = None
) -> list[tuple[str, str]]:
    """Choose the utterances with the best, median and worst gain of the first system over the untouched input.

    Arguments
    ---------
    systems : sequence of System
        The first that is not the reference counts.
    measure : str
        Where the input's score is unknown, the system's own decides.
    count : int
        So many of each kind; no utterance is chosen twice, and few utterances give fewer.
    reference : str, optional
        As in `write_evaluation_page`.

    Returns
    -------
    list of (str, str)
        best, median or worst, and the utterance's ID.

    Example
    -------
    >>> from lobes.evaluation.score_tables import ScoreTable
    >>> scores = {"pesq": {f"u{n}": n / 2 for n in range(5)}, "pesq_in": dict.fromkeys([f"u{n}" for n in range(5)], 1)}
    >>> chosen_examples([System("a", [ScoreTable("a", scores, {}, list(scores["pesq"]))])], "pesq")
    [('best', 'u4'), ('median', 'u2'), ('worst', 'u0')]
    """
    scores = Scores(systems, [], reference)
    own, before = scores.of(scores.models[0], measure), scores.of_input(measure)
    gain = upwards(measure) * (own - before if np.isfinite(before).any() else own)
    ranked = [scores.ids[row] for row in np.argsort(-gain, kind="stable") if np.isfinite(gain[row])]
    middle = (len(ranked) - count) // 2
    wanted = {"best": ranked[:count], "worst": ranked[::-1][:count], "median": ranked[max(0, middle) :][:count]}
    kind_of = {ID: kind for kind in reversed(wanted) for ID in wanted[kind]}  # best before worst before median
    return [(kind, ID) for kind in ("best", "median", "worst") for ID in wanted[kind] if kind_of[ID] == kind]


def distribution(scores: Scores, measure: str, looks: Mapping[str, Look]) -> Picture:
    """How a measure is distributed over the utterances, for each system that has it."""
    shown = [label for label in scores.labels if scores.has(label, measure)]
    shown = [label for label in shown if label != scores.reference or measure not in GAINS.values()]
    values = {label: scores.of(label, measure) for label in shown}
    medians = [f"{label} {show(float(np.nanmedian(values[label])), digits(measure))}" for label in shown]
    svg = distributions_svg(values, looks, with_unit(measure), f"distribution of {measure}")
    words = f"Distributions of {heading(measure)}. Medians: {', '.join(medians)}."
    return Picture(f"{heading(measure)}, {direction(measure)}", words, svg)


def gains(scores: Scores, looks: Mapping[str, Look]) -> list[Picture]:
    """What each measure gains over the untouched input, by the input's level; nothing where that is unknown."""
    return [found for measure in _known(scores) if (found := _gain(scores, measure, looks))]


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
