"""From the command line to a run folder: parse, resolve, make the folder, start the logs."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping
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


def start(
    argv: list[str], script: str, check: Callable[[Mapping[str, Any]], None] | None = None
) -> tuple[dict[str, Any], Any]:
    """Read the command line, make the objects of the recipe file and the run folder.

    Arguments
    ---------
    argv : list of str
        The command line without the program's name.
    script : str
        Path of the recipe's train.py, which is copied into the run folder.
    check : function, optional
        What the recipe knows of its own options: called with the plain settings before anything is written.

    Returns
    -------
    hparams : dict
        The recipe file with its objects made.
    run_opts : speechbrain.utils.run_opts.RunOptions
        Device, debug and the like.

    Raises
    ------
    UserError
        If the file or an option is wrong, the run folder cannot be written, or another training runs in it.
    """
    from speechbrain.utils.distributed import if_main_process

    from lobes.config import load
    from lobes.runs.continuation import admit
    from lobes.runs.lock import hold, hold_both
    from lobes.runs.main_process import on_main
    from lobes.training.checks import check_objects, refuse_unwritable
    from lobes.training.data_folder import keep_data_folder
    from lobes.training.debug import in_temporary_folder
    from lobes.training.ranks import join_ranks
    from lobes.training.shares import refuse_unshared

    text, run_opts, _ = read_command_line(argv)
    join_ranks(run_opts.distributed_backend)
    if run_opts.debug:
        text, run_opts, _ = read_command_line(in_temporary_folder(argv))
    settings = plain_settings(text)
    if check is not None:
        check(settings)
    keep_data_folder(text)
    output_folder = settings["output_folder"]
    writes = if_main_process() and not run_opts.test_only
    first = hold(output_folder, make=False) if writes else None  # next to a training, there is nothing to compare
    begin = admit(text, script, argv, run_opts.test_only)
    on_main(refuse_unwritable, output_folder, "output_folder")  # before the checkpointer makes its folder there
    on_main(refuse_unwritable, Path(settings.get("train_log", output_folder)).parent, "train_log")
    locks = [first, *hold_both(output_folder, settings["save_folder"])] if writes else []
    hparams = load(begin.text)
    check_objects(hparams)
    hparams["checkpointer"].locks, hparams["checkpointer"].only_reads = locks, run_opts.test_only
    on_main(make_run_folder, output_folder, begin, script, argv)
    refuse_unshared(output_folder)
    return hparams, run_opts


def read_command_line(argv: list[str]) -> tuple[str, Any, str]:
    """Take `hparams/x.yaml --key value` apart, check everything that can be checked, and resolve the YAML file.

    Keys of the recipe are options, and so are those of SpeechBrain's run options that recipes have no key for.

    Returns the resolved text, SpeechBrain's run options (device, debug and the like), and the recipe's file.

    Raises
    ------
    UserError
        If the file, an option or a value is wrong.

    Example
    -------
    >>> read_command_line(["no/such.yaml"])
    Traceback (most recent call last):
    ...
    lobes.errors.UserError: no such recipe file: no/such.yaml. The folder has: no YAML file.
    """
    from lobes.config import find_recipe, read_recipe
    from lobes.config.words import read_words
    from lobes.training import run_options, usage
    from lobes.training.checks import check_settings

    if {"-h", "--help"} & set(argv):
        print(usage.as_text(argv))
        sys.exit(0)
    if not argv or argv[0].startswith("-"):
        raise UserError("expected a recipe file first: python train.py hparams/NAME.yaml --data_folder FOLDER")
    file = find_recipe(argv[0])
    given = read_words(argv[1:], run_options.flags(), run_options.SEVERAL)
    recipe = read_recipe(file, given.get("preset"))  # type: ignore[arg-type]  # one text
    run_opts, options = run_options.split(given, recipe)
    text = recipe.resolve(options, tuple(run_options.kinds()))
    check_settings(plain_settings(text), run_opts)
    return text, run_opts, file


def plain_settings(text: str) -> dict[str, Any]:
    """The top-level keys of a resolved recipe, without making its objects."""
    from ruamel.yaml import YAML

    return dict(YAML().load(text))


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
    called = "\n# ".join(command(script, argv).splitlines())  # a line break in an option is no line of the file
    called = called.encode("utf-8", "backslashreplace").decode()
    called = "".join(letter if letter.isprintable() or letter == "\n" else ascii(letter)[1:-1] for letter in called)
    header = f"# Lobes {__version__}, commit {commit()}\n# command: {called}\n# yamllint disable\n"
    note_start(begin, folder, script, argv, header)
    if begin.trains:
        shutil.copy(script, folder)
    start_logging(folder / names.LOG)
    for line in changes_in_words(begin):
        logger.info(line)


def start_logging(log_file: Path) -> None:
    """Send messages to the screen and everything to the log file, without the debug talk of libraries."""
    from speechbrain.utils.logger import TqdmCompatibleStreamHandler

    logging.raiseExceptions = False  # a full disk is one error of the training, not one more of every line
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
    screen = TqdmCompatibleStreamHandler(sys.stdout)
    screen.setLevel(logging.INFO)
    screen.setFormatter(logging.Formatter("%(message)s"))
    screen.addFilter(lambda record: not record.name.startswith("speechbrain") or record.levelno >= logging.WARNING)
    file = logging.FileHandler(log_file, encoding="utf-8", errors="backslashreplace")
    file.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
    root.setLevel(logging.DEBUG)
    root.addHandler(screen)
    root.addHandler(file)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
