"""The Triton kernels are compiled for GPUs that need not be there, and stay within the bounds of their table."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TABLE = json.loads((ROOT / "benchmarks" / "results" / "kernel_table.json").read_text(encoding="utf-8"))
ROWS = {(row["kernel"], row["states"], row["sm"]): row for row in TABLE["rows"]}
MOST_STACK = 200  # bytes
MOST_INSTRUCTIONS = {"forward": 185, "backward": 600}  # of a step with 16 states
MOST_SHUFFLES = 35

pytest.importorskip("triton")  # there is none for macOS and Windows


def run(*command: str | Path) -> str:
    """Run Python without Triton's interpreter; its output."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "scripts"), environment.get("PYTHONPATH", "")])
    done = subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def rows(tmp_path: Path, *options: str) -> dict[tuple[str, int, int], dict]:
    run(ROOT / "scripts" / "kernel_table.py", "--output", tmp_path / "table.json", *options)
    return {
        (row["kernel"], row["states"], row["sm"]): row
        for row in json.loads((tmp_path / "table.json").read_text(encoding="utf-8"))["rows"]
    }


def assert_within_bounds(row: dict) -> None:
    kernel, groups = row["kernel"], -(-row["states"] // 16)
    assert row["stack"] <= MOST_STACK, row
    assert row["shuffles"] <= MOST_SHUFFLES * groups, row
    if row["states"] == 16 and kernel in MOST_INSTRUCTIONS:
        assert row["instructions"] <= MOST_INSTRUCTIONS[kernel], row


def test_the_table_is_whole_and_within_the_bounds():
    kernels = ("forward", "backward", "summarize", "summarize back", "join", "join back")
    assert set(ROWS) == {(kernel, n, sm) for kernel in kernels for n in (8, 16, 32, 64) for sm in (80, 90, 120)}
    for row in ROWS.values():
        assert_within_bounds(row)


def test_kernels_compiled_now_are_those_of_the_table(tmp_path):
    import triton

    found = rows(tmp_path, "--states", "16", "--architectures", "90")
    assert len(found) == 6
    for key, row in found.items():
        assert_within_bounds(row)
        assert triton.__version__ != TABLE["triton"] or row == ROWS[key]
    assert found["forward", 16, 90]["special"] == 20  # 16 decays, softplus and gate: the steps are counted right


@pytest.mark.slow
def test_all_kernels_compiled_now_are_those_of_the_table(tmp_path):
    import triton

    if triton.__version__ != TABLE["triton"]:
        pytest.skip(f"the table is of Triton {TABLE['triton']}")
    assert rows(tmp_path) == ROWS


ODD = """
import sys

import torch
from kernel_table import compiled, recorded
from sass import resources
from lobes.scan.inputs import ScanInputs

half = {"dtype": torch.bfloat16}
u, delta = torch.empty(3, 100, 40, **half), torch.empty(3, 100, 40, **half)
B, C = torch.empty(3, 100, 19, **half), torch.empty(3, 100, 19, **half)
A, first, lengths = torch.empty(40, 19), torch.empty(3, 40, 19), torch.tensor([100, 7, 0])
for x in (
    ScanInputs(u, delta, A, B, C, None, None, None, first, lengths, False, True),
    ScanInputs(u, delta, A[:, :5], B[..., :5], C[..., :5], None, None, None, None, None, True, True),
):
    for call in recorded(x):
        cubin = compiled(call, int(sys.argv[1]))
        print(call[0], resources(cubin).stack, len(cubin))
"""


@pytest.mark.parametrize(
    "architecture", [90, pytest.param(80, marks=pytest.mark.slow), pytest.param(120, marks=pytest.mark.slow)]
)
def test_other_types_and_absent_arguments_compile(architecture):
    printed = [line.split() for line in run("-c", ODD, str(architecture)).splitlines()]
    assert len(printed) == 14 and all(int(size) > 1000 and int(stack) <= MOST_STACK for _, stack, size in printed)
    assert {stack for name, stack, _ in printed if name == "add_up"} == {"0"}
