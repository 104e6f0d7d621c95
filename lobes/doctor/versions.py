"""Versions of Python and of packages, read from their metadata: nothing is imported."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib import metadata

from lobes import __version__
from lobes.doctor.finding import FAIL, OK, WARN, Finding
from lobes.errors import install

SHOWN = ("torch", "torchaudio", "speechbrain", "numpy", "numba")
WHY = {  # what a user sees without it
    "numba": "the scan runs on CPUs without it, several times slower",
    "pesq": "PESQ cannot be computed",
    "torchaudio": "SpeechBrain imports it, so no training starts",
}
_PART = re.compile(r"(==|~=|!=|<=|>=|<|>)\s*([\w.*+!-]+)")
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")


def check_versions() -> Iterator[Finding]:
    """Python, every package that Lobes needs in the range of `setup.py`, and those that must match each other."""
    yield _python()
    yield _lobes()
    wrong = 0
    for requirement in required("lobes"):
        problem = _problem("lobes", requirement)
        wrong += problem is not None
        if problem:
            yield problem
    if not wrong:
        yield Finding(OK, "packages", ", ".join(f"{name} {version_of(name)}" for name in SHOWN))
    yield from _torch_family()
    direct = [name_of(requirement) for requirement in required("lobes")]
    for package in dict.fromkeys([*direct, "torchvision"]):
        yield from (problem for requirement in required(package) if (problem := _problem(package, requirement)))


def version_of(package: str) -> str | None:
    """The installed version of a package; None where it is not installed.

    Example
    -------
    >>> version_of("torch") is not None, version_of("no-such-package")
    (True, None)
    """
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def required(package: str) -> list[str]:
    """What an installed package needs, as its metadata say, without extras and what is for other systems.

    Example
    -------
    >>> any(requirement.startswith("llvmlite") for requirement in required("numba"))
    True
    """
    try:
        found = metadata.requires(package) or []
    except metadata.PackageNotFoundError:
        return []
    return [requirement for requirement in found if ";" not in requirement]


def name_of(requirement: str) -> str:
    """The package that a requirement names.

    Example
    -------
    >>> name_of("torch<2.12,>=2.8"), name_of("ruamel.yaml (>=0.17)"), name_of("cuda-toolkit[nvtx]==13")
    ('torch', 'ruamel.yaml', 'cuda-toolkit')
    """
    match = _NAME.match(requirement)
    return match[0] if match else requirement


def fits(version: str, requirement: str) -> bool:
    """Whether a version lies in the range of a requirement.

    Example
    -------
    >>> fits("2.11.0+cu128", "torch<2.12,>=2.8"), fits("2.12.0", "torch<2.12,>=2.8"), fits("1.0", "x")
    (True, False, True)
    """
    numbers = as_numbers(version)
    for sign, text in _PART.findall(requirement):
        limit = as_numbers(text)
        same = numbers[: len(limit)] == limit if text.endswith("*") or sign == "~=" else _padded(numbers, limit)
        order = {
            "==": same, "!=": not same, "~=": numbers >= limit and numbers[: len(limit) - 1] == limit[:-1],
            "<": _less(numbers, limit), ">": _less(limit, numbers),
            "<=": not _less(limit, numbers), ">=": not _less(numbers, limit),
        }  # fmt: skip
        if not order[sign]:
            return False
    return True


def as_numbers(version: str) -> tuple[int, ...]:
    """The numbers at the start of a version.

    Example
    -------
    >>> as_numbers("2.11.0+cu128"), as_numbers("0.50.0dev0")
    ((2, 11, 0), (0, 50, 0))
    """
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, found[0].split("."))) if found else ()


def _padded(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    return not _less(a, b) and not _less(b, a)


def _less(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    most = max(len(a), len(b))
    return a + (0,) * (most - len(a)) < b + (0,) * (most - len(b))


def _problem(of: str, requirement: str) -> Finding | None:
    """A package that is missing or of another version than one needs it."""
    name = name_of(requirement)
    version = version_of(name)
    if version is None:
        why = f"; {WHY[name]}" if name in WHY else ""
        return Finding(
            FAIL, f"package {name}", f"not installed, {of} needs {requirement}{why}. Install it: {install()}"
        )
    if not fits(version, requirement):
        text = f"version {version} is installed, {of} needs {requirement}. Install it anew: {install()}"
        return Finding(FAIL, f"package {name}", text)
    return None


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    wanted = _metadata("lobes", "Requires-Python") or ">=3.10,<3.13"
    if fits(version, wanted):
        return Finding(OK, "python", f"{version} ({sys.executable})")
    return Finding(FAIL, "python", f"{version}, expected {wanted}. Make the environment with another Python.")


def _metadata(package: str, key: str) -> str | None:
    try:
        return metadata.metadata(package).get(key)  # type: ignore[attr-defined]  # a message
    except metadata.PackageNotFoundError:
        return None


def _lobes() -> Finding:
    installed = version_of("lobes")
    if installed is None:
        text = f"{__version__} runs from a folder and is not installed: the versions of other packages are not checked."
        return Finding(WARN, "lobes", f"{text} Install it: {install()}")
    if installed != __version__:
        text = f"{__version__} is imported, {installed} is installed. Look at PYTHONPATH, or install it: {install()}"
        return Finding(WARN, "lobes", text)
    return Finding(OK, "lobes", __version__)


def _excluded(package: str, version: str) -> bool:
    """Whether Lobes itself asks for another version, which is a finding of its own."""
    return any(name_of(wanted) == package and not fits(version, wanted) for wanted in required("lobes"))


def _torch_family() -> Iterator[Finding]:
    """torch, torchaudio and torchvision are built together: another pair fails when it is imported."""
    torch = version_of("torch")
    if torch is None:
        return
    for name in ("torchaudio", "torchvision"):
        version = version_of(name)
        if version is None or _excluded(name, version):
            continue
        expected = as_numbers(torch)[:2]
        if name == "torchvision":  # 0.23 came with 2.8
            expected = (0, expected[1] + 15) if expected[0] == 2 else as_numbers(version)[:2]
        builds = {text.partition("+")[2] for text in (torch, version)} - {""}
        if as_numbers(version)[:2] != expected or len(builds) > 1:
            wanted = ".".join(map(str, expected))
            yield Finding(
                FAIL,
                f"torch and {name}",
                f"torch {torch} and {name} {version} are not built for each other, and importing them together fails: "
                f"{name} {wanted} of the same build is expected. Install both at once: {install()}",
            )
        else:
            yield Finding(OK, f"torch and {name}", f"{torch} and {version} match")
