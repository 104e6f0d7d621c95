#!/usr/bin/env python3
"""Write the sizes and costs of the presets into the documents: docs/models.md, README.md and docs/streaming.md.

> python scripts/model_tables.py

The table of docs/models.md is that of `lobes models --table`. Of the other tables the rows and the columns stay as they
are, and the cells that a count knows are written again. It takes two minutes; tests/docs compares all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lobes.data.arguments import Parser
from lobes.data.files import write_whole
from lobes.errors import UserError, exit_on_user_error
from lobes.evaluation.complexity import table
from lobes.evaluation.costs import streamed
from lobes.models import get_model
from lobes.models.registry import streaming_presets
from lobes.reports.tables import replace_section

ROOT = Path(__file__).resolve().parents[1]
KEY = "Preset"
Cells = dict[str, dict[str, str]]  # by preset, by the title of a column


def main() -> None:
    """Count, and write the three pages."""
    Parser(description=__doc__.splitlines()[0]).parse_args()
    models = table()
    replace_section(ROOT / "docs" / "models.md", "models", models)
    print("wrote docs/models.md")
    for name, cells in (("README.md", cells_of(models)), ("docs/streaming.md", stream_cells())):
        page = ROOT / name
        write_whole(page, refreshed(page.read_text(encoding="utf-8"), cells))
        print(f"wrote {name}")


def stream_cells() -> Cells:
    """Latency and state of the presets that stream."""
    found = {}
    for preset in streaming_presets():
        latency, state = streamed(get_model(preset))
        if latency is None or state is None:
            raise UserError(f"{preset}: has latency_ms in its meta and runs in no stream")
        found[f"`{preset}`"] = {"Latency": f"{latency:g} ms", "State": f"{state / 1000:,.0f} kB"}
    return found


def refreshed(page: str, cells: Mapping[str, Mapping[str, str]]) -> str:
    """A page, in whose tables of presets the cells that are given stand anew.

    Example
    -------
    >>> page = "| Preset | State | Why |\\n|---|---:|---|\\n| `x` | 1 kB | so |"
    >>> refreshed(page, {"`x`": {"State": "2 kB", "Latency": "1 ms"}}).splitlines()[-1]
    '| `x` | 2 kB | so |'
    """
    lines, head = page.split("\n"), []
    for number, line in enumerate(lines):
        row = split(line)
        if not row:
            head = []
        elif not head:
            head = row
        elif head[0] == KEY and row[0] in cells:
            new = (cells[row[0]].get(title, cell) for title, cell in zip(head, row, strict=True))
            lines[number] = "| " + " | ".join(new) + " |"
    return "\n".join(lines)


def cells_of(text: str) -> Cells:
    """The cells of a table in Markdown whose first column is the preset."""
    head, _, *rows = (split(line) for line in text.splitlines())
    return {row[0]: dict(zip(head, row, strict=True)) for row in rows}


def split(line: str) -> list[str]:
    """The cells of a line of a table; none of another line."""
    return [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []


if __name__ == "__main__":
    with exit_on_user_error():
        main()
