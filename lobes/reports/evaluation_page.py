"""An evaluation of several systems as one HTML file: the answer in words, then what it rests on. Nothing to fetch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from lobes.data.files import write_whole
from lobes.evaluation.comparison import PairedDifference
from lobes.evaluation.intervals import MeasureMeans
from lobes.evaluation.score_tables import System
from lobes.reports import page_answer
from lobes.reports.differences import explanation
from lobes.reports.html import AudioExample, templates
from lobes.reports.looks import looks_of
from lobes.reports.measure_names import upwards
from lobes.reports.page_pictures import distributions, gains
from lobes.reports.page_scores import Scores
from lobes.reports.page_tables import condition_tables, pairs_table, systems_table, utterances_table


def write_evaluation_page(
    path: str | Path,
    title: str,
    systems: Sequence[System],
    differences: Sequence[PairedDifference],
    examples: Sequence[AudioExample],
    *,
    reference: str | None,
    facts: Mapping[str, str],
    means: Sequence[MeasureMeans] = (),
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
    means : sequence of MeasureMeans
        From `lobes.evaluation.intervals.means_of`, where groups of utterances count equally; else each one does.

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
    scores = Scores(systems, differences, reference, means)
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
        explanation=explanation(differences[0], scores.speaker_count > 1) if differences else "",
        speakers=scores.speaker_count,
        looks=looks,
        reference=scores.reference,
        distributions=distributions(scores, looks),
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
    before = scores.of_input(measure)
    before = before if np.isfinite(before).any() else np.zeros(len(scores.ids))
    gains_of = [upwards(measure) * (scores.of(label, measure) - before) for label in scores.models]
    gain = next((found for found in gains_of if np.nan_to_num(found).any()), gains_of[0])  # not the input once more
    ranked = [scores.ids[row] for row in np.argsort(-gain, kind="stable") if np.isfinite(gain[row])]
    middle = max(0, (len(ranked) - count) // 2)
    wanted = {"best": ranked[:count], "worst": ranked[::-1][:count], "median": ranked[middle : middle + count]}
    kind_of = {ID: kind for kind in reversed(wanted) for ID in wanted[kind]}  # best before worst before median
    return [(kind, ID) for kind in ("best", "median", "worst") for ID in wanted[kind] if kind_of[ID] == kind]
