"""The cells of a column of scores as numbers, in the ways that people and other tools write them."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping, Sequence

from lobes.data.tables import plain_number
from lobes.errors import UserError
from lobes.metrics.directions import OURS, our_name

MISSING = {"", "nan", "na", "<na>", "#n/a", "n/a", "-", "--", "\u2013", "\u2014", "none", "null"}
DECIMAL_COMMA = re.compile(r"[-+]?(\d+,(\d{1,2}|\d{4,})|0,\d+)(\s*%)?")  # may be nothing else
DOUBTFUL = re.compile(r"[-+]?[1-9]\d{0,2}(,\d{3})+(\s*%)?")  # a fraction, or thousands

logger = logging.getLogger(__name__)


def number_of(cell: str, decimal_comma: bool = False) -> float:
    """A cell as a number: NaN where it says that there is none, or is infinite. `12.5 %` is 0.125.

    Raises
    ------
    ValueError
        For words, and for a comma of two meanings.

    Example
    -------
    >>> number_of("12,5 %"), number_of("NA"), number_of("1,234", decimal_comma=True)
    (0.125, nan, 1.234)
    """
    text = cell.strip()
    if text.lower() in MISSING:
        return math.nan
    percent = text.endswith("%")
    value = float(plain_number(text.removesuffix("%"), decimal_comma)) / (100 if percent else 1)
    return value if math.isfinite(value) else math.nan


def has_decimal_commas(columns: Mapping[str, Sequence[str]]) -> bool:
    """Whether a column of numbers shows that the table writes fractions with a comma.

    Example
    -------
    >>> has_decimal_commas({"pesq": ["1,234", "2,5"], "who": ["anna", "jan"]}), has_decimal_commas({"n": ["1,234"]})
    (True, False)
    """
    return any(
        any(DECIMAL_COMMA.fullmatch(cell) for cell in cells) and not _words(cells, True) for cells in columns.values()
    )


def numbers_in(place: str, name: str, cells: Mapping[str, str], decimal_comma: bool) -> dict[str, float]:
    """A column, ID -> cell, as numbers by the ID; nothing where it holds words, or no number at all.

    Where most cells are numbers, a word among them is a mistake in a measure that is known here, else a warning.

    Raises
    ------
    UserError
        A cell of such a measure that is no number, or one of two meanings.

    Example
    -------
    >>> numbers_in("t.csv", "wer", {"a": "0.5", "b": ""}, False), numbers_in("t.csv", "room", {"a": "hall"}, False)
    ({'a': 0.5, 'b': nan}, {})
    """
    words = _words(list(cells.values()), decimal_comma)
    if not words:
        found = {ID: number_of(cell, decimal_comma) for ID, cell in cells.items()}
        return found if any(map(math.isfinite, found.values())) else {}
    filled = [cell for cell in cells.values() if cell.strip().lower() not in MISSING]
    doubtful = [cell for cell in words if DOUBTFUL.fullmatch(cell)]
    if 2 * (len(filled) - len(words) + len(doubtful)) <= len(filled):
        return {}
    wrong = (doubtful or words)[0]
    ID = next(ID for ID, cell in cells.items() if cell == wrong)
    what = "which may be a fraction or thousands" if doubtful else "which is no number"
    problem = f"{place}: {name} of {ID} is {wrong!r}, {what}"
    if our_name(name) in OURS:
        raise UserError(f"{problem}. Write numbers like 1.234, and leave a cell empty where there is none.")
    logger.warning("%s; so the column is taken for words and not for a measure", problem)
    return {}


def _words(cells: Sequence[str], decimal_comma: bool) -> list[str]:
    """The cells that are no numbers."""
    found = []
    for cell in cells:
        try:
            number_of(cell, decimal_comma)
        except ValueError:
            found.append(cell)
    return found
