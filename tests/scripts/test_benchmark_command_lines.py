"""C02 of benchmarks and of scripts/fuzz.py: what is mistyped is one line, before anything is measured."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from lobes.errors import UserError

ROOT = Path(__file__).parents[2]
# program, an option that takes a number
PROGRAMS = {
    "benchmarks/chunks.py": "--mixtures",
    "benchmarks/compat.py": "--repeats",
    "benchmarks/enhancement_memory.py": "--batch",
    "benchmarks/evaluation.py": "--files",
    "benchmarks/half_precision.py": "--rounds",
    "benchmarks/inference.py": "--threads",
    "benchmarks/long_files.py": "--threads",
    "benchmarks/memory.py": None,
    "benchmarks/onnx_graphs.py": "--repeats",
    "benchmarks/onnx_parity.py": None,
    "benchmarks/onnx_speech.py": None,
    "benchmarks/pesq_labels.py": "--rounds",
    "benchmarks/scaling.py": "--read",
    "benchmarks/scan.py": "--repeats",
    "benchmarks/scan_host.py": "--rounds",
    "benchmarks/speaker_order.py": "--pauses",
    "benchmarks/startup.py": "--repeats",
    "benchmarks/step_profile.py": "--steps",
    "benchmarks/streaming.py": None,
    "benchmarks/training.py": "--turns",
    "scripts/fuzz.py": "--count",
}


@pytest.fixture
def refused(monkeypatch):
    """The one line that a program ends with."""
    modules = {}

    def load(program):
        path = ROOT / program
        monkeypatch.syspath_prepend(path.parent)
        spec = importlib.util.spec_from_file_location(f"called_{path.stem}", path)
        module = modules[program] = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        return module

    def call(program, *words):
        module = modules.get(program) or load(program)
        monkeypatch.setattr(sys, "argv", [program, *words])
        with pytest.raises(UserError) as caught:
            getattr(module, "parse", module.main)()
        assert len(str(caught.value).splitlines()) == 1
        return str(caught.value)

    return call


def test_C02_every_benchmark_is_in_the_table():
    programs = {path.name for path in (ROOT / "benchmarks").glob("[!_]*.py")}
    assert programs == {Path(program).name for program in PROGRAMS if program.startswith("benchmarks")}


@pytest.mark.parametrize("program", PROGRAMS)
def test_C02_a_program_refuses_what_cannot_be_meant(refused, program, tmp_path):
    assert "unknown option --outpu. Did you mean '--output'?" in refused(program, "--outpu", "x")
    assert "--output is given twice" in refused(program, "--output", "x", "--output", "y")
    assert "--output is empty" in refused(program, "--output", "")
    if program.startswith("benchmarks"):
        assert "is a folder, expected a file" in refused(program, "--output", str(tmp_path))
        (tmp_path / "file").write_text("")
        assert "--output: " in refused(program, "--output", str(tmp_path / "file" / "x.json"))
        if "--device" in (ROOT / program).read_text():
            assert "--device abacus: no such device" in refused(program, "--device", "abacus")
    for text in ("0", "-1", "nan", "1_0", "x") if PROGRAMS[program] else ():
        assert f"argument {PROGRAMS[program]}: expected a whole number from 1 up" in refused(
            program, f"{PROGRAMS[program]}={text}"
        )
