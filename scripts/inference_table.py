#!/usr/bin/env python3
"""Write what `benchmarks/inference.py` has measured into docs/inference.md: a line for each preset.

> python scripts/inference_table.py
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lobes.data.arguments import Parser
from lobes.errors import exit_on_user_error
from lobes.reports.tables import as_markdown, replace_section

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "inference.json"
Row = Mapping[str, Any]


def main() -> None:
    """Read the rows, write the section."""
    Parser(description=__doc__.splitlines()[0]).parse_args()
    result = json.loads(RESULT.read_text(encoding="utf-8"))
    replace_section(ROOT / "docs" / "inference.md", "inference", section(result))
    print("wrote docs/inference.md")


def section(result: Mapping[str, Any]) -> str:
    """The text of the section: where the numbers come from, and the table."""
    rows = result["rows"]
    lengths = sorted({row["seconds"] for row in rows})
    threads = sorted({row["threads"] for row in rows})
    presets = sorted({row["preset"] for row in rows})
    factors = [f"{seconds:g} s, {number} thr." for number in threads for seconds in lengths]
    head = ["Preset", *factors, *(f"MB, {seconds:g} s" for seconds in lengths)]
    return "\n".join(
        [
            f"`{result['command']}`, commit {result['commit']}, torch {result['torch']}, {result['machine']}:",
            "",
            as_markdown(head, [cells(preset, rows, threads, lengths) for preset in presets]),
        ]
    )


def cells(preset: str, rows: Sequence[Row], threads: Sequence[int], lengths: Sequence[float]) -> list[str]:
    """A preset's line: real-time factors by threads and length, and the most memory by length."""
    own = {(row["threads"], row["seconds"]): row for row in rows if row["preset"] == preset}
    factors = [shown(own.get((number, seconds)), "rtf", 3) for number in threads for seconds in lengths]
    memory = [
        shown(max((own[key] for key in own if key[1] == seconds), key=held, default=None), "over_mb", 0)
        for seconds in lengths
    ]
    return [f"`{preset}`", *factors, *memory]


def held(row: Row) -> float:
    """The memory of a row over what its process held before; of a failed one none."""
    return row.get("over_mb") or 0.0


def shown(row: Row | None, key: str, digits: int) -> str:
    """A figure of a row, or a dash where there is none."""
    return "-" if row is None or row.get(key) is None else f"{row[key]:,.{digits}f}"


if __name__ == "__main__":
    with exit_on_user_error():
        main()
