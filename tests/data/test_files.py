"""Files written whole: an interrupted writer leaves the old file, and nothing else."""

from __future__ import annotations

import os

import pytest

from lobes.data.files import replacing, write_whole


def test_folders_are_made_and_nothing_else_is_left(tmp_path):
    write_whole(tmp_path / "new" / "deep" / "page.html", "text")
    assert [path.name for path in (tmp_path / "new" / "deep").iterdir()] == ["page.html"]


@pytest.mark.parametrize("content", ["zażółć\r\ngęślą\n", b"\x00\xff\r\n", "", "no\udcffutf-8"])
def test_content_is_written_byte_for_byte(tmp_path, content):
    write_whole(str(tmp_path / "file"), content)
    expected = content if isinstance(content, bytes) else content.encode("utf-8", "surrogateescape")
    assert (tmp_path / "file").read_bytes() == expected


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_exception_keeps_the_old_file_and_removes_the_partial_one(tmp_path, error):
    write_whole(tmp_path / "table.csv", "old")
    with pytest.raises(error), replacing(tmp_path / "table.csv") as partial:
        partial.write_text("half a ta")
        raise error
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"table.csv": "old"}


def test_the_place_changes_only_at_the_end(tmp_path):
    write_whole(tmp_path / "table.csv", "old")
    with replacing(tmp_path / "table.csv") as partial:
        partial.write_text("new")
        assert partial.parent == tmp_path and (tmp_path / "table.csv").read_text() == "old"
    assert (tmp_path / "table.csv").read_text() == "new"


def test_the_content_is_on_the_disk_before_the_file_gets_its_name(tmp_path, monkeypatch):
    done = []
    for name in ("fsync", "replace"):
        call = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *words, call=call, name=name: (done.append(name), call(*words))[1])
    write_whole(tmp_path / "file", "text")
    assert done == ["fsync", "replace"]


def test_what_cannot_be_renamed_leaves_no_partial_file(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"):
        write_whole(tmp_path / "taken", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
