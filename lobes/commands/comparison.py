"""What `lobes compare` does: from tables of scores to paired differences, printed and written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lobes.errors import visible
from lobes.evaluation.comparison import compare, several_speakers
from lobes.evaluation.score_tables import read_speakers, read_systems, together
from lobes.reports import differences
from lobes.training.checks import refuse_unwritable


def compare_tables(
    words: Sequence[str],
    out: Path | None,
    measures: Sequence[str],
    speakers: Path | None,
    group_by: str | None,
    level: float,
) -> None:
    """Compare the systems that words name, as `lobes.evaluation.score_tables.read_systems` takes them.

    Raises
    ------
    UserError
        For tables that cannot be compared, or a folder that cannot be written.
    """
    if out is not None:
        refuse_unwritable(out, "--out")
    found = read_systems(words)
    known = read_speakers(speakers, together([table for system in found for table in system.tables]))
    result = compare(found, measures, known, group_by, level)
    page = differences.as_page(result, several_speakers(known))
    print(visible(page, keep="\n"))
    if out is not None:
        differences.write(out, page, result)
        print(f"wrote {out}")
