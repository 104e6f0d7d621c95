"""The code on macOS and Windows, as far as this system can show: what POSIX alone has, and the encoding of texts."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("lobes", "recipes", "scripts", "benchmarks")
FILES = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
POSIX = ("fcntl", "resource", "pwd", "grp", "termios", "pty")
NAMES = {  # of os and signal
    *("fork", "getloadavg", "getpgid", "getuid", "geteuid", "killpg", "mkfifo", "nice", "setpgid", "setsid", "uname"),
    *("sched_getaffinity", "sched_setaffinity", "sysconf", "SIGALRM", "SIGHUP", "SIGKILL", "SIGUSR1", "alarm"),
}
ARGUMENTS = {"pass_fds", "preexec_fn"}  # of subprocess
IMPORTED = f"""
import importlib, sys
import filelock, numba, psutil, scipy.signal, soundfile, speechbrain, torch
sys.modules.update(dict.fromkeys({POSIX}))  # as they are on Windows, for what is imported from here on
for name in sys.argv[1:]:
    importlib.import_module(name)
"""


def name_of(call: ast.Call) -> str:
    """The last part of what is called."""
    return getattr(call.func, "attr", getattr(call.func, "id", ""))


def unguarded(tree: ast.AST) -> Iterator[int]:
    """Lines that import a module of POSIX outside a try with an `except ImportError`."""
    tries = (node for node in ast.walk(tree) if isinstance(node, ast.Try))
    guards = [node for node in tries if any("ImportError" in ast.unparse(handler.type) for handler in node.handlers)]
    guarded = {id(inner) for node in guards for line in node.body for inner in ast.walk(line)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
        if id(node) not in guarded and set(names) & set(POSIX):
            yield node.lineno


def posix_alone(tree: ast.AST) -> Iterator[int]:
    """Lines that use what Windows lacks of os, signal and subprocess, in a file that does not ask `hasattr` for it."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    asked = {ast.unparse(call) for call in calls if name_of(call) == "hasattr"}
    for call in calls:
        yield from (call.lineno for word in call.keywords if word.arg in ARGUMENTS)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in NAMES and ast.unparse(node.value) in ("os", "signal"):
            if f"hasattr({ast.unparse(node.value)}, {node.attr!r})" not in asked:
                yield node.lineno


def mode_of(call: ast.Call) -> str | None:
    """The mode of an `open` or of a temporary file; None where it is another function of that name."""
    temporary = "Temp" in name_of(call)
    first = temporary or (isinstance(call.func, ast.Attribute) and name_of(call) == "open")  # path.open("w")
    given = call.args[:1] if first else call.args[1:2]
    given = [*given, *(word.value for word in call.keywords if word.arg == "mode")]
    if not given:
        return "w+b" if temporary else "r"
    mode = getattr(given[0], "value", None)  # archive.open(member): no constant
    return mode if isinstance(mode, str) else None


def without_encoding(tree: ast.AST) -> Iterator[int]:
    """Lines that read or write text in the encoding of whatever machine runs them."""
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name, named = name_of(call), {word.arg: word.value for word in call.keywords}
        if "encoding" in named or ast.unparse(call.func) == "os.open":
            continue
        texts = name in ("read_text", "write_text") and len(call.args) < 1 + (name == "write_text")
        texts |= name in ("FileHandler", "TextIOWrapper", "savetxt", "loadtxt", "genfromtxt")
        texts |= any(ast.unparse(named[key]) == "True" for key in ("text", "universal_newlines") if key in named)
        if name in ("open", "fdopen", "NamedTemporaryFile", "TemporaryFile"):
            mode = mode_of(call)
            texts |= mode is not None and "b" not in mode
        if texts:
            yield call.lineno


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import fcntl", 1),
        ("from resource import getrusage", 1),
        ("try:\n    import fcntl\nexcept ValueError:\n    pass", 1),
        ("try:\n    import resource\nexcept ImportError:\n    import psutil", 0),
        ("import json", 0),
    ],
)
def test_unguarded_imports_are_found(source, found):
    assert len(list(unguarded(ast.parse(source)))) == found


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("open(p)", 1),
        ("open(p, 'w')", 1),
        ("open(p, mode='w', newline='')", 1),
        ("p.open()", 1),
        ("p.open('w')", 1),
        ("p.read_text()", 1),
        ("p.write_text(t)", 1),
        ("subprocess.run(c, text=True)", 1),
        ("logging.FileHandler(p)", 1),
        ("tempfile.NamedTemporaryFile('w')", 1),
        ("tempfile.NamedTemporaryFile()", 0),
        ("open(p, 'rb')", 0),
        ("os.fdopen(1, 'wb')", 0),
        ("os.open(p, os.O_RDONLY)", 0),
        ("p.open('ab')", 0),
        ("archive.open(member)", 0),
        ("p.read_text('utf-8')", 0),
        ("p.read_text(encoding='utf-8')", 0),
        ("subprocess.run(c, text=True, encoding='utf-8')", 0),
    ],
)
def test_texts_without_an_encoding_are_found(source, found):
    assert len(list(without_encoding(ast.parse(source)))) == found


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("os.nice(1)", 1),
        ("if hasattr(os, 'nice'):\n    os.nice(1)", 0),
        ("os.killpg(group, signal.SIGKILL)", 2),
        ("subprocess.Popen(c, pass_fds=(3,))", 1),
        ("process.kill()", 0),
    ],
)
def test_what_windows_lacks_is_found(source, found):
    assert len(list(posix_alone(ast.parse(source)))) == found


def test_the_code_holds_to_all():
    trees = {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in FILES}
    rules = (unguarded, posix_alone, without_encoding)
    found = [f"{name}:{line}" for name, tree in trees.items() for rule in rules for line in rule(tree)]
    assert not found, found


@pytest.mark.slow
def test_every_module_is_imported_without_posix():
    modules = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in FILES if "lobes" in path.parts]
    names = [name.removesuffix(".__init__") for name in modules if not name.endswith("__main__")]
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED, *names],
        cwd=ROOT,
        env={**os.environ, "LOGNAME": "user"},  # PyTorch asks the module pwd else
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr[-2000:]
