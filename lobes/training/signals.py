"""SIGTERM and SIGINT (Ctrl-C) end a training in order: it saves, and its exit code is 128 plus the signal's number."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist

LIMIT = 28.0  # seconds until the process ends, saved or not: schedulers kill 30 s after SIGTERM
AGAIN = 2.0  # seconds after which another signal is a second wish; a terminal and a launcher may both send the first
SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGINT") if hasattr(signal, name)]


class Stopped(SystemExit):
    """The end of a training by a signal; the code is 143 for SIGTERM and 130 for SIGINT.

    Example
    -------
    >>> Stopped(signal.SIGINT).code
    130
    """

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.number = int(number)
        self.name = signal.Signals(number).name


class StopSignals:
    """What was asked of this process by a signal, while `handled` is entered.

    `at_once`: whether there is nothing to save, so that the signal itself raises `Stopped`, at any line. Otherwise the
    training asks `agreed` where it can save. Another signal, 2 s later or more, ends the process without saving, and so
    do 28 s.

    Example
    -------
    >>> signals = StopSignals()
    >>> with signals.handled(at_once=False):
    ...     signal.raise_signal(signal.SIGINT)
    ...     signals.agreed("cpu")
    True
    """

    def __init__(self) -> None:
        self.at_once = True
        self._received: int | None = None
        self._since = 0.0
        self._timer: threading.Timer | None = None

    @contextmanager
    def handled(self, at_once: bool = True) -> Iterator[None]:
        """Handle the signals in here; threads other than the main one cannot, and leave them as they are."""
        self.at_once, self._received, self._process = at_once, None, os.getpid()
        main = threading.current_thread() is threading.main_thread()
        before = {number: signal.signal(number, self._note) for number in SIGNALS if main}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            if self._timer is not None:
                self._timer.cancel()

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Let what is written here be written, then end if there was a signal."""
        self.at_once = False
        try:
            yield
        finally:
            self.at_once = True
        self.check()

    def check(self) -> None:
        """End here if this process has received a signal."""
        if self._received is not None:
            raise Stopped(self._received)

    def agreed(self, device: torch.device | str) -> bool:
        """Whether any rank has received a signal; all ranks must ask, and all get the same answer."""
        if dist.is_available() and dist.is_initialized():
            highest = torch.tensor(self._received or 0, device=device)
            dist.all_reduce(highest, op=dist.ReduceOp.MAX)
            if self._received is None and int(highest):
                self._received, self._since = int(highest), time.monotonic()
        return self._received is not None

    def _note(self, number: int, frame: Any) -> None:
        if os.getpid() != self._process:  # a child by fork, which has inherited the handler
            return
        if self._received is not None:
            if time.monotonic() - self._since > AGAIN:
                _end(number)
            return
        self._received, self._since = number, time.monotonic()
        self._timer = threading.Timer(LIMIT, _end, [number])
        self._timer.daemon = True
        self._timer.start()
        if self.at_once:
            raise Stopped(number)


def leave_to_the_main_process(worker: int) -> None:
    """For a loader's worker: only the main process may end it.

    Schedulers send SIGTERM to all processes of a job, and terminals Ctrl-C, but the main process needs its workers
    until it has saved. Where the system does not say who sent a signal, SIGTERM ends a worker as before.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        threading.Thread(target=_await_the_main_process, daemon=True).start()


def _await_the_main_process() -> None:
    while signal.sigwaitinfo([signal.SIGTERM]).si_pid != os.getppid():
        pass
    os._exit(0)


def _end(number: int) -> None:
    os.write(2, b"ended at once, without saving: the same command goes on from the last checkpoint\n")
    os._exit(128 + number)
