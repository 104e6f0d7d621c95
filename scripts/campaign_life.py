"""One start of a training, which kills its own process at a chosen moment. Started by campaign.py.

A moment is the begin of a batch, or a change of a file below the run's folder: opened to be written, flushed to the
disk, renamed, removed. Nothing of the training code is known here but SpeechBrain's Brain and the names of folders.

> python campaign_life.py LIFE.json
"""

from __future__ import annotations

import json
import mmap
import os
import runpy
import signal
import struct
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

KINDS = ("start", "batch", "save", "tables", "validation", "test")
NUMBERS = ("killed", "batches", "first_epoch", "first_step", "last_epoch", "last_step", *KINDS)
WORDS = 200  # bytes
CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate", "shutil.rmtree"}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT

if not (hasattr(os, "fork") and hasattr(signal, "SIGKILL")):
    raise SystemExit("error: a campaign needs fork and SIGKILL, which Windows lacks.")


@dataclass(frozen=True)
class Kill:
    """When to die: at the `number`-th moment of a kind, or `delay` seconds after it; of several ranks, which one."""

    kind: str
    number: int
    delay: float = 0.0
    rank: int = 0


@dataclass(frozen=True)
class Life:
    """A command of a recipe, the run folder that it writes, and what ends it."""

    recipe: str  # the folder of train.py
    argv: list[str]
    run: str
    board: str  # file of the board of rank 0; the other ranks add their number
    kill: Kill | None = None

    def write(self, path: Path) -> None:
        """Write it for a process of its own."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @staticmethod
    def read(path: Path) -> Life:
        """Read what `write` has written."""
        content = json.loads(path.read_text(encoding="utf-8"))
        return Life(**{**content, "kill": content["kill"] and Kill(**content["kill"])})


class Board:
    """Counts and a text in a file that is mapped into memory: what a killed process has written there stays.

    Example
    -------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "board"
    >>> Board.clear(path); board = Board(path); board.add("batches"); board.say("here")
    >>> Board(path).get("batches"), Board(path).said()
    (1, 'here')
    """

    SIZE = 8 * len(NUMBERS) + WORDS

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), self.SIZE)

    @classmethod
    def clear(cls, path: Path) -> None:
        """Make the file, or set it to zeros."""
        path.write_bytes(bytes(cls.SIZE))

    def get(self, name: str) -> int:
        """A number."""
        return struct.unpack_from("<q", self._map, 8 * NUMBERS.index(name))[0]

    def put(self, name: str, value: int) -> None:
        """Set a number."""
        struct.pack_into("<q", self._map, 8 * NUMBERS.index(name), value)

    def add(self, name: str) -> int:
        """Add one to a number; returns the sum."""
        self.put(name, self.get(name) + 1)
        return self.get(name)

    def say(self, text: str) -> None:
        """Set the text."""
        self._map[-WORDS:] = text.encode()[:WORDS].ljust(WORDS, b"\0")

    def said(self) -> str:
        """The text."""
        return self._map[-WORDS:].rstrip(b"\0").decode("utf-8", "replace")

    def numbers(self) -> dict[str, int]:
        """All numbers."""
        return {name: self.get(name) for name in NUMBERS}


class Watch:
    """Counts the moments of this process and kills it at the chosen one."""

    def __init__(self, life: Life, rank: int) -> None:
        self.folder, self.save = os.path.abspath(life.run), os.path.join(os.path.abspath(life.run), "save")
        self.board = Board(board_of(life, rank))
        self.kill = life.kill if life.kill and life.kill.rank == rank and not self.board.get("killed") else None
        self.pid, self.phase = os.getpid(), "start"

    def moment(self, kind: str, what: str) -> None:
        """Count a moment of a kind; the chosen one is the last."""
        if os.getpid() != self.pid:  # a loader's worker
            return
        number = self.board.add(kind)
        if not self.board.get("killed"):
            self.board.say(f"{kind} {number}: {what}")
        if self.kill and (self.kill.kind, self.kill.number) == (kind, number):
            self.board.put("killed", 1)
            die(self.kill.delay)

    def change(self, event: str, path: Any, open_folder: bool = False) -> None:
        """A file is about to be changed: sort it by the phase and its folder."""
        if isinstance(path, int) or path is None:
            return
        name = os.path.abspath(os.fsdecode(path))
        if open_folder or name == self.folder or name.startswith(self.folder + os.sep):
            saves = open_folder or name.startswith(self.save)
            kind = ("save" if saves else "tables") if self.phase == "train" else self.phase
            self.moment(kind, f"{event} {os.path.relpath(name, self.folder)}")

    def on_event(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Python's audit hook: sees the changes of files that Python makes."""
        if event == "open" and arguments[2] and arguments[2] & WRITES:
            self.change(event, arguments[0])
        elif event in CHANGES:
            in_folder = event in ("os.remove", "os.rmdir") and arguments[-1] not in (-1, None)  # shutil.rmtree
            self.change(event, arguments[0], in_folder)

    def install(self) -> None:
        """Watch files, batches and phases from now on."""
        import torch
        from speechbrain.core import Brain

        def in_phase(function: Callable[..., Any]) -> Callable[..., Any]:
            def fit(*arguments: Any, **options: Any) -> Any:
                self.phase = "train"
                try:
                    return function(*arguments, **options)
                finally:
                    self.phase = "test"

            return fit

        def batch(brain: Any, *arguments: Any) -> Any:
            self._count_batch(brain.hparams.epoch_counter.current, brain.step)
            return fit_batch(brain, *arguments)

        def validation(brain: Any, *arguments: Any, **options: Any) -> Any:
            self.moment("validation", f"batch {brain.step}")
            return evaluate_batch(brain, *arguments, **options)

        fit_batch, evaluate_batch = Brain.fit_batch, Brain.evaluate_batch
        Brain.fit, Brain.fit_batch, Brain.evaluate_batch = in_phase(Brain.fit), batch, validation
        torch.save = self._around("torch.save", torch.save, 1)
        os.fsync = self._around("fsync", os.fsync, 0)
        torch.nn.modules.module.register_module_forward_pre_hook(self._forward)
        sys.addaudithook(self.on_event)
        self.moment("start", "before train.py")

    def _count_batch(self, epoch: int, step: int) -> None:
        which = "last" if self.board.add("batches") > 1 else "first"
        for name in {which, "last"}:
            self.board.put(f"{name}_epoch", epoch)
            self.board.put(f"{name}_step", step)
        self.moment("batch", f"epoch {epoch}, batch {step}")

    def _forward(self, module: Any, *_: Any) -> None:
        if self.phase == "test" and type(module).__module__.startswith("lobes.models"):
            self.moment("test", "an item is separated")

    def _around(self, name: str, function: Callable[..., Any], place: int) -> Callable[..., Any]:
        """A function that changes files where no audit hook sees it: a moment before and one after it."""

        def around(*arguments: Any, **options: Any) -> Any:
            path = arguments[place] if len(arguments) > place else None
            if isinstance(path, int):  # a descriptor
                path = os.readlink(f"/proc/self/fd/{path}")
            path = path if isinstance(path, str | os.PathLike) else None
            self.change(f"before {name}", path)
            result = function(*arguments, **options)
            self.change(f"after {name}", path)
            return result

        return around


def die(delay: float) -> None:
    """SIGKILL for this process, now or a little later, wherever it is then."""
    pid = os.getpid()
    if not delay:
        os.kill(pid, signal.SIGKILL)
    if os.fork() == 0:
        os.closerange(0, 1024)  # a lock of the dying process must die with it
        time.sleep(delay)
        if os.getppid() == pid:  # it may have ended meanwhile
            os.kill(pid, signal.SIGKILL)
        os._exit(0)


def board_of(life: Life, rank: int) -> Path:
    """The file of a rank's board."""
    return Path(life.board if rank == 0 else f"{life.board}.{rank}")


def live(life: Life) -> int:
    """Run train.py as `python train.py` does; returns the exit code."""
    os.chdir(life.recipe)
    sys.path.insert(0, life.recipe)
    sys.argv = ["train.py", *life.argv]
    try:
        Watch(life, int(os.environ.get("RANK", 0))).install()
        runpy.run_path("train.py", run_name="__main__")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(live(Life.read(Path(sys.argv[1]))))
