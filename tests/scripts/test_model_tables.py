"""The tables of sizes and costs in the documents: which cells the command writes, and that they are up to date."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_SPEC = importlib.util.spec_from_file_location("model_tables", ROOT / "scripts" / "model_tables.py")
command = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(command)

PAGE = """Text | with a stroke.

| Preset | Cost | Why |
|---|---:|---|
| `a` | 1 | so |
| `b` | 2 | thus |

| Script | Cost |
|---|---|
| `a` | 1 |
"""


def test_cells_that_are_known_stand_anew_and_nothing_else_changes():
    new = command.refreshed(PAGE, {"`a`": {"Cost": "7", "Size": "9"}, "`c`": {"Cost": "8"}})
    assert new == PAGE.replace("| `a` | 1 | so |", "| `a` | 7 | so |")


def test_cells_of_a_table():
    rows = "\n".join(PAGE.splitlines()[2:6])
    assert command.cells_of(rows)["`b`"] == {"Preset": "`b`", "Cost": "2", "Why": "thus"}


@pytest.mark.slow
def test_the_table_of_streams_is_what_the_command_writes():
    page = (ROOT / "docs" / "streaming.md").read_text(encoding="utf-8")
    cells = command.stream_cells()
    assert all(f"| {preset} |" in page for preset in cells)
    assert command.refreshed(page, cells) == page, "write it again: python scripts/model_tables.py"
