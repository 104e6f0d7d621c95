"""benchmarks/scaling.py: what it measures is there in small, and a stopped run goes on."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def program(monkeypatch):
    """program(name): a module of the benchmarks."""
    monkeypatch.syspath_prepend(FOLDER)

    def load(name):
        spec = importlib.util.spec_from_file_location(f"called_{name}", FOLDER / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.mark.parametrize("form", ["files", "shards", "http"])
def test_examples_are_read_in_each_form(program, tmp_path, form):
    if form == "http" and (shutil.which("curl") is None or importlib.util.find_spec("webdataset") is None):
        pytest.skip("reading from a web server needs curl and WebDataset")
    row = program("_scaling").reading(str(tmp_path), form, workers=0, examples=6, seconds=0.1)
    assert row["first_per_s"] > 0 and row["then_per_s"] > 0 and row["megabytes"] > 0


def test_nothing_of_a_large_epoch_is_lost_or_repeated(program, tmp_path):
    scaling = program("_scaling")
    row = scaling.epoch(str(tmp_path), examples=61, stored=4, workers=0)
    assert (row["lost"], row["repeated"]) == (0, 0) and row["manifest_bytes_per_row"] >= 0
    repeated = {2: 1, 7: 2, 8: 3}  # so that all ranks take equally many
    for ranks in scaling.RANKS:
        assert row[f"lost_and_repeated_by_{ranks}_ranks"] == [0, repeated[ranks]]


@pytest.mark.slow
def test_steps_are_timed(program, tmp_path):
    row = program("_scaling").steps(str(tmp_path), "convtasnet_tiny", examples=2, seconds=0.5, ranks=1)
    assert row["steps"] == 2 and 0 < row["step_s"] < row["epoch_s"]


def test_a_stopped_run_goes_on(program, tmp_path, monkeypatch):
    scaling, output, asked = program("scaling"), tmp_path / "rows.json", []
    where = {"commit": "c", "machine": "m", "torch": "t"}

    def fresh(kind, **case):
        asked.append((kind, case["workers"]))
        if len(asked) == 3:
            raise KeyboardInterrupt
        return {"failed": "no reason given"} if len(asked) == 2 else {"figure": len(asked)}

    monkeypatch.setattr(scaling, "about", lambda: where)
    monkeypatch.setattr(scaling, "fresh", fresh)
    words = ["--parts", "reading", "--forms", "files", "--workers", "0", "1", "2", "--output", str(output)]
    monkeypatch.setattr(sys, "argv", ["scaling.py", *words])
    with pytest.raises(KeyboardInterrupt):
        scaling.main()
    scaling.main()
    assert asked == [("reading", 0), ("reading", 1), ("reading", 2), ("reading", 1), ("reading", 2)]
    assert [row["workers"] for row in json.loads(output.read_text())["rows"]] == [0, 1, 2]
