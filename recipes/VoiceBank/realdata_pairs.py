"""Paired differences between trained models on the same test files: what two rows of means do not show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from lobes.evaluation.comparison import ALL, compare
from lobes.evaluation.score_tables import System, read_scores, speakers_of
from lobes.reports import differences

MEASURES = ("pesq", "si_sdr", "stoi")


def paired_lines(
    models: Sequence[str], seeds: Sequence[int], folders: Mapping[tuple[str, int], Path], heading: str
) -> list[str]:
    """Compare all pairs of models over speakers and trainings; none of it for a single model.

    Arguments
    ---------
    models : sequence of str
        Their names in the table.
    seeds : sequence of int
        The trainings of each model.
    folders : mapping
        (model, seed) -> the folder of a finished run, or of an evaluation.
    heading : str
        Stands above the table.

    Returns
    -------
    list of str
        Lines of Markdown, with an empty one at the end.
    """
    if len(models) < 2:
        return []
    systems = [System(model, [read_scores(folders[model, seed]) for seed in seeds]) for model in models]
    found = [one for one in compare(systems, MEASURES) if one.condition == ALL]
    known = bool(speakers_of(systems[0].tables[0]))
    return [heading, "", differences.as_table(found), "", differences.explanation(found[0], known), ""]
