"""A process that scores: `python -m lobes.evaluation.worker` turns pickled jobs into pickled rows."""

from __future__ import annotations

import errno
import os
import pickle
import signal
import sys
import warnings
from typing import Any

from lobes.errors import UserError
from lobes.evaluation.job import score_job

NICENESS = 10  # scoring runs at low priority, so that a training in progress keeps the cores


def main() -> None:
    """Answer each job on standard input by a row on standard output, until the input closes."""
    for name in ("SIGINT", "SIGTERM"):  # both are the parent's to handle; a scheduler sends them to every process
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    warnings.simplefilter("ignore")
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints must not mix with the answers
    try:
        answer_all(answers)
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.EINVAL):  # of a closed pipe; the second on Windows
            raise
        # the parent has gone, which is its business: not a word, also not when `answers` is closed
        os.dup2(os.open(os.devnull, os.O_WRONLY), answers.fileno())


def answer_all(answers: Any) -> None:
    """Score jobs until the input closes, perhaps in the middle of a job."""
    send(answers, True)
    while True:
        try:
            job = pickle.load(sys.stdin.buffer)
        except (EOFError, pickle.UnpicklingError):
            return
        try:
            answer: Any = score_job(job)
        except UserError as error:
            answer = error
        send(answers, answer)


def send(pipe: Any, answer: Any) -> None:
    """Write one pickled answer and push it out."""
    pickle.dump(answer, pipe)
    pipe.flush()


if __name__ == "__main__":
    main()
