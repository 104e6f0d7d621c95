"""Processes that score utterances, each a `python -m lobes.evaluation.worker`.

A `ProcessPoolExecutor` will not do. Its children import the caller's main script again (SpeechBrain: 8 s),
one crash fails every job of the pool without naming the guilty one, and it cannot end a job that hangs.
PESQ's C code does crash. Here each worker is a child of its own, which a thread feeds; a job that kills it
is the job that it was working on.
"""

from __future__ import annotations

import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from typing import Any

from lobes.errors import UserError
from lobes.evaluation.job import ScoreJob, failed


def score_in_processes(jobs: Iterable[ScoreJob], workers: int, timeout: float) -> Iterator[dict[str, Any]]:
    """Score the jobs in `workers` processes, giving rows as they come; at most two per worker wait."""
    with WorkerPool(workers, timeout) as pool:
        waiting: set[Future[dict[str, Any]]] = set()
        for job in jobs:
            waiting.add(pool.submit(job))
            if len(waiting) >= 2 * workers:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        yield from (future.result() for future in waiting)


class WorkerPool:
    """Some workers, and a thread for each that waits for its answers; one job may take `timeout` seconds."""

    def __init__(self, workers: int, timeout: float) -> None:
        self._idle: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        with ExitStack() as stack:  # a worker that cannot start ends those before it
            for _ in range(workers):
                worker = Worker(timeout)
                stack.callback(worker.close)
                self._idle.put(worker)
            self._threads = stack.enter_context(ThreadPoolExecutor(workers))
            self._stack = stack.pop_all()

    def submit(self, job: ScoreJob) -> Future[dict[str, Any]]:
        """Score a job as soon as a worker is free; the result is a row of the table."""
        return self._threads.submit(self._score, job)

    def close(self) -> None:
        """Wait for the jobs that are under way, and end the processes."""
        self._stack.close()

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _score(self, job: ScoreJob) -> dict[str, Any]:
        worker = self._idle.get()
        try:
            return worker.score(job)
        finally:
            self._idle.put(worker)


class Worker:
    """A child process that scores one job at a time and is replaced when a job kills it or takes `timeout` seconds."""

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self.process = start_process()
        self.ready = False

    def score(self, job: ScoreJob) -> dict[str, Any]:
        """Score one job: a row of the table, with a status in place of numbers when the child was lost."""
        self._await_start()
        late = threading.Event()
        timer = threading.Timer(self.timeout, self._stop, [late])
        timer.start()
        try:
            answer = self._exchange(job)
        except (EOFError, OSError, pickle.UnpicklingError):
            status = f"timeout ({self.timeout:g} s)" if late.is_set() else f"worker crashed ({self._end()})"
            self.close()
            self.process, self.ready = start_process(), False
            return job.row(failed(status))
        finally:
            timer.cancel()
        if isinstance(answer, UserError):
            raise answer
        return answer

    def close(self) -> None:
        """End the child: it leaves by itself when its input closes."""
        for pipe in (self.process.stdin, self.process.stdout):
            try:
                pipe.close()  # type: ignore[union-attr]
            except OSError:
                pass  # a dead child's pipe cannot be flushed
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _stop(self, late: threading.Event) -> None:
        late.set()
        self.process.kill()

    def _await_start(self) -> None:
        """Wait for a new child; one that cannot run at all is an error, since no other job would fare better."""
        if self.ready:
            return
        try:
            self.ready = pickle.load(self.process.stdout)  # type: ignore[arg-type]
        except EOFError as error:
            end = self._end()
            raise RuntimeError(f"A scoring worker could not start ({end}); workers=0 scores here.") from error

    def _exchange(self, job: ScoreJob) -> Any:
        assert self.process.stdin is not None and self.process.stdout is not None
        pickle.dump(job, self.process.stdin, protocol=pickle.HIGHEST_PROTOCOL)
        self.process.stdin.flush()
        return pickle.load(self.process.stdout)

    def _end(self) -> str:
        code = self.process.wait()
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def start_process() -> subprocess.Popen[bytes]:
    """Start a child that finds what this process finds and computes with one thread."""
    paths = os.pathsep.join(path for path in sys.path if path)
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "lobes.evaluation.worker"]
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
