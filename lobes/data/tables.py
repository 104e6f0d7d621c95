"""Tables as people have them: spreadsheets and other toolkits write many separators, encodings and line ends.

`read_table` reads what has one meaning, and refuses the rest in one line that says what was found and what to change.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lobes.data.encodings import readings
from lobes.data.paths import resolve_path
from lobes.data.records import Records
from lobes.errors import UserError


@dataclass(frozen=True)
class TextTable:
    """What a file held. `rows` are dicts of text, `lines` the lines that they start in, counted from 1."""

    path: str
    rows: list[dict[str, str]]
    lines: list[int]
    separator: str
    encoding: str

    def where(self, index: int) -> str:
        """Return where a row stands, as an error begins: `train.csv, line 3`."""
        return f"{self.path}, line {self.lines[index]}"

    def resolved(
        self,
        data_folder: str | os.PathLike[str] | None = None,
        used: Callable[[dict[str, str]], Iterable[str]] | None = None,
    ) -> list[dict[str, str]]:
        """Return the rows with absolute paths in the columns that end in `_wav`: see `lobes.data.paths.resolve_path`.

        Where `used` is given, it returns the columns of a row that are read; others stay as they are written.

        Raises
        ------
        UserError
            A path that cannot be meant here, or that may mean two files, with its line.
        """
        return [
            {c: self.file(n, c, data_folder) if c in files and row[c] else row[c] for c in row}
            for n, row in enumerate(self.rows)
            for files in [[c for c in (used(row) if used else row) if c.endswith("_wav")]]
        ]

    def file(self, index: int, column: str, data_folder: str | os.PathLike[str] | None = None) -> str:
        """Return the absolute path that a cell means, as `resolved` does for all."""
        try:
            return resolve_path(self.rows[index][column], self.path, data_folder)
        except UserError as error:
            raise UserError(f"{self.where(index)}: {column}: {error}") from None

    def number(self, index: int, column: str) -> float:
        """Return a cell as a number; a decimal comma is one where nothing else can be meant.

        Raises
        ------
        UserError
            No number, or one of two meanings, such as 1,234 in a table with commas.
        """
        cell = self.rows[index][column]
        try:
            return float(plain_number(cell, decimal_comma=self.separator == ";"))
        except ValueError:
            raise UserError(
                f"{self.where(index)}: {column} must be a number, got {cell!r}. Write it like 3.5."
            ) from None


def read_table(
    path: str | os.PathLike[str],
    needed: Sequence[str] = ("ID",),
    data_folder: str | os.PathLike[str] | None = None,
) -> TextTable:
    """Read a table that a person, a spreadsheet or another toolkit wrote.

    Separator, encoding and line ends are found. Names of columns may differ in case, blanks and hyphens from those
    asked for. Blank lines, empty columns without a name and an index without a name (pandas) are left out.

    Arguments
    ---------
    path : str or PathLike
        The file.
    needed : sequence of str
        Columns that must be there, with no empty cell.
    data_folder : str or PathLike, optional
        Where paths may start, as in `TextTable.resolved`; a table that is not Unicode is read so that its files exist.

    Returns
    -------
    TextTable
        Rows in the file's order; cells are text without blanks at their ends, "" where the file has none.

    Raises
    ------
    UserError
        No file, no text, a missing or doubled column, no rows, a row of another length, an empty cell, equal IDs.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     _ = Path(folder, "t.csv").write_text("sep=;\\nid;Mix_Wav;Length \\n\\na;a.wav;3,5\\n", "utf-16")
    ...     table = read_table(f"{folder}/t.csv", ["ID", "mix_wav"])
    >>> table.rows, table.lines, table.number(0, "Length")
    ([{'ID': 'a', 'mix_wav': 'a.wav', 'Length': '3,5'}], [4], 3.5)
    """
    if not os.path.isfile(path):
        what = "is a folder, expected a table" if os.path.isdir(path) else "no such table"
        raise UserError(f"{path}: {what}.")
    meanings = readings(path, Path(path).read_bytes())
    if len(meanings) == 1:
        return _parse(str(path), *meanings[0], needed)
    for meaning in meanings:
        table = _parse(str(path), *meaning, needed)
        if _has_its_files(table, data_folder):
            return table
    raise UserError(
        f"{path}: is not in UTF-8, and its letters beyond ASCII may be {', '.join(name for name, _ in meanings)}; "
        "no file that exists shows which. Save it as CSV in UTF-8."
    )


def plain_number(text: str, decimal_comma: bool = False) -> str:
    """Return a number as Python reads it, from one with a decimal comma or with marks between thousands.

    Raises
    ------
    ValueError
        A single comma that may be either: 1,234, unless `decimal_comma` says that the table uses decimal commas.

    Example
    -------
    >>> [plain_number(text) for text in ("3.5", "3,5", "0,125", "1 234,5", "1.234,5", "1,234.5")]
    ['3.5', '3.5', '0.125', '1234.5', '1234.5', '1234.5']
    """
    text = re.sub(r"(?<=\d)[\s']+(?=\d{3}(?!\d))", "", text.strip())
    if "," not in text:
        return text
    if "." in text:
        thousands = min(",.", key=text.rindex)
        return text.replace(thousands, "").replace(",", ".")
    if not decimal_comma and re.fullmatch(r"[-+]?[1-9]\d{0,2}(,\d{3})+", text):
        raise ValueError(f"{text!r} may be a fraction or thousands")
    return text.replace(",", ".")


def _parse(path: str, encoding: str, text: str, needed: Sequence[str]) -> TextTable:
    records = Records(path, encoding, text, needed)
    rows, lines = records.read()
    _refuse_equal_ids(path, rows, lines)
    return TextTable(path, rows, lines, records.separator, encoding)


def _has_its_files(table: TextTable, data_folder: str | os.PathLike[str] | None) -> bool:
    """Whether the encoding is right: files of such names exist, or no letter matters."""
    letters = [(n, column) for n, row in enumerate(table.rows) for column in row if not row[column].isascii()]
    files = [(n, column) for n, column in letters if column.endswith("_wav")]
    names = [column for _, column in letters if column == "ID" or column.startswith("speaker")]
    return bool(files or not names) and all(os.path.exists(table.file(n, column, data_folder)) for n, column in files)


def _refuse_equal_ids(path: str, rows: Sequence[dict[str, str]], lines: Sequence[int]) -> None:
    places: dict[str, list[int]] = {}
    for row, line in zip(rows, lines, strict=True):
        places.setdefault(row.get("ID", f"line {line}"), []).append(line)
    twice = {ID: found for ID, found in places.items() if len(found) > 1}
    if twice:
        shown = ", ".join(f"{ID} (lines {', '.join(map(str, found[:3]))})" for ID, found in list(twice.items())[:3])
        raise UserError(f"{path}: {len(twice)} IDs occur more than once: {shown}. IDs must be unique.")
