"""Starts lives of campaign.py: forked from this process, which has imported everything, or in processes of their own.

A start of `python train.py` takes five seconds of imports. A forked process has them behind it, is a process of its own
in everything else, and dies alone.
"""

from __future__ import annotations

import importlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import Any

import psutil
from campaign_life import Board, Life, board_of, live
from tqdm import tqdm

PATIENCE = 300.0  # seconds after which a start counts as lost
GRACE = 30.0  # seconds that torchrun gives the other ranks to end after SIGTERM
_KILL = signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM
LOADED = ".modules"  # next to the board: the modules that a life had imported at its end
IMPORTS = ("torch._dynamo", "lobes.training.brain", "lobes.config", "lobes.runs.continuation", "lobes.polsess.remix")


@dataclass(frozen=True)
class End:
    """How a life ended, and what its first rank had counted."""

    killed: bool  # by us
    well: bool  # exit code 0
    numbers: dict[str, int]
    place: str  # the last moment before the kill
    words: str  # the last line of the output

    @property
    def lost(self) -> bool:
        """Neither killed nor at its end: somebody has to look at it."""
        return not self.killed and not self.well


def preload(names: Sequence[str] = IMPORTS) -> None:
    """Import what every life needs, on one thread: a process with several cannot be forked."""
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch

    torch.set_num_threads(1)
    for name in names:
        with suppress(Exception):  # a module of a recipe's own folder
            importlib.import_module(name)


def preload_like(life: Life) -> None:
    """Import what a life that has ended well had imported."""
    names = Path(life.board + LOADED).read_text(encoding="utf-8").split()
    preload([name for name in names if name not in sys.modules])


def start(life: Life, console: Path, ranks: int = 1, fresh: bool = False) -> End:
    """Start a life, wait for its end, and say how it ended."""
    for rank in range(ranks):
        Board.clear(board_of(life, rank))
    if fresh:
        well = _fresh(life, console, ranks)
    else:
        port = str(_free_port())
        well = _wait([_forked(life, console, _rank(rank, ranks, port) if ranks > 1 else {}) for rank in range(ranks)])
    boards = [Board(board_of(life, rank)) for rank in range(ranks)]
    dead = next((board for board in boards if board.get("killed")), None)
    numbers = boards[0].numbers()
    return End(dead is not None, well, numbers, dead.said() if dead else "", last_line(console))


def last_line(console: Path) -> str:
    """The last line of an output, and an error before the lines of other ranks."""
    lines = [line for line in console.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if "Error" in line or line.startswith("error:")]
    return (errors or lines or [""])[-1][:300]


def _forked(life: Life, console: Path, environment: dict[str, str]) -> int:
    assert hasattr(os, "fork")  # campaign_life has looked
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        output = os.open(console, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.environ.update(environment)
        tqdm.set_lock(RLock())  # the one of before is shared by all forks: a life killed with it would stop the others
        code = live(life)
        if code == 0:
            Path(life.board + LOADED).write_text("\n".join(list(sys.modules)), encoding="utf-8")
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _fresh(life: Life, console: Path, ranks: int) -> bool:
    """A process of its own, or torchrun, which starts the ranks once more after a kill."""
    spec = Path(life.board + ".json")
    life.write(spec)
    here, torchrun = Path(__file__).resolve().parent, ["-m", "torch.distributed.run", "--standalone"]
    several = [*torchrun, f"--nproc_per_node={ranks}", "--max-restarts=1"] if ranks > 1 else []
    command = [sys.executable, *several, str(here / "campaign_life.py"), str(spec)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(here.parent)}
    with console.open("ab") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=environment)
        try:
            return process.wait(PATIENCE) == 0
        except subprocess.TimeoutExpired:
            file.write(f"error: no end after {PATIENCE:.0f} s\n".encode())
            return False
        finally:
            if process.poll() is None:  # torchrun leaves its ranks alive when it is killed
                for one in [*psutil.Process(process.pid).children(recursive=True), process]:
                    with suppress(psutil.NoSuchProcess):
                        one.kill()
            process.wait()


def _wait(processes: list[int]) -> bool:
    """Wait for all; after the first failure the others get SIGTERM and, later, SIGKILL. Whether all ended well."""
    alive, well, since = set(processes), True, time.monotonic()
    last = since + PATIENCE
    while alive:
        time.sleep(0.01)
        for pid in list(alive):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                alive.discard(pid)
                if status and well:
                    well, last = False, min(last, time.monotonic() + GRACE)
                    _send(alive, signal.SIGTERM)
        if time.monotonic() > last:
            well = False
            _send(alive, _KILL)
    return well


def _send(processes: set[int], number: signal.Signals) -> None:
    for pid in processes:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _rank(rank: int, ranks: int, port: str) -> dict[str, str]:
    """The environment that torchrun gives a rank."""
    numbers: dict[str, Any] = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": ranks, "LOCAL_WORLD_SIZE": ranks}
    return {**{key: str(value) for key, value in numbers.items()}, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
