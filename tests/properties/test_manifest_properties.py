"""Manifests: what is written is read again, or refused in one line, whatever letters an ID or a path has."""

from __future__ import annotations

from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lobes.data.manifest import read_manifest, write_manifest
from lobes.data.tables import read_table
from lobes.errors import UserError

LETTERS = st.characters(exclude_categories=["Cs"])
CELLS = st.text(LETTERS, max_size=20) | st.text(st.sampled_from(" ,;\t|:\"'\n\r=#$\\\ufeffaą0"), max_size=12)


def rows_of(cells):
    return [
        {"ID": f"{n:03d}{cell}", "duration": 1.0 + n, "mix_wav": f"$data_root/{n}.wav", "s1_wav": "$data_root/s.wav",
         "speaker1": cell}
        for n, cell in enumerate(cells)
    ]  # fmt: skip


@example(["a,b", 'c"d', "e\nf", "", "ż;ó", "'", "a\tb|c:d e"])
@example(["\x00"])
@example(["\x85", "\u2028", "\ufeff", "\x1a", "\r"])
@settings.get_profile("lobes")
@given(st.lists(CELLS, min_size=1, max_size=6))
def test_what_is_written_is_read_again_or_refused(cells):
    rows = rows_of(cells)
    with TemporaryDirectory() as folder:
        try:
            write_manifest(f"{folder}/train.csv", rows)
            found = read_manifest(f"{folder}/train.csv", "/corpus")
        except UserError as error:
            assert len(str(error).splitlines()) == 1
            return
    assert len(found) == len(rows)
    for row, mine in zip(rows, found, strict=True):
        for column in ("ID", "speaker1"):
            assert plain(mine[column]) == plain(row[column]), column
        assert mine["duration"] == row["duration"] and mine["s1_wav"] == "/corpus/s.wav"


def plain(cell):
    """A cell as tables keep it: blanks at its ends are none of it, and every end of a line is one character."""
    return "".join(cell.replace("\r\n", "\n").replace("\r", "\n").replace("\ufeff", "").replace("\u200b", "").split())


@settings.get_profile("lobes")
@given(st.lists(CELLS.filter(lambda cell: cell.isprintable() and cell.strip() == cell), min_size=1, max_size=6))
def test_printable_cells_come_back_letter_by_letter(cells):
    rows = rows_of([cell.strip("\ufeff\u200b").strip() for cell in cells])
    with TemporaryDirectory() as folder:
        write_manifest(f"{folder}/train.csv", rows)
        found = read_manifest(f"{folder}/train.csv")
    assert [row["speaker1"] for row in found] == [row["speaker1"] for row in rows]
    assert [row["ID"] for row in found] == [row["ID"] for row in rows]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@settings.get_profile("lobes")
@given(cells=st.lists(st.text(st.sampled_from("abcżó 0"), max_size=8), min_size=1, max_size=5))
def test_the_separator_of_a_table_changes_no_cell(separator, cells):
    lines = [separator.join(["ID", "mix_wav", "note"])]
    lines += [separator.join([f"i{n}", "m.wav", cell]) for n, cell in enumerate(cells)]
    with TemporaryDirectory() as folder:
        path = f"{folder}/t.csv"
        with open(path, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
        rows = read_table(path, ["ID", "mix_wav"]).rows
    assert [row["note"] for row in rows] == [cell.strip() for cell in cells]
