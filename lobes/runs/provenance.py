"""The origin of a number: the command, the commit and the machine."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
from pathlib import Path


def command(script: str, argv: list[str]) -> str:
    """The command line as somebody would type it into a shell: in the folder of the script, or `lobes train` elsewhere.

    Example
    -------
    >>> command("recipes/custom/train.py", ["hparams/spmamba.yaml", "--data_folder", "my data"])
    "python train.py hparams/spmamba.yaml --data_folder 'my data'"
    >>> from lobes.config.recipe_folders import recipes_folder
    >>> custom = recipes_folder() / "custom"
    >>> command(f"{custom}/train.py", [f"{custom}/hparams/spmamba.yaml", "--num_spks", "1"])
    'lobes train custom/spmamba.yaml --num_spks 1'
    """
    from lobes.config.recipe_folders import name_of, script_of  # which need YAML; commit and machine do not

    place = Path(script).absolute()
    if argv and place.parent != Path.cwd() and script_of(Path(argv[0])) == place:
        return shlex.join(["lobes", "train", name_of(Path(argv[0])), *argv[1:]])
    return shlex.join(["python", Path(script).name, *argv])


def commit() -> str:
    """Short hash of the checkout's commit, with a plus when files differ; "unknown" outside a checkout.

    Results of benchmarks do not count as a difference: else a second benchmark would blame the first one.
    """
    here = Path(__file__).parent

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=here, capture_output=True, check=True)
        return done.stdout.decode("utf-8", "replace").strip()

    try:
        changed = git("status", "--porcelain", "-uno", "--", ":/", ":(top,exclude)benchmarks/results")
        return git("rev-parse", "--short=10", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def machine() -> str:
    """Processor, cores and accelerator in words, without names that identify the machine."""
    import torch

    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        model = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{model}, {os.cpu_count()} cores{gpu}, torch {torch.__version__}"


def usable_cores() -> int:
    """Cores that this process may use, of all that the machine has.

    Example
    -------
    >>> usable_cores() >= 1
    True
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
