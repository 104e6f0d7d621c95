"""Training runs side by side: start `train.py` in a process of its own, follow it, collect what it wrote."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock

from lobes.data.files import write_whole
from lobes.errors import UserError
from lobes.runs import names
from lobes.runs.record import progress

STOPPED = (128 + signal.SIGINT, 128 + signal.SIGTERM)  # exit codes of a training that a signal ended in order
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Run:
    """One training run.

    Arguments
    ---------
    name : str
        For the screen.
    script : Path
        A recipe's `train.py`; it is started in its own folder.
    hparams : str
        The YAML file, relative to the script's folder.
    folder : Path
        The run's output folder.
    options : mapping
        Further options, `{"seed": 1}` for `--seed 1`.
    flags : sequence of str
        Options without a value; they change no number and may differ when a run goes on.
    threads : int
        CPU threads; 0 leaves the choice to the machine.

    Example
    -------
    >>> run = Run("a", Path("/x/train.py"), "hparams/a.yaml", Path("/out"), {"seed": 1})
    >>> run.command()[1:]
    ['train.py', 'hparams/a.yaml', '--output_folder', '/out', '--seed', '1']
    """

    name: str
    script: Path
    hparams: str
    folder: Path
    options: Mapping[str, Any] = field(default_factory=dict)
    flags: Sequence[str] = ()
    threads: int = 0

    def command(self) -> list[str]:
        """Return the command line, to be started in the script's folder."""
        options = {"output_folder": self.folder.resolve(), **self.options}
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        return [sys.executable, self.script.name, self.hparams, *words, *(f"--{name}" for name in self.flags)]

    def finished(self) -> bool:
        """Whether every result file is there."""
        return all((self.folder / name).is_file() for name in names.FINISHED)


def run_all(runs: Sequence[Run], jobs: int = 1, console: bool = False, every: float = 30.0) -> None:
    """Start the runs that are not finished, `jobs` at a time, and wait for them.

    A run that was stopped goes on from its last checkpoint, because the same command resumes it.

    Arguments
    ---------
    runs : sequence of Run
        In the order of starting.
    jobs : int
        How many at a time.
    console : bool
        True: the run's own progress goes to the screen (one job only). False: to `console.txt` in its
        folder, with a line on the screen every `every` seconds.
    every : float
        Seconds between two lines of progress.

    Raises
    ------
    UserError
        If a run fails, or its folder holds a run of another command.
    """
    waiting = [run for run in runs if not _skip(run)]
    active: list[tuple[Run, subprocess.Popen[bytes], float]] = []
    spent: list[float] = []  # seconds of the runs that ended here
    last_line = time.monotonic()
    with ending_on_sigterm(), _stopping(active):
        while waiting or active:
            while waiting and len(active) < jobs:
                run = waiting.pop(0)
                active.append((run, start(run, console), time.monotonic()))
            time.sleep(0.05)
            ended = [entry for entry in active if _ended(*entry, console=console)]
            active[:] = [entry for entry in active if entry not in ended]
            spent += [time.monotonic() - begin for *_, begin in ended]
            if ended and waiting:
                _say(f"{len(waiting)} not started yet: about {minutes_left(spent, len(waiting), jobs):.0f} min")
            if not console and time.monotonic() - last_line > every:
                last_line = time.monotonic()
                _say("; ".join(f"{run.name}: {progress(run.folder)}" for run, _, _ in active))


def minutes_left(spent: Sequence[float], waiting: int, jobs: int) -> float:
    """How long runs that wait will take, `jobs` at a time, if each takes the mean of those that ended (seconds).

    Example
    -------
    >>> minutes_left([600.0, 1200.0], waiting=3, jobs=2)
    30.0
    """
    return -(-waiting // jobs) * sum(spent) / len(spent) / 60


def start(run: Run, console: bool) -> subprocess.Popen[bytes]:
    """Start one run without waiting for it; its command is noted in the folder first."""
    note_launch(run)
    _say(f"start {run.name}: {shlex.join(run.command()[1:])}")
    threads = dict.fromkeys(THREAD_VARIABLES, str(run.threads)) if run.threads else {}
    environment = {**os.environ, **threads}
    with contextlib.ExitStack() as stack:
        stack.enter_context(FileLock(run.folder / names.LOCK))  # two commands may start the run at the same moment
        _refuse_a_second(run.folder)
        output = None if console else stack.enter_context((run.folder / names.CONSOLE).open("ab"))
        return subprocess.Popen(
            run.command(),
            cwd=run.script.parent,
            env=environment,
            stdout=output,
            stderr=output and subprocess.STDOUT,
        )


def note_launch(run: Run) -> None:
    """Write the run's command into its folder, or refuse a folder that was made by another one."""
    path = run.folder / names.LAUNCH
    command = {"hparams": run.hparams, "options": {key: str(value) for key, value in run.options.items()}}
    if path.exists():
        known = json.loads(path.read_text(encoding="utf-8"))
        if known != command:
            raise UserError(
                f"{run.folder} holds a run of other settings ({differing_settings(known, command)}). "
                "Give another output folder, or delete this one."
            )
    run.folder.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(command, indent=1))


@contextlib.contextmanager
def stage(title: str, clock: Callable[[], float] = time.monotonic) -> Iterator[None]:
    """Print a heading before and the seconds after a part of a long command."""
    _say(f"\n== {title}")
    begin = clock()
    yield
    _say(f"   ({clock() - begin:.0f} s)")


@contextlib.contextmanager
def ending_on_sigterm() -> Iterator[None]:
    """Let SIGTERM raise, as Ctrl-C does, so that the runs are stopped too; only the main thread can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: Any) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _stopping(active: list[tuple[Run, subprocess.Popen[bytes], float]]) -> Iterator[None]:
    """Stop the runs that are left when this one ends: each saves on SIGTERM, and ends within half a minute."""
    try:
        yield
    finally:
        for _, process, _ in active:
            process.terminate()
        for _, process, _ in active:
            process.wait()


def training_processes(folder: Path) -> list[psutil.Process]:
    """The processes of this machine that train a run: one outlives a launcher that is killed.

    Example
    -------
    >>> training_processes(Path("there/is/no/such/run"))
    []
    """
    words = ("--output_folder", str(folder.resolve()))
    found = psutil.process_iter(["cmdline"])  # None: of another user, or about to end
    return [process for process in found if words in pairwise(process.info["cmdline"] or ())]


def _refuse_a_second(folder: Path) -> None:
    """Ask the processes: not every system lets a training inherit a lock."""
    for process in training_processes(folder):
        raise UserError(
            f"{folder}: another process ({process.pid}) still trains this run. Wait for it, or end it first."
        )


def _skip(run: Run) -> bool:
    if not run.finished():
        return False
    note_launch(run)  # refuses a finished run of other settings
    _say(f"done before: {run.name} ({run.folder})")
    return True


def _ended(run: Run, process: subprocess.Popen[bytes], begin: float, *, console: bool) -> bool:
    code = process.poll()
    if code is None:
        return False
    if code in STOPPED:
        raise UserError(f"the run {run.name} was stopped by a signal (exit code {code}); the same command goes on.")
    if code != 0 or not run.finished():
        where = "above" if console else f"in {run.folder / names.CONSOLE}"
        reason = f"exit code {code}" if code else "exit code 0, but without " + " or ".join(names.FINISHED)
        raise UserError(f"the run {run.name} failed ({reason}); its messages stand {where}.")
    _say(f"finished {run.name} after {time.monotonic() - begin:.0f} s")
    return True


def differing_settings(known: dict[str, Any], wanted: dict[str, Any]) -> str:
    """In which settings a run differs from the one that is asked for.

    Example
    -------
    >>> differing_settings({"hparams": "a", "options": {"seed": "1"}}, {"hparams": "a", "options": {"seed": "2"}})
    'seed: there 1, now 2'
    """
    old, new = ({"hparams": side["hparams"], **side["options"]} for side in (known, wanted))
    keys = [key for key in dict.fromkeys([*old, *new]) if old.get(key) != new.get(key)]
    return ", ".join(f"{key}: there {old.get(key, 'absent')}, now {new.get(key, 'absent')}" for key in keys)


def _say(text: str) -> None:
    print(text, flush=True)
