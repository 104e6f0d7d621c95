"""`make mutate` on a project of one function: what is killed, what survives, what is stale, and what is remembered."""

import importlib
import runpy
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "mutate.py"
KILLED = {"name": "sum", "file": "sums.py", "old": "a + b", "new": "a - b", "tests": ("test_sums.py::test_add",)}
SURVIVOR = {**KILLED, "name": "limit", "old": "< 99", "new": "< 98"}
TWICE = {**KILLED, "name": "twice", "old": "return", "new": "yield"}
GONE = {**KILLED, "name": "gone", "tests": ("test_other.py",)}


@pytest.fixture
def project(tmp_path):
    """A git checkout with a module and its test, neither of them committed."""
    (tmp_path / "sums.py").write_text(
        "def add(a, b):\n    return a + b if a < 99 else 0\n\n\ndef one():\n    return 1\n"
    )
    test = "from sums import add\n\n\ndef test_add():\n    assert add(1, 2) == 3\n"
    (tmp_path / "test_sums.py").write_text(test)
    (tmp_path / "scripts").mkdir()
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    return tmp_path


def mutate(project, *entries, options=()):
    """Exit code, the report's lines by name, and everything that was printed."""
    (project / "scripts" / "mutations.py").write_text(f"MUTATIONS = {[tuple(entry.values()) for entry in entries]}\n")
    command = [sys.executable, str(SCRIPT), "--root", str(project), *options]
    done = subprocess.run(command, capture_output=True, text=True)
    lines = {
        entry["name"]: line for entry in entries for line in done.stdout.splitlines() if f" {entry['name']} (" in line
    }
    return done.returncode, lines, done.stdout + done.stderr


def test_every_entry_of_the_list_finds_its_line_once():
    entries = runpy.run_path(str(SCRIPT.with_name("mutations.py")))["MUTATIONS"]
    root = SCRIPT.parents[1]
    texts = {entry.file: (root / entry.file).read_text(encoding="utf-8") for entry in entries}
    assert [entry.name for entry in entries if texts[entry.file].count(entry.old) != 1] == []


def test_killed_survived_and_stale(project):
    before = (project / "sums.py").read_text()
    code, lines, printed = mutate(project, KILLED, SURVIVOR, TWICE, GONE)
    assert code == 1
    assert lines["sum"].startswith("killed") and lines["sum"].endswith("test_sums.py::test_add")
    assert lines["limit"].startswith("SURVIVED")
    assert lines["twice"].startswith("STALE") and "found it 2 times" in lines["twice"]
    assert lines["gone"].startswith("STALE") and "test_other.py" in lines["gone"]
    assert "4 breaks: 1 killed, 1 SURVIVED, 2 STALE" in printed
    assert (project / "sums.py").read_text() == before


def test_a_second_call_runs_only_what_changed(project):
    assert mutate(project, KILLED)[0] == 0
    code, lines, printed = mutate(project, KILLED)
    assert code == 0 and lines["sum"].startswith("killed") and "to run" not in printed
    (project / "test_sums.py").write_text("def test_add():\n    pass\n")
    code, lines, printed = mutate(project, KILLED)
    assert code == 1 and lines["sum"].startswith("SURVIVED") and "1 to run" in printed


def test_only_some_and_no_time_left(project):
    assert mutate(project, KILLED, SURVIVOR, options=["--only", "sum"])[0] == 0
    code, lines, _ = mutate(project, KILLED, SURVIVOR, options=["--minutes", "0"])
    assert code == 1 and lines["sum"].startswith("killed") and lines["limit"].startswith("not run")
    assert "no such entry: other" in mutate(project, KILLED, options=["--only", "other"])[2]


def test_tests_that_fail_unbroken_prove_nothing(project):
    (project / "test_sums.py").write_text("def test_add():\n    assert False\n")
    code, _, printed = mutate(project, KILLED)
    assert code == 1 and "must pass before anything is broken" in printed


def test_what_the_tests_started_ends_with_them(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPT.parent)
    kill_all = importlib.import_module("mutate").kill_all
    sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    program = f"import subprocess; child = subprocess.Popen({sleep}); print(child.pid, flush=True); child.wait()"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        child = psutil.Process(int(process.stdout.readline()))
        kill_all(process)
    psutil.wait_procs([child], timeout=10)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
