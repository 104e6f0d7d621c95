"""The guards of a step cost little: counted in operations here, in time by benchmarks/training.py."""

import importlib
import json
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def guards(monkeypatch):
    """The comparison with SpeechBrain's plain loop, on few and short items."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    module = importlib.import_module("_guards")
    return lambda: module.guards("convtasnet_tiny", seconds=0.05, turns=1, steps=4)


def test_guards_add_a_dozen_operations_and_two_waits_to_a_step(guards):
    found = guards()
    operations, waits = ({kind: found[name][kind] for kind in ("plain", "guarded")} for name in ("operations", "waits"))
    assert 1000 < operations["plain"] < operations["guarded"] <= operations["plain"] + 12
    assert 0 < waits["plain"] < waits["guarded"] <= waits["plain"] + 2
    assert all(found[f"{kind}_{clock}"] > 0 for kind in ("plain", "guarded") for clock in ("wall", "cpu"))


def test_the_cost_of_the_guards_in_the_results_is_within_the_bound():
    result = json.loads((BENCHMARKS / "results" / "training.json").read_text(encoding="utf-8"))
    rows = result.get("guards", {"rows": []})["rows"]
    assert all(row["wall_percent"] <= row["at_most"] == 3.0 for row in rows)
