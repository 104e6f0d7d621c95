"""Tables as people have them: spreadsheets and other toolkits write many separators, encodings and line ends.

`read_table` reads what has one meaning, and refuses the rest in one line that says what was found and what to change.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lobes.data.encodings import readings
from lobes.data.paths import resolve_path
from lobes.errors import UserError, did_you_mean

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "pipes"}
SEP_LINE = re.compile(r'\s*"?sep=(.)"?[,;\t|]*\s*\n', re.IGNORECASE)  # Excel's first line: which separator follows
# Names in lower case, with _ for blanks and hyphens -> the manifests' own; also those of LibriMix's metadata.
KNOWN = (
    (re.compile(r"(mixture_)?id"), "ID"),
    (re.compile(r"duration"), "duration"),
    (re.compile(r"mix_wav|mixture_(wav|path)"), "mix_wav"),
    (re.compile(r"s(\d+)_wav|source_(\d+)_(?:wav|path)"), "s{}_wav"),
    (re.compile(r"noise_(wav|path)"), "noise_wav"),
    (re.compile(r"speaker_?(\d+)"), "speaker{}"),
)
INVISIBLE = "\ufeff\u200b"  # a byte order mark in the middle, a blank of no width: copied along


@dataclass(frozen=True)
class Table:
    """What a file held. `rows` are dicts of text, `lines` the lines that they start in, counted from 1."""

    path: str
    rows: list[dict[str, str]]
    lines: list[int]
    separator: str
    encoding: str

    def where(self, index: int) -> str:
        """Say where a row stands, as an error begins: `train.csv, line 3`."""
        return f"{self.path}, line {self.lines[index]}"

    def resolved(self, data_folder: str | os.PathLike[str] | None = None) -> list[dict[str, str]]:
        """Return the rows with absolute paths in the columns that end in `_wav`: see `lobes.data.paths.resolve_path`.

        Raises
        ------
        UserError
            A path that cannot be meant here, or that may mean two files, with its line.
        """
        return [
            {column: self._resolved(index, column, data_folder) for column in row}
            for index, row in enumerate(self.rows)
        ]

    def _resolved(self, index: int, column: str, data_folder: str | os.PathLike[str] | None) -> str:
        cell = self.rows[index][column]
        if not column.endswith("_wav") or not cell:
            return cell
        try:
            return resolve_path(cell, self.path, data_folder)
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
) -> Table:
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
        Where paths may start, as in `Table.resolved`; a table that is not Unicode is read so that its files exist.

    Returns
    -------
    Table
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


def _parse(path: str, encoding: str, text: str, needed: Sequence[str]) -> Table:
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    given = SEP_LINE.match(text)
    first = given.end() if given else 0
    separators = [given[1]] if given else list(SEPARATORS)
    separator = max(separators, key=lambda mark: _fit(text[first:], mark, needed))
    return _Reader(path, separator, encoding, needed).table(text[first:], skipped=text[:first].count("\n"))


def _has_its_files(table: Table, data_folder: str | os.PathLike[str] | None) -> bool:
    """Whether the encoding is right: files of such names exist, or no letter matters."""
    cells = {column: [row[column] for row in table.rows if not row[column].isascii()] for column in table.rows[0]}
    files = [cell for column in cells if column.endswith("_wav") for cell in cells[column]]
    names = [cell for column in cells if column == "ID" or column.startswith("speaker") for cell in cells[column]]
    return bool(files or not names) and all(
        os.path.exists(resolve_path(cell, table.path, data_folder)) for cell in files
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
    text = re.sub(r"(?<=\d)[\s']+(?=\d{3}\b)", "", text.strip())
    if "," not in text:
        return text
    if "." in text:
        thousands = min(",.", key=text.rindex)
        return text.replace(thousands, "").replace(",", ".")
    if not decimal_comma and re.fullmatch(r"[-+]?[1-9]\d{0,2}(,\d{3})+", text):
        raise ValueError(f"{text!r} may be a fraction or thousands")
    return text.replace(",", ".")


def canonical(name: str, needed: Sequence[str]) -> str:
    """Return the name that a column has here.

    Example
    -------
    >>> [canonical(name, []) for name in (" Mix Wav", "source_2_path", "id", "Room")]
    ['mix_wav', 's2_wav', 'ID', 'Room']
    """
    name = name.strip().strip(INVISIBLE).strip()
    plain = re.sub(r"[\s_-]+", "_", name).lower()
    if exact := next((column for column in needed if column.lower() == plain), None):
        return exact
    for pattern, meant in KNOWN:
        if match := pattern.fullmatch(plain):
            return meant.format(next((group for group in match.groups() if group), ""))
    return name


def _header(text: str, separator: str) -> tuple[list[str], int]:
    """The cells of the first line that is not blank, and the number of that line."""
    reader = csv.reader(io.StringIO(text), delimiter=separator, skipinitialspace=separator != "\t")
    try:
        cells = next((cells for cells in reader if any(cell.strip(INVISIBLE + " ") for cell in cells)), [])
    except csv.Error:
        return [], 0
    return cells, reader.line_num


def _fit(text: str, separator: str, needed: Sequence[str]) -> tuple[int, int]:
    """How many of the needed columns the first line has with this separator, and how many at all."""
    columns = [canonical(cell, needed) for cell in _header(text, separator)[0]]
    return len(set(needed) & set(columns)), len(columns)


@dataclass(frozen=True)
class _Reader:
    """Reads one text, whose separator is known."""

    path: str
    separator: str
    encoding: str
    needed: Sequence[str]

    def table(self, text: str, skipped: int) -> Table:
        raw, below = _header(text, self.separator)
        columns = self._columns(raw)
        rows, lines = [], []
        for line, cells in self._records(text, below, skipped):
            if any(cells) and [canonical(cell, self.needed) for cell in cells] != list(columns):
                rows.append(self._row(f"{self.path}, line {line}", cells, columns))
                lines.append(line)
        if not rows:
            raise UserError(f"{self.path}: the split has no rows, only a header. {self._found(columns)}.")
        table = Table(self.path, rows, lines, self.separator, self.encoding)
        _refuse_equal_ids(table)
        return table

    def _columns(self, raw: Sequence[str]) -> list[str]:
        columns = [canonical(cell, self.needed) for cell in raw]
        missing = [column for column in self.needed if column not in columns]
        if missing:
            hint = did_you_mean(missing[0], set(columns) - set(self.needed))
            raise UserError(f"{self.path}: column {', '.join(missing)} is missing; {self._found(columns)}.{hint}")
        twice = [column for column, count in Counter(columns).items() if column and count > 1]
        if twice:
            places = ", ".join(str(place) for place, column in enumerate(columns, 1) if column == twice[0])
            raise UserError(f"{self.path}: column {twice[0]} is there twice (columns {places}). Remove or rename one.")
        return columns

    def _records(self, text: str, below: int, skipped: int) -> Iterator[tuple[int, list[str]]]:
        """Line and cells of every record below the header."""
        stream = io.StringIO(text)
        for _ in range(below):
            stream.readline()
        reader = csv.reader(stream, delimiter=self.separator, skipinitialspace=self.separator != "\t", strict=True)
        line = below + skipped + 1
        try:
            for cells in reader:
                yield line, [cell.strip().strip(INVISIBLE).strip() for cell in cells]
                line = reader.line_num + below + skipped + 1
        except csv.Error as error:
            raise UserError(
                f"{self.path}, line {line}: cannot be read ({error}). Is a quotation mark missing?"
            ) from None

    def _row(self, where: str, cells: Sequence[str], columns: Sequence[str]) -> dict[str, str]:
        row = dict.fromkeys(filter(None, columns), "")
        for place, cell in enumerate(cells):
            column = columns[place] if place < len(columns) else ""
            if not column and cell and not (place == 0 and columns):  # pandas and R write an index without a name
                self._refuse_length(where, cells, columns)
            row |= {column: cell} if column else {}
        empty = [column for column in self.needed if not row[column]]
        if empty and len(cells) < len(columns):
            self._refuse_length(where, cells, columns)
        if empty:
            raise UserError(f"{where}: {empty[0]} is empty.")
        return row

    def _refuse_length(self, where: str, cells: Sequence[str], columns: Sequence[str]) -> None:
        raise UserError(
            f"{where}: expected {len(columns)} cells, as in the header, found {len(cells)}, separated by "
            f"{self._marks()}. A name with such a mark in it must stand in double quotes."
        )

    def _found(self, columns: Sequence[str]) -> str:
        names = ", ".join(filter(None, columns))
        return f"found {names} (separated by {self._marks()}, {self.encoding})" if names else "found none"

    def _marks(self) -> str:
        return SEPARATORS.get(self.separator, repr(self.separator))


def _refuse_equal_ids(table: Table) -> None:
    lines: dict[str, list[int]] = {}
    for row, line in zip(table.rows, table.lines, strict=True):
        lines.setdefault(row.get("ID", f"line {line}"), []).append(line)
    twice = {ID: found for ID, found in lines.items() if len(found) > 1}
    if twice:
        ID, found = next(iter(twice.items()))
        raise UserError(
            f"{table.path}: {len(twice)} IDs occur more than once: {ID} (lines {', '.join(map(str, found[:3]))})"
            f"{' and others' if len(twice) > 1 else ''}. IDs must be unique."
        )
