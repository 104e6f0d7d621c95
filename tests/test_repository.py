"""The checkout: set-up, make targets, lock, workflow, licence. The documents and the wheel have tests of their own."""

from __future__ import annotations

import ast
import os
import re
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
BASH = "/bin/sh"
CI_TARGETS = ["check", "test", "test-recipes", "tutorials", "docs", "wheel", "newcomer"]


# ------------------------------------------------------------------ set-up
def tool(folder: Path, name: str, text: str) -> None:
    """Put an executable script in `folder`."""
    path = folder / name
    path.write_text(f"#!{BASH}\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def bare(tmp_path):
    """A checkout without .venv and a PATH that holds only what a shell script needs."""
    if os.name == "nt":
        pytest.skip("needs a POSIX shell")
    checkout, path = tmp_path / "checkout", tmp_path / "bin"
    (checkout / "scripts").mkdir(parents=True)
    path.mkdir()
    for name in ("setup.py", "requirements.lock", "scripts/setup.sh"):
        shutil.copy(ROOT / name, checkout / name)
    for name in filter(shutil.which, ("dirname", "sed", "cut", "sha256sum", "shasum", "rm", "mkdir")):
        (path / name).symlink_to(shutil.which(name))
    return checkout, path


def setup(bare, **environment) -> subprocess.CompletedProcess:
    checkout, path = bare
    command = [BASH, "scripts/setup.sh"]
    environment = {"PATH": str(path), **environment}
    return subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True)


def fake_python(path: Path, version: str, fit: bool) -> None:
    """A Python that says its version, and that it fits, or has the headers, or not."""
    tool(path, "python3", f'[ "$1" = --version ] && echo "Python {version}" && exit 0\nexit {0 if fit else 1}')


def test_wrong_python_is_one_line(bare):
    fake_python(bare[1], "3.13.1", fit=False)
    done = setup(bare)
    assert done.returncode == 1 and not done.stdout
    assert re.fullmatch(r"setup: .*3\.10, 3\.11 or 3\.12, found Python 3\.13\.1\. .*\n", done.stderr)


def test_no_python_is_one_line(bare):
    done = setup(bare)
    assert done.returncode == 1
    assert re.fullmatch(r"setup: .*3\.10, 3\.11 or 3\.12, found none\. .*\n", done.stderr)


def test_no_compiler_is_one_line(bare):
    fake_python(bare[1], "3.11.7", fit=True)
    done = setup(bare, CC="no-such-compiler")
    assert done.returncode == 1 and not done.stdout
    assert re.fullmatch(r"setup: a C compiler is needed .*PESQ.*\n", done.stderr)


def test_an_interrupted_installation_is_made_again(bare):
    checkout, path = bare
    tool(path, "gcc", "")
    tool(path, "python3", '[ "$2" != venv ] || exit 1')  # the real work starts, and stops here
    (checkout / ".venv" / "bin").mkdir(parents=True)
    tool(checkout / ".venv" / "bin", "python", "")
    done = setup(bare)
    assert "GB" in done.stdout and "minutes" in done.stdout  # said before anything is downloaded
    assert done.returncode and not (checkout / ".venv").exists()


def stamp(checkout: Path, **changes: str) -> None:
    """Leave what a finished installation leaves."""
    from hashlib import sha256

    (checkout / ".venv" / "bin").mkdir(parents=True)
    tool(checkout / ".venv" / "bin", "python", 'echo "$@" >> calls')
    lines = {"folder": str(checkout.resolve())}
    for key, name in (("lock", "requirements.lock"), ("setup", "setup.py")):
        lines[key] = sha256((checkout / name).read_bytes()).hexdigest()
    (checkout / ".venv" / "lobes-setup.stamp").write_text("\n".join({**lines, **changes}.values()) + "\n")


def test_an_installation_up_to_date_is_left_alone(bare):
    stamp(bare[0])
    begin = time.perf_counter()
    done = setup(bare)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert time.perf_counter() - begin < 2  # it hashes two files: hundredths of a second
    assert not (bare[0] / "calls").exists()


def test_a_changed_setup_py_installs_lobes_only(bare):
    stamp(bare[0], setup="old")
    assert setup(bare).returncode == 0
    calls = (bare[0] / "calls").read_text().splitlines()
    assert len(calls) == 1 and calls[0].endswith("-e .")
    assert setup(bare).stdout == ""


@pytest.mark.parametrize("change", [{"lock": "old"}, {"folder": "elsewhere"}])
def test_a_changed_lock_or_a_moved_folder_installs_all(bare, change):
    stamp(bare[0], **change)
    tool(bare[1], "gcc", "")
    tool(bare[1], "python3", '[ "$2" != venv ] || exit 1')
    done = setup(bare)
    assert "making .venv" in done.stdout and not (bare[0] / ".venv").exists()


# ------------------------------------------------------------------ make, CI
def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))


def test_make_targets():
    assert {"setup", "demo", "test", "check", "docs", "bench", "clean", "lock"} <= make_targets()


def test_ci_run_is_the_checks_and_the_tests():
    path = ROOT / ".ci" / "run"
    text = path.read_text(encoding="utf-8")
    assert os.access(path, os.X_OK) and text.startswith("#!/usr/bin/env bash") and "set -euo pipefail" in text
    order = ["setup", "newcomer", "check", "docs", "wheel", "test", "test-recipes", "tutorials"]
    assert re.findall(r"^make ([\w-]+)", text, flags=re.MULTILINE) == order
    assert set(order) == {"setup", *CI_TARGETS} <= make_targets()


def test_S08_workflow_calls_make_and_pins_actions_by_commit():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    job = workflow["jobs"]["test"]
    assert job["strategy"]["matrix"]["python"] == ["3.10", "3.12"]
    uses = [step["uses"] for step in job["steps"] if "uses" in step]
    assert uses and all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", use) for use in uses)
    runs = [step["run"].split()[:2] for step in job["steps"] if "run" in step]
    targets = [*CI_TARGETS, "test-wheel"]
    assert runs == [["make", target] for target in targets] and set(targets) <= make_targets()


def test_workflow_runs_the_fast_tests_on_macos_and_windows():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    job = workflow["jobs"]["systems"]
    assert [entry["os"] for entry in job["strategy"]["matrix"]["include"]] == ["macos-latest", "windows-latest"]
    assert [step["uses"] for step in job["steps"] if "uses" in step] == [
        step["uses"] for step in workflow["jobs"]["test"]["steps"] if "uses" in step
    ]
    runs = [step["run"].split("-m ", 1)[1] for step in job["steps"] if "run" in step]
    assert runs[0] == "venv .venv" and "--require-hashes -r requirements.lock" in runs[1] and "-e ." in runs[2]
    assert runs[3].split()[:3] == ["pytest", "-n", "logical"]


def test_hooks_are_the_checks():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0]["hooks"]
    tools = {hook["entry"].split()[0].removeprefix(".venv/bin/") for hook in hooks}
    checks = re.findall(r"^check (\w+)", (ROOT / "scripts" / "check.sh").read_text(encoding="utf-8"), re.MULTILINE)
    assert tools == set(checks) == {"ruff", "mypy", "yamllint", "codespell"}


# ------------------------------------------------------------------ dependencies
def setup_lists() -> tuple[list[str], dict[str, list[str]]]:
    """REQUIRES and EXTRAS of setup.py."""
    tree = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))
    values = {node.targets[0].id: node.value for node in tree.body if isinstance(node, ast.Assign)}
    return ast.literal_eval(values["REQUIRES"]), ast.literal_eval(values["EXTRAS"])


def name_of(requirement: str) -> str:
    return re.split(r"[<>=!~ \[;]", requirement)[0]


def test_each_dependency_has_a_reason():
    requires, extras = setup_lists()
    wanted = {(name_of(item), "") for item in requires}
    wanted |= {(name_of(item), extra) for extra, items in extras.items() for item in items}
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([\w-]+) \| ?(\w*) ?\| (.+) \|$", page, flags=re.MULTILINE)
    listed = {(name, extra) for name, extra, reason in rows if len(reason) > 3 and name != "Package"}
    assert listed == wanted


def test_lock_is_exact_hashed_and_names_no_index():
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert "://" not in text and "--index" not in text and "--find-links" not in text
    blocks = re.split(r"\n(?=\S)", text.strip())
    assert all(re.match(r"[\w.-]+==\S+", block) and "--hash=sha256:" in block for block in blocks)
    locked = {block.split("==")[0] for block in blocks}
    requires, extras = setup_lists()
    wanted = {*requires, *(item for extra, items in extras.items() if extra != "cuda" for item in items)}
    assert {name_of(item) for item in wanted} <= locked
    assert "torch==2.11.0 " in text and "torchaudio==2.11.0 " in text


# ------------------------------------------------------------------ licence, start-up
def test_licence_is_apache():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text and "END OF TERMS AND CONDITIONS" in text and "Copyright 2026" in text


def test_help_is_quick():
    def seconds() -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "lobes.cli", "--help"], check=True, capture_output=True)
        return time.perf_counter() - start

    assert min(seconds() for _ in range(5)) < 0.5


def test_no_text_installs_lobes_from_a_release_that_there_is_not():
    """`lobes.errors.install` says how; a command that names the package alone would fetch something else."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, encoding="utf-8")
    if listed.returncode:
        pytest.skip("not a git checkout")
    bare = re.compile(r"pip install\b[^`\n]*?(?<![\w./-])['\"]?lobes\b(?![\w./-])")
    assert bare.search("pip install lobes") and bare.search('pip install julius "lobes[demo]"')
    texts = (".md", ".py", ".sh", ".yaml", ".yml", ".toml", ".cfg", ".j2", ".html", "Makefile")
    files = [ROOT / name for name in listed.stdout.splitlines() if name.endswith(texts)]
    found = {
        str(path.relative_to(ROOT)): line
        for path in files
        if path.is_file() and path != Path(__file__).resolve()
        for line in path.read_text(encoding="utf-8").splitlines()
        if bare.search(line)
    }
    assert len(files) > 100 and not found
