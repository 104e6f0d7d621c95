"""The header and the records of a text table whose separator has to be found."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence

from lobes.errors import UserError, did_you_mean

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "pipes", ":": "colons", " ": "blanks"}
SEP_LINE = re.compile(r'\s*"?sep=(.)"?[,;\t|]*[ ]*\n', re.IGNORECASE)  # Excel's first line: which separator follows
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

Cells = list[str]


def canonical(name: str, needed: Sequence[str]) -> str:
    """Return the name that a column has here.

    Example
    -------
    >>> [canonical(name, []) for name in (" Mix Wav", "source_2_path", "id", "Room")]
    ['mix_wav', 's2_wav', 'ID', 'Room']
    """
    plain = re.sub(r"[\s_-]+", "_", name).lower()
    if exact := next((column for column in needed if column.lower() == plain), None):
        return exact
    for pattern, meant in KNOWN:
        if match := pattern.fullmatch(plain.strip("_")):
            return meant.format(next((group for group in match.groups() if group), ""))
    return name.strip()


def _without_outer_quotes(text: str) -> str:
    """The text of a table whose lines stand in quotes as a whole: a spreadsheet with another separator saved it."""
    if not text.startswith('"'):
        return text
    try:
        lines = list(csv.reader(io.StringIO(text), strict=True))
    except csv.Error:
        return text
    wrapped = all(len(cells) <= 1 for cells in lines) and any(mark in lines[0][0] for mark in SEPARATORS)
    return "\n".join("".join(cells) for cells in lines) + "\n" if wrapped else text


class Records:
    """The records of one text, with the separator that suits its header best.

    Arguments
    ---------
    path, encoding : str
        For errors.
    text : str
        The whole file.
    needed : sequence of str
        Columns that must be there, with no empty cell.

    Example
    -------
    >>> records = Records("t.csv", "utf-8", "ID;mix_wav;\\na;a.wav;\\n", ["ID"])
    >>> records.separator, records.read()
    (';', ([{'ID': 'a', 'mix_wav': 'a.wav'}], [2]))
    """

    def __init__(self, path: str, encoding: str, text: str, needed: Sequence[str]) -> None:
        self.path, self.encoding, self.needed = path, encoding, needed
        text = text.lstrip(INVISIBLE).replace("\r\n", "\n").replace("\r", "\n").rstrip("\x1a")  # 1a: the end in DOS
        text = _without_outer_quotes(text)
        given = SEP_LINE.match(text)
        self.skipped = text[: given.end()].count("\n") if given else 0
        self.text = text[given.end() :] if given else text
        self.separator = given[1] if given else max(SEPARATORS, key=self._fit)

    def read(self) -> tuple[list[dict[str, str]], list[int]]:
        """Return the rows, and the lines that they start in.

        Raises
        ------
        UserError
            A missing or doubled column, no rows, a row of another length, an empty cell of a needed column.
        """
        rows, lines, header, columns = [], [], None, []
        for line, cells in self._records():
            if header is None and any(cells):
                header, columns = cells, [canonical(cell, self.needed) for cell in cells]
                self._check(columns)
            elif any(cells) and cells != header:  # else blank, or the header again: tables that were joined
                rows.append(self._row(f"{self.path}, line {line}", cells, columns))
                lines.append(line)
        if header is None:
            self._check([])
        if not rows:
            raise UserError(f"{self.path}: the split has no rows below its header.")
        return rows, lines

    def _reader(self, separator: str) -> Iterator[tuple[int, Cells]]:
        reader = csv.reader(
            io.StringIO(self.text), delimiter=separator, skipinitialspace=separator != "\t", strict=True
        )
        line = 1
        for cells in reader:
            yield line + self.skipped, [cell.strip().strip(INVISIBLE).strip() for cell in cells]
            line = reader.line_num + 1

    def _records(self) -> Iterator[tuple[int, Cells]]:
        line = 0
        try:
            for line, cells in self._reader(self.separator):
                yield line, cells
        except csv.Error as error:
            where = f"{self.path}, after line {line}"
            raise UserError(f"{where}: cannot be read ({error}). Is a quotation mark missing?") from None

    def _fit(self, separator: str) -> tuple[int, int]:
        """How many of the needed columns the header has with this separator, and how many columns at all."""
        try:
            header = next((cells for _, cells in self._reader(separator) if any(cells)), [])
        except csv.Error:
            return 0, 0
        found = len(set(self.needed) & {canonical(cell, self.needed) for cell in header})
        return found, 0 if separator in ": " else len(header)  # in notes, too

    def _check(self, columns: Sequence[str]) -> None:
        missing = [column for column in self.needed if column not in columns]
        if missing:
            names = ", ".join(filter(None, columns))
            found = f"found {names} (separated by {self._marks()}, {self.encoding})" if names else "found none"
            hint = did_you_mean(missing[0], set(columns) - set(self.needed))
            raise UserError(f"{self.path}: column {', '.join(missing)} is missing; {found}.{hint}")
        twice = [column for column, count in Counter(columns).items() if column and count > 1]
        if twice:
            places = ", ".join(str(place) for place, column in enumerate(columns, 1) if column == twice[0])
            raise UserError(f"{self.path}: column {twice[0]} is there twice (columns {places}). Remove or rename one.")

    def _row(self, where: str, cells: Cells, columns: Sequence[str]) -> dict[str, str]:
        names = [*columns, *[""] * (len(cells) - len(columns))]
        lost = [
            cell for place, (cell, name) in enumerate(zip(cells, names, strict=False)) if cell and not name and place
        ]
        row = dict.fromkeys(filter(None, columns), "")
        row |= {name: cell for name, cell in zip(names, cells, strict=False) if name}
        empty = [column for column in self.needed if not row[column]]
        if lost or (empty and len(cells) < len(columns)):
            raise UserError(
                f"{where}: expected {len(columns)} cells, as in the header, found {len(cells)}, separated by "
                f"{self._marks()}. A cell with such a mark in it must stand in double quotes."
            )
        if empty:
            raise UserError(f"{where}: {empty[0]} is empty.")
        return row

    def _marks(self) -> str:
        return SEPARATORS.get(self.separator, repr(self.separator))
