"""Faults of a machine and of its packages, each with the finding that names it; seeded for real where that can be."""

from __future__ import annotations

import os
import resource
import shutil
import sys
from collections import namedtuple

import pytest

from lobes.doctor import child, command, compiled, machine, versions
from lobes.doctor.finding import Finding
from lobes.errors import UserError


def install(folder, name, version, requires=()):
    """A package that is installed as far as metadata say."""
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    lines = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {each}" for each in requires)]
    (info / "METADATA").write_text("\n".join(["Metadata-Version: 2.1", *lines]) + "\n")


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """install(name, version), before the packages of the environment."""
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return lambda *words: install(tmp_path / "site", *words)


def wrong(findings):
    return [(f.level, f.what, f.text) for f in findings if f.level != "ok"]


def test_a_right_environment_has_no_fault():
    assert [f for f in wrong(versions.check_versions()) if f[0] == "FAIL"] == []


@pytest.mark.parametrize("other", ["2.8.0", "2.11.0+cpu"])
def test_fault_torchaudio_of_another_torch(packages, other):
    packages("torch", "2.11.0+cu128")
    packages("torchaudio", other)
    (fault,) = wrong(versions.check_versions())
    assert fault[:2] == ("FAIL", "torch and torchaudio")
    assert "torch 2.11.0+cu128 and torchaudio" in fault[2] and "torchaudio 2.11 of the same build" in fault[2]


@pytest.mark.parametrize("torchvision, level", [("0.26.0", None), ("0.23.0", "FAIL")])
def test_fault_torchvision_of_another_torch(packages, torchvision, level):
    packages("torch", "2.11.0")
    packages("torchvision", torchvision)
    assert [f[:2] for f in wrong(versions.check_versions())] == ([(level, "torch and torchvision")] if level else [])


def test_fault_torch_beyond_the_range(packages):
    packages("torch", "2.12.0")
    packages("torchaudio", "2.12.0")
    faults = wrong(versions.check_versions())
    assert [f[1] for f in faults] == ["package torch", "package torchaudio"]
    assert "version 2.12.0 is installed, lobes needs torch<2.12,>=2.8" in faults[0][2]


def test_fault_a_torchaudio_that_lobes_excludes_does_not_match(packages):
    packages("lobes", "0.1.0", ["torch>=2.8", "torchaudio!=2.11.1,<2.12,>=2.8"])
    packages("torch", "2.11.0")
    packages("torchaudio", "2.11.1")
    found = list(versions.check_versions())
    assert [fault[1] for fault in wrong(found)] == ["package torchaudio"]
    assert "torch and torchaudio" not in [finding.what for finding in found]


def test_fault_numpy_too_new_for_numba(packages):
    packages("numpy", "9.0.0")
    faults = wrong(versions.check_versions())
    assert {fault[1] for fault in faults} == {"package numpy"}
    assert any("version 9.0.0 is installed, numba needs numpy<" in fault[2] for fault in faults)


def test_fault_a_package_is_missing(packages):
    packages("lobes", "0.1.0", ["torch<2.12,>=2.8", "no-such-package>=1"])
    (fault,) = wrong(versions.check_versions())
    assert (
        fault[:2] == ("FAIL", "package no-such-package") and "not installed, lobes needs no-such-package>=1" in fault[2]
    )


def test_fault_numba_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    (fault,) = wrong(compiled.check_numba())
    assert fault[:2] == ("FAIL", "numba") and "several times slower on a CPU" in fault[2]


def test_numba_compiles_here():
    assert wrong(compiled.check_numba()) == []


@pytest.mark.parametrize(
    "code, text",
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "ended by SIGSEGV in: imports"),
        ("raise OSError('libtorch_cuda.so: undefined symbol')", "fails: libtorch_cuda.so: undefined symbol"),
        (
            "import os; print('fatal: no such instruction'); os._exit(3)",
            "code 3 in: imports. fatal: no such instruction",
        ),
    ],
)
def test_fault_importing_torch_crashes(tmp_path, monkeypatch, code, text):
    for name in ("torch", "speechbrain"):
        (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", ""), os.getcwd()]))
    (fault,) = wrong(child.in_child("machine"))
    assert fault[:2] == ("FAIL", "imports") and text in fault[2]


@pytest.mark.parametrize("name, text", [("numbba", "Did you mean 'numba'?"), ("mamba_ssm", "which cannot run here: ")])
def test_fault_scan_backend(monkeypatch, name, text):
    monkeypatch.setenv("LOBES_SCAN_BACKEND", name)
    faults = [f for f in wrong(compiled.check_scan()) if f[1] == "LOBES_SCAN_BACKEND"]
    if not faults and name == "mamba_ssm":
        pytest.skip("mamba_ssm runs here")
    assert faults[0][0] == "FAIL" and name in faults[0][2] and text in faults[0][2]


def test_backends_have_their_reasons(monkeypatch):
    monkeypatch.delenv("LOBES_SCAN_BACKEND", raising=False)
    found = {f.what: f.text for f in compiled.check_scan()}
    assert found["scan: reference"] == "available" and found["scan: mamba_ssm"]


def test_fault_kernel_cache(monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/dev/null/cache")
    (fault,) = wrong(compiled.check_cache())
    assert fault[:2] == ("FAIL", "kernel cache") and "cannot write to /dev/null/cache" in fault[2]


def test_fault_more_threads_than_cores():
    (fault,) = wrong(compiled.check_threads({"OMP_NUM_THREADS": "64"}, cores=2))
    assert fault[:2] == ("warn", "threads") and "OMP_NUM_THREADS=64, and this process may use 2 cores" in fault[2]
    assert wrong(compiled.check_threads({"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": ""}, cores=2)) == []
    (fault,) = wrong(compiled.check_threads({"MKL_NUM_THREADS": "all"}, cores=2))
    assert "MKL_NUM_THREADS=all is no number of threads" in fault[2]


def test_fault_output_folder_cannot_be_written():
    (fault,) = wrong(machine.check_machine("/dev/null/run"))
    assert fault[:2] == ("FAIL", "output folder") and "cannot write to /dev/null/run: Not a directory" in fault[2]


@pytest.mark.parametrize("place, what", [("run", "output folder"), (machine.SHARED_FOLDER, "shared memory")])
def test_fault_too_little_room(tmp_path, monkeypatch, place, what):
    usage, small = shutil.disk_usage, str(tmp_path) if place == "run" else place
    few = namedtuple("Usage", "total used free")(2**26, 0, 2**26)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: few if str(path).startswith(small) else usage(path))
    monkeypatch.setattr(machine.tempfile, "gettempdir", lambda: "/var/tmp")
    (fault,) = wrong(machine.check_machine(str(tmp_path / "run")))
    assert fault[:2] == ("FAIL", what) and "64 MB free in" in fault[2]


def test_fault_temporary_folder_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "none"))
    monkeypatch.setattr(machine.tempfile, "tempdir", None)
    (fault,) = wrong(machine.check_machine(str(tmp_path)))
    assert fault[:2] == ("warn", "temporary folder") and f"TMPDIR={tmp_path}/none cannot be written" in fault[2]


def test_fault_numba_compiles_nothing(monkeypatch):
    import numba

    monkeypatch.setattr(numba.config, "DISABLE_JIT", 1)
    (fault,) = wrong(compiled.check_numba())
    assert fault[:2] == ("FAIL", "numba") and "NUMBA_DISABLE_JIT is set" in fault[2]


def test_fault_few_open_files(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
    try:
        (fault,) = wrong(machine.check_machine(str(tmp_path)))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert (
        fault[:2] == ("FAIL", "open files") and "256 may be open at a time" in fault[2] and "ulimit -n 1024" in fault[2]
    )


def test_fault_little_memory_of_a_container(tmp_path, monkeypatch):
    (tmp_path / "memory.max").write_text(f"{2**30}\n")
    monkeypatch.setattr(machine, "LIMITS", (str(tmp_path / "memory.max"),))
    (fault,) = wrong(machine.check_machine(str(tmp_path)))
    assert fault[:2] == ("warn", "memory") and "of 1.0 GB free" in fault[2]


def test_a_process_that_takes_all_memory_is_stopped(monkeypatch):
    monkeypatch.setattr(child, "available_memory", lambda: (2**20, 2**20))
    (fault,) = child.in_child("machine")
    assert fault[:2] == ("FAIL", "memory") and "out of memory in: " in fault[2] and "Lower --batch_size" in fault[2]


def test_one_that_the_system_ended():
    assert child.death("training step", -9, "").text.startswith("out of memory in: training step (the system ended")


def test_exit_codes_and_misuse(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(command, "findings", lambda *words: iter([Finding("ok", "a", ""), Finding("warn", "b", "")]))
    assert command.doctor([]) == 0
    monkeypatch.setattr(command, "findings", lambda *words: iter([Finding("FAIL", "a", "x")]))
    assert command.doctor(["--output_folder", str(tmp_path)]) == 1
    assert "FAIL  a                    x\n1 checks: 1 failed, 0 warnings" in capsys.readouterr().out
    for words, options, text in (
        (["--lr", "3"], {}, "--lr is an option of recipes only"),
        (["--output_folder"], {}, "expected a folder"),
        (["nowhere.yaml", "--data_folder", "x"], {}, "no such recipe file: nowhere.yaml"),
        (["custom"], {}, "--data_folder FOLDER"),
        (["custom", "--data_folder", "x"], {"data": "x"}, "Give one of them"),
        ([], {"of": "custom"}, "give --data FOLDER"),
        ([], {"data": "x", "of": "Custom"}, "Did you mean 'custom'?"),
        ([], {"data": str(tmp_path / "none")}, "there is no such folder"),
        ([], {"data_root": "x"}, "--data-root is for --data MANIFEST"),
    ):
        with pytest.raises(UserError, match=text):
            command.doctor(words, **options)


def test_a_check_that_fails_in_another_way_is_a_finding():
    def check():
        yield Finding("ok", "a", "")
        raise ModuleNotFoundError("No module named 'psutil'", name="psutil")

    assert [f.level for f in command.guarded("machine", check())] == ["ok", "FAIL"]
