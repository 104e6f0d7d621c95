"""From the command line to a run folder: parse, resolve, make the folder, start the logs."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import time
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lobes import __version__
from lobes.errors import UserError
from lobes.runs import names
from lobes.runs.provenance import command, commit

if TYPE_CHECKING:
    from lobes.runs.starts import Start

logger = logging.getLogger(__name__)
_STARTED = time.monotonic()
# How long an idle thread of PyTorch's waits actively. OpenMP's default, 30 times longer, takes cores from the scan's
# threads: 5 to 15 % of a step of the small presets on two cores. A step of a tiny network next to other work was 10 to
# 20 times slower with it. Not to wait actively at all costs a third.
_SPIN_COUNT = "10000"
_CHATTY = ("numba", "matplotlib", "fsspec", "PIL", "asyncio")


def announce() -> None:
    """Print a first line at once, because the imports that follow take some seconds. Call it before them."""
    os.environ.setdefault("GOMP_SPINCOUNT", _SPIN_COUNT)  # OpenMP reads it once, when PyTorch is imported
    print(f"Lobes {__version__}: loading PyTorch and SpeechBrain (about 4 s) ...", flush=True)


def seconds_since_launch() -> float:
    """Seconds since this module was imported, which a recipe does first."""
    return time.monotonic() - _STARTED


def start(argv: list[str], script: str) -> tuple[dict[str, Any], Any]:
    """Read the command line, make the objects of the recipe file and the run folder.

    Arguments
    ---------
    argv : list of str
        The command line without the program's name.
    script : str
        Path of the recipe's train.py, which is copied into the run folder.

    Returns
    -------
    hparams : dict
        The recipe file with its objects made.
    run_opts : speechbrain.utils.run_opts.RunOptions
        Device, debug and the like.

    Raises
    ------
    UserError
        If the file or an option is wrong, or the run folder cannot be written.
    """
    from speechbrain.utils.distributed import ddp_init_group, run_on_main

    from lobes.config import load
    from lobes.runs.continuation import admit
    from lobes.training.debug import in_temporary_folder

    text, run_opts, _ = read_command_line(argv)
    ddp_init_group(run_opts)
    if run_opts.debug:
        text, run_opts, _ = read_command_line(in_temporary_folder(argv))
    begin = admit(text, script, argv, run_opts.test_only)
    hparams = load(begin.text)
    run_on_main(make_run_folder, [hparams["output_folder"], begin, script, argv])
    return hparams, run_opts


def read_command_line(argv: list[str]) -> tuple[str, Any, str]:
    """Parse `hparams/x.yaml --key value`, as SpeechBrain does, and resolve the YAML file.

    Returns the resolved text, SpeechBrain's run options (device, debug and the like), and the recipe's file.

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
    text = resolve(param_file, overrides, tuple(run_opts.keys()))
    return with_run_options(text, run_opts), run_opts, param_file


def with_run_options(text: str, run_opts: Any) -> str:
    """The recipe's text with those of SpeechBrain's own options that were typed: they win over the file's values."""
    from ruamel.yaml import YAML

    tree, out, writer = YAML().load(text), StringIO(), YAML()
    typed = [key for key in run_opts.overridden_args if isinstance(tree, dict) and key in tree]
    if not typed:
        return text
    for key in typed:
        tree[key] = run_opts[key]
    writer.width = 1000
    writer.dump(tree, out)
    return out.getvalue()


def make_run_folder(output_folder: str, begin: Start, script: str, argv: list[str]) -> None:
    """Create the run folder: resolved YAML, a copy of the script, the command and the log file.

    The command line is written down with the commit and the machine.

    Raises
    ------
    UserError
        If the folder cannot be written.

    Example
    -------
    >>> import tempfile
    >>> from lobes.runs.starts import Start
    >>> folder = tempfile.mkdtemp() + "/run"
    >>> make_run_folder(folder, Start("lr: 0.1"), __file__, ["hparams/x.yaml"])
    >>> Path(folder, "hyperparams.yaml").read_text().splitlines()[-1]
    'lr: 0.1'
    """
    from lobes.runs.starts import changes_in_words, note_start

    folder = Path(output_folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make output_folder {folder}: {error.strerror}.") from error
    header = f"# Lobes {__version__}, commit {commit()}\n# command: {command(script, argv)}\n# yamllint disable\n"
    note_start(begin, folder, script, argv, header)
    if begin.trains:
        shutil.copy(script, folder)
    start_logging(folder / names.LOG)
    for line in changes_in_words(begin):
        logger.info(line)


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
