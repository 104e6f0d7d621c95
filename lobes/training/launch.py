"""From the command line to a run folder: parse, resolve, make the folder, start the logs."""

from __future__ import annotations

import logging
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from lobes import __version__
from lobes.errors import UserError

_STARTED = time.monotonic()
# How long an idle thread of PyTorch's waits actively. OpenMP's default, 30 times longer, takes cores from the scan's
# threads: 5 to 15 % of a step of the small presets on two cores. A step of a tiny network beside other work was 10 to
# 20 times slower with it. Not to wait actively at all costs a third.
_SPIN_COUNT = "10000"
_CHATTY = ("numba", "matplotlib", "fsspec", "PIL", "asyncio")


def announce() -> None:
    """Say at once that the program lives; the imports that follow take some seconds. To be called before them."""
    os.environ.setdefault("GOMP_SPINCOUNT", _SPIN_COUNT)  # OpenMP reads it once, when PyTorch is imported
    print(f"Lobes {__version__}: loading PyTorch and SpeechBrain (about 4 s) ...", flush=True)


def seconds_since_launch() -> float:
    """Seconds since this module was imported, which a recipe does first."""
    return time.monotonic() - _STARTED


def read_command_line(argv: list[str]) -> tuple[str, Any, str]:
    """Parse `hparams/x.yaml --key value`, as SpeechBrain does, and resolve the YAML file.

    Arguments
    ---------
    argv : list of str
        The command line without the program's name.

    Returns
    -------
    text : str
        The resolved YAML text.
    run_opts : speechbrain.utils.run_opts.RunOptions
        Device, debug and the like.
    param_file : str
        The recipe's file.

    Raises
    ------
    UserError
        If the file or an option is wrong.

    Example
    -------
    >>> read_command_line(["no/such.yaml"])
    Traceback (most recent call last):
    ...
    lobes.errors.UserError: no such recipe file: no/such.yaml. The folder has: no YAML file.
    """
    from speechbrain.utils.run_opts import RunOptions

    from lobes.config import resolve

    if not argv or argv[0].startswith("-") and argv[0] not in ("-h", "--help"):
        raise UserError("expected a recipe file first: python train.py hparams/NAME.yaml --data_folder FOLDER")
    in_a_log = [] if sys.stderr.isatty() else ["--noprogressbar"]  # there every tick of a bar would be a line
    param_file, run_opts, overrides = RunOptions.from_command_line_args([*argv, *in_a_log])
    return resolve(param_file, overrides, tuple(run_opts.keys())), run_opts, param_file


def make_run_folder(output_folder: str, text: str, script: str, argv: list[str]) -> None:
    """Create the run folder: resolved YAML, a copy of the script, the command and the log file.

    Arguments
    ---------
    output_folder : str
    text : str
        The resolved YAML.
    script : str
        Path of the recipe's train.py.
    argv : list of str
        The command line, written down with the commit and the machine.

    Raises
    ------
    UserError
        If the folder cannot be written.

    Example
    -------
    >>> import tempfile
    >>> folder = tempfile.mkdtemp() + "/run"
    >>> make_run_folder(folder, "lr: 0.1", __file__, ["hparams/x.yaml"])
    >>> Path(folder, "hyperparams.yaml").read_text().splitlines()[-1]
    'lr: 0.1'
    """
    folder = Path(output_folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make output_folder {folder}: {error.strerror}.") from error
    header = f"# Lobes {__version__}, commit {commit()}\n# command: {command(script, argv)}\n# yamllint disable\n"
    (folder / "hyperparams.yaml").write_text(header + text, encoding="utf-8")
    shutil.copy(script, folder)
    start_logging(folder / "log.txt")


def start_logging(log_file: Path) -> None:
    """Send messages to the screen and everything to the log file, without the debug talk of libraries."""
    from speechbrain.utils.logger import TqdmCompatibleStreamHandler

    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
    screen = TqdmCompatibleStreamHandler(sys.stdout)
    screen.setLevel(logging.INFO)
    screen.setFormatter(logging.Formatter("%(message)s"))
    screen.addFilter(lambda record: not record.name.startswith("speechbrain") or record.levelno >= logging.WARNING)
    file = logging.FileHandler(log_file, encoding="utf-8")
    file.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
    root.setLevel(logging.DEBUG)
    root.addHandler(screen)
    root.addHandler(file)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)


def command(script: str, argv: list[str]) -> str:
    """The command line as somebody would type it."""
    return " ".join(["python", Path(script).name, *argv])


def commit() -> str:
    """Short hash of the checkout's commit, with a plus when files differ; "unknown" outside a checkout.

    What the benchmarks write is no difference: else the second of them would blame the first.
    """
    here = Path(__file__).parent

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, check=True).stdout.strip()

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
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{model}, {os.cpu_count()} cores{gpu}, torch {torch.__version__}"
