"""Many files: in one process or several, again from where an earlier call ended, and none of them ends the others."""

from __future__ import annotations

import errno
import os
import pickle
import signal
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, suppress
from dataclasses import dataclass, field, fields
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from lobes.data import audio
from lobes.data.containers.whole import printable
from lobes.errors import UserError, in_one_line, visible
from lobes.inference.by_name import load_separator
from lobes.inference.catalogue import entry_of
from lobes.inference.inputs import Item, items_of
from lobes.inference.ledger import Ledger, digest_of, outputs_in
from lobes.inference.one_file import check_strength, write_enhanced, write_separated
from lobes.inference.options import Options
from lobes.inference.separator import Separator
from lobes.runs.freed_memory import keep_freed_memory

# The system refuses to write anywhere: no file will be better than this one
HOPELESS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
ENDED = (
    "its process ended: a crash, or too little memory. Give shorter chunks, such as --chunk_s 10, or fewer --workers."
)


@dataclass(frozen=True)
class Task:
    """What is done with every file.

    Arguments
    ---------
    model : str
        As in `Separator.from_hparams`.
    options : Options
    enhances, pcs : bool
        As `Separator.enhance_files`, or as `Separator.separate_files`.
    level : str, optional
        As in `Separator`.
    device, revision, trust
        As in `lobes.inference.by_name.load_separator`.
    """

    model: str
    options: Options
    enhances: bool = False
    pcs: bool = False
    level: str | None = None
    device: str | None = None
    revision: str | None = None
    trust: bool = False

    def load(self) -> Separator:
        """Load the model, and refuse one that cannot do this."""
        separator = load_separator(self.model, self.device, self.revision, self.trust, self.level)
        if self.enhances:
            separator.check_enhances(self.pcs)
        check_strength(separator, self.options)
        self.options.recogniser()  # before the first file
        keep_freed_memory()
        return separator

    def endings(self, separator: Separator) -> list[str]:
        """What stands behind the name of an input in the names of its outputs."""
        return separator.endings(self.enhances, self.pcs)

    def write(self, separator: Separator, item: Item) -> None:
        """Make the outputs of one file."""
        write = partial(write_enhanced, pcs=self.pcs) if self.enhances else write_separated
        with torch.no_grad():
            write(separator, item.path, item.targets, self.options)

    def made_by(self, separator: Separator) -> dict[str, Any]:
        """The model and the settings, for the list of finished files."""
        options = {one.name: getattr(self.options, one.name) for one in fields(self.options)}
        settings = {**options, "enhances": self.enhances, "pcs": self.pcs, "level": separator.level}
        settings["voice"] = None if self.options.voice is None else str(self.options.voice)
        return {"model": digest_of(separator.mods, self._code()), "settings": settings}

    def _code(self) -> str:
        """The word for a model whose weights lie in code that is not looked into; nothing for others."""
        entry = entry_of(self.model)
        if ":" not in self.model and not (entry and entry.adapter):
            return ""
        return f"{self.model}@{self.revision}" if self.revision else self.model


@dataclass
class Summary:
    """What became of the files."""

    written: int = 0
    skipped: int = 0
    failed: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        parts = [f"{self.written} files done"]
        parts += [f"{self.skipped} finished before and skipped"] if self.skipped else []
        parts += [f"{len(self.failed)} failed:"] if self.failed else []
        return "\n".join([", ".join(parts), *(f"  {line}" for line in self.failed)])


def run_files(
    task: Task, paths: Sequence[str | os.PathLike[str]], out: Path, recursive: bool = False, workers: int = 1
) -> int:
    """Separate or enhance files and folders; print the outputs, and on stderr the summary.

    Arguments
    ---------
    task, paths, out, recursive, workers
        As in `process_files`.

    Returns
    -------
    int
        The exit code: 0, or 1 where some file failed.

    Raises
    ------
    UserError
        For a mistake that concerns all files, and for that of the only one.
    """
    separator = task.load()
    items = find_items(task, separator, paths, out, recursive)
    if len(items) == 1 and not any(os.path.isdir(path) for path in paths):
        task.write(separator, items[0])
        print(*items[0].targets, sep="\n")
        return 0
    summary = process_files(task, separator, items, out, workers, lambda item: print(*item.targets, sep="\n"))
    print(summary, file=sys.stderr)
    return 1 if summary.failed else 0


def find_items(
    task: Task, separator: Separator, paths: Sequence[str | os.PathLike[str]], out: Path, recursive: bool = False
) -> list[Item]:
    """The inputs and their outputs, without what earlier calls wrote; raises as `lobes.inference.inputs.items_of`."""
    return items_of(paths, out, task.endings(separator), task.options.format, recursive, outputs_in(out))


def process_files(
    task: Task,
    separator: Separator,
    items: Sequence[Item],
    out: Path,
    workers: int = 1,
    written: Callable[[Item], None] = lambda item: None,
) -> Summary:
    """Separate or enhance files; none of them ends the others.

    It leaves a list in the output folder, `lobes_files.jsonl`: the same call again skips what is finished, and does
    again what was changed, made by another model or made with other settings.

    Arguments
    ---------
    task : Task
    separator : Separator
        The task's, loaded; further processes load their own.
    items : sequence of Item
        Inputs and outputs, see `lobes.inference.inputs.items_of`.
    out : Path
        The output folder.
    workers : int
        Processes; each holds the model.
    written : callable
        Called with each file that is done.

    Returns
    -------
    Summary

    Raises
    ------
    UserError, OSError
        For what concerns all files.
    """
    ledger = Ledger(out, task.made_by(separator))
    ledger.refuse_replacing(items)
    rest = [item for item in items if not ledger.finished(item)]
    summary = Summary(skipped=len(items) - len(rest))
    with closing(_results(task, separator, rest, workers)) as results:
        for item, failure in _progress(results, rest):
            ledger.add(item, failure)
            if failure:
                summary.failed.append(failure)
            else:
                summary.written += 1
                written(item)
    return summary


def _results(
    task: Task, separator: Separator, items: Sequence[Item], workers: int
) -> Generator[tuple[Item, str], None, None]:
    """Each item with the reason why it failed, or nothing."""
    if workers > 1 and len(items) > 1:
        yield from _in_processes(task, items, min(workers, len(items)))
        return
    for item in items:
        yield item, _attempt(task, separator, item)


def _in_processes(task: Task, items: Sequence[Item], count: int) -> Iterator[tuple[Item, str]]:
    """The same in several processes.

    One that ends, for want of memory or in a crash, takes the others along, and nothing says which file it was. What is
    left is then done in one process, where it is the first that is left.
    """
    _check_travels(task)
    idle = 0  # processes in a row that ended at their first file: it is not the file
    while items:
        left = yield from _in_pool(task, items, count)
        if left and count == 1:
            idle = idle + 1 if len(left) == len(items) else 1
            lost = left if idle > 2 else left[:1]
            for item in lost:
                yield item, f"{printable(item.path)}: {ENDED}"
            left = left[len(lost) :]
        items, count = left, 1


def _in_pool(task: Task, items: Sequence[Item], count: int) -> Generator[tuple[Item, str], None, list[Item]]:
    """The same in so many processes, until one of them ends by itself; return what is not done."""
    threads, done = max(torch.get_num_threads() // count, 1), set()
    with ProcessPoolExecutor(count, get_context("spawn"), _start, (task, threads)) as pool:
        jobs: dict[Future[str], Item] = {}
        try:
            with suppress(BrokenProcessPool):
                jobs.update((pool.submit(_work, item), item) for item in items)
            for job in as_completed(jobs):
                with suppress(BrokenProcessPool):
                    failure = job.result()
                    done.add(jobs[job].targets[0])
                    yield jobs[job], failure
        finally:  # a full disk or Ctrl-C ends the call, and not only this loop
            pool.shutdown(wait=False, cancel_futures=True)
    return [item for item in items if item.targets[0] not in done]


def _check_travels(task: Task) -> None:
    """Raise UserError for what cannot be handed to another process: a function made in place, say."""
    try:
        pickle.dumps(task)
    except Exception as error:  # of any kind
        raise UserError(
            f"workers: the options cannot be handed to other processes ({error}). Take one worker, or a voice that is "
            "a function of a module."
        ) from error


def _attempt(task: Task, separator: Separator, item: Item) -> str:
    """Do one file; return the reason if it failed, with the file's name."""
    try:
        task.write(separator, item)
    except OSError as error:
        if error.errno in HOPELESS:
            raise
        return _named(item, error)
    except Exception as error:  # whatever is wrong with one file, the others are done
        return _named(item, error)
    return ""


def _named(item: Item, error: Exception) -> str:
    reason = in_one_line(error) or f"{type(error).__name__}: {' '.join(str(error).split())}"
    name = visible(printable(item.path))
    return reason if reason.startswith(name) else f"{name}: {reason}"


_worker: list[Any] = []  # the task and its separator, in a worker process


def _start(task: Task, threads: int) -> None:
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as it is for a program in the background
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it at once, and not after the files that wait
    torch.set_num_threads(threads)
    _worker[:] = [task, task.load()]


def _work(item: Item) -> str:
    return _attempt(_worker[0], _worker[1], item)


def _progress(results: Iterator[tuple[Item, str]], items: Sequence[Item]) -> Iterator[tuple[Item, str]]:
    """Show how much audio is done and how much time is left, where stderr is a screen."""
    from tqdm import tqdm

    if not sys.stderr.isatty():
        yield from results
        return
    seconds = {item.path: _seconds(item.path) for item in items}
    with tqdm(total=round(sum(seconds.values())), unit="s", desc="audio") as shown:
        for item, failure in results:
            yield item, failure
            shown.update(round(seconds[item.path]))


def _seconds(path: Path) -> float:
    try:
        return audio.duration(path)
    except UserError:
        return 0.0
