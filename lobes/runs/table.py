"""The table of an evaluation, `per_utterance.csv`: one row per utterance.

Columns: id, the conditions that an utterance can be grouped by, the numbers, status.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lobes.data.files import replacing
from lobes.errors import UserError
from lobes.metrics.utterance import NUMBERS

FIRST, LAST = "id", "status"


def columns_of(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[str]]:
    """The columns of conditions and those of numbers that rows have, both in order.

    A condition is text and a number is not. The six numbers of every evaluation come first, whether a row has them or
    not; then those that a row has, in the order in which they appear.

    Example
    -------
    >>> columns_of([{"id": "a", "variant": "SER", "si_sdr": 4.0, "my_score": 1.0, "status": "ok"}])
    (['variant'], ['si_sdr', 'si_sdri', 'sdr', 'sdri', 'pesq', 'stoi', 'my_score'])
    """
    found = {name: value for row in rows for name, value in row.items() if name not in (FIRST, LAST)}
    conditions = [name for name, value in found.items() if isinstance(value, str)]
    return conditions, [*NUMBERS, *(name for name in found if name not in conditions and name not in NUMBERS)]


def write_per_utterance(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write the table as CSV, whole or not at all; NaN is an empty cell.

    Example
    -------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "per_utterance.csv"
    >>> write_per_utterance(path, [{"id": "a", "variant": "C", "si_sdr": 4.0, "status": "ok"}])
    >>> read_per_utterance(path)[0]["si_sdr"]
    4.0
    """
    rows = list(rows)
    conditions, numbers = columns_of(rows)
    with replacing(path) as partial, open(partial, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, (FIRST, *conditions, *numbers, LAST), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({**row, **{name: _cell(row.get(name)) for name in numbers}})


def read_per_utterance(path: str | Path) -> list[dict[str, Any]]:
    """Read a table back: conditions are text, numbers are floats, NaN where the cell is empty.

    Raises
    ------
    UserError
        If the file cannot be read or lacks a column.
    """
    try:
        with open(path, newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
    except OSError as error:
        raise UserError(f"Cannot read the table {path}: {error.strerror}.") from error
    names = list(reader.fieldnames or ())
    missing = [name for name in (FIRST, *NUMBERS, LAST) if name not in names]
    if missing:
        raise UserError(f"{path} is no per-utterance table: it lacks the columns {', '.join(missing)}.")
    numbers = names[names.index(NUMBERS[0]) : names.index(LAST)]
    return [{**row, **{name: float(row[name] or "nan") for name in numbers}} for row in rows]


def _cell(value: float | None) -> str:
    return "" if value is None or not math.isfinite(value) else f"{value:.6f}"
