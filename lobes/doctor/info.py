"""The command `lobes info`: one page of facts for a report of a fault."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

import lobes
from lobes.doctor.finding import in_bytes

VARIABLES = ("LOBES_", "OMP_", "MKL_", "NUMBA_", "CUDA_VISIBLE_DEVICES", "PYTORCH_", "HF_HUB_OFFLINE", "TRITON_")


def info() -> None:
    """Print one page of facts for a report of a fault: versions, machine, GPU, scan backends, variables.

    It names no user and no host: the home folder is written as ~. What is wrong with them, `lobes doctor` says.
    """
    for what, text in facts():
        print(f"{what:18} {in_home(' '.join(text.split()))}", flush=True)


def facts() -> Iterator[tuple[str, str]]:
    """The lines of the page; what needs PyTorch comes last, from a process of its own, which may fail."""
    from lobes.config.recipe_folders import recipes_folder
    from lobes.doctor.child import in_child
    from lobes.doctor.machine import available_memory
    from lobes.runs.provenance import commit, usable_cores

    yield "Lobes", f"{lobes.__version__}, commit {commit()}"
    yield "installed in", str(Path(lobes.__file__).parent)
    yield "recipes in", str(recipes_folder())
    yield "Python", f"{platform.python_version()} ({platform.python_implementation()}), {sys.executable}"
    yield "system", platform.platform()
    yield "packages", ", ".join(packages())
    free, total = available_memory()
    yield "cores", f"{usable_cores()} of {os.cpu_count()} may be used"
    yield "memory", f"{in_bytes(free)} of {in_bytes(total)} free"
    yield "variables", ", ".join(variables(os.environ)) or "none"
    for finding in in_child("machine"):
        yield finding.what, finding.text


def packages() -> list[str]:
    """What Lobes needs, with the versions that are installed.

    Example
    -------
    >>> any(line.startswith("torch 2.") for line in packages())
    True
    """
    from lobes.doctor.versions import name_of, required, version_of

    names = [name_of(requirement) for requirement in required("lobes")]
    return [f"{name} {version_of(name) or 'missing'}" for name in dict.fromkeys(names)]


def variables(environment: os._Environ[str] | dict[str, str]) -> list[str]:
    """The variables of the environment that change what Lobes does.

    Example
    -------
    >>> variables({"OMP_NUM_THREADS": "2", "HF_TOKEN": "secret"})
    ['OMP_NUM_THREADS=2']
    """
    return [f"{name}={environment[name]}" for name in sorted(environment) if name.startswith(VARIABLES)]


def in_home(text: str) -> str:
    """A text with the home folder as ~."""
    home = str(Path.home())
    return text.replace(home, "~") if len(home) > 1 else text
