"""The Dockerfile, as far as it can be judged without an engine: instructions, files, and its last commands by hand."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
KNOWN = {"FROM", "RUN", "WORKDIR", "COPY", "USER", "ENV", "ENTRYPOINT", "CMD"}


def instructions(text: str) -> list[tuple[str, str]]:
    """Instruction and argument of each line; comments are left out, and continued lines joined."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in joined.splitlines()]


def stages() -> list[list[tuple[str, str]]]:
    found: list[list[tuple[str, str]]] = []
    for name, words in instructions((ROOT / "Dockerfile").read_text(encoding="utf-8")):
        found += [[]] if name == "FROM" else []
        found[-1].append((name, words))
    return found


ALL = [one for stage in stages() for one in stage]
COPIED = [words.split()[:-1] for name, words in ALL if name == "COPY" and "--from" not in words]
FILES = {word for words in COPIED for word in words}


def test_instructions_are_read_whole():
    text = "# a\nFROM x:1 AS b\nRUN a && \\\n    b\n"
    assert instructions(text) == [("FROM", "x:1 AS b"), ("RUN", "a && b")]


def test_images_have_a_version_and_no_registry():
    images = [words.split()[0] for name, words in ALL if name == "FROM"]
    assert len(set(images)) == 1 and all(re.fullmatch(r"[a-z]+:\d+\.\d+[\w.-]*", image) for image in images)
    assert re.search(r":3\.1[0-2]", images[0]), "a Python of setup.py"
    assert "://" not in (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_every_instruction_is_known_and_the_last_stage_is_lean():
    assert {name for name, _ in ALL} <= KNOWN  # no ADD, which fetches and unpacks
    build, final = stages()
    assert not any("apt-get" in words or "pip" in words for _, words in final)
    assert [words for name, words in final if name == "USER"] == ["user"]
    shapes = {name: json.loads(words) for name, words in final if name in ("ENTRYPOINT", "CMD")}
    assert shapes == {"ENTRYPOINT": ["lobes"], "CMD": ["--help"]}
    named = {words.split()[-1] for name, words in build if name == "FROM" and " AS " in words}
    assert {word for _, words in final for word in re.findall(r"--from=(\w+)", words)} == named


def test_packages_come_from_the_lock_and_nothing_is_left_of_their_fetching():
    runs = [words for name, words in ALL if name == "RUN"]
    for words in runs:
        if "apt-get install" in words:
            assert words.startswith("apt-get update && ") and "--no-install-recommends" in words
            assert words.endswith("rm -rf /var/lib/apt/lists/*")
        for command in re.findall(r"pip install[^&]*", words):
            assert "--no-cache-dir" in command
            assert "--require-hashes -r requirements.lock" in command or "--no-deps --no-build-isolation ." in command
    assert sum("pip install" in words for words in runs) == 2


def test_the_lock_is_installed_before_the_code_is_copied():
    order = [words for name, words in stages()[0] if name in ("COPY", "RUN")]
    lock = next(number for number, words in enumerate(order) if "--require-hashes" in words)
    assert [number for number, words in enumerate(order) if words.startswith("lobes ")][0] > lock


def test_every_copied_file_is_there_and_is_sent():
    assert all((ROOT / name).exists() for name in FILES)
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert lines[1] == "*" and {line[1:] for line in lines if line.startswith("!")} == FILES


def test_what_is_copied_is_what_the_wheel_is_built_from():
    manifest = (ROOT / "MANIFEST.in").read_text(encoding="utf-8").split()
    assert FILES - {"MANIFEST.in"} <= set(manifest)
    mapped = set(re.findall(r'"lobes\.\w+": "(\w+)"', (ROOT / "setup.py").read_text(encoding="utf-8")))
    assert mapped | {"lobes"} == {name for name in FILES if (ROOT / name).is_dir()}


@pytest.mark.skipif(os.name == "nt", reason="the commands are those of Linux")
def test_the_code_is_installed_by_the_same_commands_from_the_copied_files_alone(tmp_path):
    source, environment = tmp_path / "source", tmp_path / "lobes"
    for name in FILES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "results"))
        else:
            source.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, source)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    (site,) = environment.glob("lib/python*/site-packages")
    (site / "lock.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")  # what the lock has installed
    command = next(words for name, words in ALL if name == "RUN" and "--no-deps" in words)
    pip = shlex.join([sys.executable, "-m", "pip", "--python", str(environment / "bin" / "python")])
    command = command.replace("/lobes/bin/lobes", f"{environment}/bin/lobes")
    command = command.replace("/lobes/bin/python -m pip install", f"{pip} install --no-index --ignore-installed")
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(["/bin/sh", "-ec", command], cwd=source, env=clean, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\nPolSESS/spmamba_tiny.yaml " in done.stdout
    shapes = {name: json.loads(words) for name, words in ALL if name in ("ENTRYPOINT", "CMD")}
    words = [environment / "bin" / shapes["ENTRYPOINT"][0], *shapes["CMD"]]
    shown = subprocess.run(words, cwd=tmp_path, env=clean, capture_output=True, text=True)
    assert shown.returncode == 0 and "separate" in shown.stdout
