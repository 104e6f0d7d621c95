"""Tables and the paths in them: numbers, places, and what stays ambiguous is refused."""

from __future__ import annotations

import pytest

from lobes.data.paths import absolute, is_inside, resolve_path
from lobes.data.tables import plain_number, read_table
from lobes.errors import UserError


def write(folder, text, name="t.csv", encoding="utf-8"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(text.encode(encoding))
    return folder / name


@pytest.mark.parametrize(
    ("text", "number"),
    [("3.5", 3.5), ("3,5", 3.5), ("-0,125", -0.125), ("12,3456", 12.3456), ("1e-3", 1e-3), ("1\u00a0234,5", 1234.5)],
)
def test_numbers_with_one_meaning(text, number):
    assert float(plain_number(text)) == number


def test_a_comma_that_may_be_either(tmp_path):
    table = read_table(write(tmp_path, 'ID,duration\na,"1,234"\nb,"1,234,567"\n'))
    with pytest.raises(UserError, match=r"t.csv, line 2: duration must be a number, got '1,234'. Write it like 3.5"):
        table.number(0, "duration")
    assert read_table(write(tmp_path, "ID;duration\na;1,234\n")).number(0, "duration") == 1.234


def test_short_rows_lack_only_what_is_not_needed(tmp_path):
    table = read_table(write(tmp_path, "ID,mix_wav,note\na,m.wav\n"), ["ID", "mix_wav"])
    assert table.rows == [{"ID": "a", "mix_wav": "m.wav", "note": ""}]


def test_lines_are_those_of_the_file(tmp_path):
    table = read_table(write(tmp_path, 'sep=,\n\nID,note\na,"x\ny"\n\nb,\n'))
    assert table.lines == [4, 7] and table.where(1).endswith("t.csv, line 7")


@pytest.mark.parametrize(("text", "words"), [("", "found none"), ("\n\n", "found none"), ("a,b\n", "found a, b")])
def test_no_table(tmp_path, text, words):
    with pytest.raises(UserError, match=f"column ID is missing; {words}"):
        read_table(write(tmp_path, text))
    with pytest.raises(UserError, match="is a folder, expected a table"):
        read_table(tmp_path)


def test_letters_in_columns_that_nothing_names_are_read_as_they_may_be(tmp_path):
    table = read_table(write(tmp_path, "ID,note\na,zażółć gęślą jaźń\n", encoding="cp1250"))
    assert table.rows[0]["note"] == "zażółć gęślą jaźń" and table.encoding == "cp1250"


def test_relative_paths_start_at_the_table_and_then_at_the_data_folder(tmp_path):  # T2-24
    table = write(tmp_path / "tables", "ID,mix_wav\na,m.wav\nb,n.wav\n")
    write(tmp_path / "tables", "x", "m.wav"), write(tmp_path / "data", "y", "n.wav")
    rows = read_table(table).resolved(tmp_path / "data")
    assert [row["mix_wav"] for row in rows] == [str(tmp_path / "tables" / "m.wav"), str(tmp_path / "data" / "n.wav")]
    write(tmp_path / "data", "x", "m.wav")  # the same sound twice: no question
    assert read_table(table).resolved(tmp_path / "data") == rows
    write(tmp_path / "data", "z", "m.wav")
    with pytest.raises(UserError, match=r"line 2: mix_wav: m.wav may be .*tables/m.wav or .*data/m.wav"):
        read_table(table).resolved(tmp_path / "data")


def test_data_root_needs_a_folder(tmp_path):  # T2-24
    with pytest.raises(
        UserError, match=r"m.wav starts with \$data_root: give the folder that it stands for \(--data-root"
    ):
        resolve_path("$data_root/m.wav", tmp_path / "t.csv")


@pytest.mark.parametrize("written", ["~/m.wav", "file://{root}/m%20.wav", "./M.WAV", "x\\y.wav"])
def test_other_ways_to_write_a_path(tmp_path, monkeypatch, written):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir("/")
    for name in ("m.wav", "m .wav", "x\\y.wav"):  # a backslash may be a letter of a name
        write(tmp_path, "", name)
    found = resolve_path(written.format(root=tmp_path), tmp_path / "t.csv")
    assert found in {str(tmp_path / name) for name in ("m.wav", "m .wav", "x\\y.wav")}


def test_names_that_differ_in_case_alone_are_not_guessed(tmp_path):
    write(tmp_path, "", "A.wav"), write(tmp_path, "", "a.wav")
    assert resolve_path("a.WAV", tmp_path / "t.csv") == str(tmp_path / "a.WAV")
    assert resolve_path("A.wav", tmp_path / "t.csv") == str(tmp_path / "A.wav")


def test_absolute_follows_links_as_the_system_does(tmp_path, monkeypatch):
    (tmp_path / "far" / "there").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "far" / "there")
    monkeypatch.chdir(tmp_path)
    assert absolute("link/..") == tmp_path / "far" and absolute("link") == tmp_path / "link"
    assert absolute("link/../none") == tmp_path / "none"
    assert is_inside(tmp_path / "link" / "new", tmp_path / "far") and not is_inside(tmp_path, tmp_path / "far")
