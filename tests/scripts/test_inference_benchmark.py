"""benchmarks/inference.py goes on with the rows that its output lacks; its table stands in docs/inference.md."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "inference.py"
ROW = {"version": "now", "preset": "spmamba_tiny", "threads": 1, "seconds": 1.0, "rtf": 0.5}


@pytest.fixture
def rows_after(monkeypatch, tmp_path):
    """The preset's lengths that a second run measures, and the rows it leaves."""
    monkeypatch.syspath_prepend(PROGRAM.parent)
    spec = importlib.util.spec_from_file_location("called_inference", PROGRAM)
    program = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, program)
    spec.loader.exec_module(program)

    def run(commit_of_rows, row):
        where = {"commit": "c", "machine": "m", "torch": "t"}
        output = tmp_path / "rows.json"
        output.write_text(json.dumps({**where, "commit": commit_of_rows, "rows": [row]}))
        measured = []

        def fresh(root, preset, seconds, threads):
            measured.append(seconds)
            figures = {"rtf": 0.1, "cpu_rtf": 0.1, "peak_mb": 1.0, "over_mb": 0.0}
            return {"preset": preset, "seconds": seconds, "threads": threads, **figures}

        monkeypatch.setattr(program, "about", lambda: where)
        monkeypatch.setattr(program, "fresh", fresh)
        words = ["--presets", "spmamba_tiny", "--threads", "1", "--seconds", "1", "2", "--output", str(output)]
        monkeypatch.setattr(sys, "argv", ["inference.py", *words])
        program.main()
        return measured, [row["rtf"] for row in json.loads(output.read_text())["rows"]]

    return run


def test_a_stopped_run_goes_on(rows_after):
    assert rows_after("c", ROW) == ([2.0], [0.5, 0.1])


@pytest.mark.parametrize(
    ("commit", "row"), [("another", ROW), ("c", {**ROW, "failed": "exit code 1"})], ids=["another commit", "failed"]
)
def test_what_does_not_count_is_measured_again(rows_after, commit, row):
    assert rows_after(commit, row) == ([1.0, 2.0], [0.1, 0.1])


def test_the_table_shows_factors_by_threads_and_the_most_memory(monkeypatch):
    monkeypatch.syspath_prepend(PROGRAM.parents[1] / "scripts")
    table = importlib.import_module("inference_table")
    rows = [
        {"preset": "x", "threads": threads, "seconds": 1.0, "rtf": 0.5 / threads, "over_mb": 1000.0 * threads}
        for threads in (1, 2)
    ]
    failed = {"preset": "y", "threads": 1, "seconds": 1.0, "failed": "exit code 1"}
    where = {"command": "python benchmarks/inference.py", "commit": "c", "torch": "t", "machine": "m"}
    lines = table.section({**where, "rows": [*rows, failed]}).splitlines()
    assert lines[0] == "`python benchmarks/inference.py`, commit c, torch t, m:"
    assert lines[2:] == [
        "| Preset | 1 s, 1 thr. | 1 s, 2 thr. | MB, 1 s |",
        "|---|---:|---:|---:|",
        "| `x` | 0.500 | 0.250 | 2,000 |",
        "| `y` | - | - | - |",
    ]


def test_the_page_holds_the_table_of_the_results(monkeypatch):
    monkeypatch.syspath_prepend(PROGRAM.parents[1] / "scripts")
    table = importlib.import_module("inference_table")
    result = json.loads((PROGRAM.parent / "results" / "inference.json").read_text())
    page = (PROGRAM.parents[1] / "docs" / "inference.md").read_text()
    assert table.section(result) in page
