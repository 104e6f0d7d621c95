"""Ranks that are forked from the test: processes of their own that meet over gloo, without five seconds of imports."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import traceback
from contextlib import suppress

import torch

PATIENCE = 300.0  # seconds after which ranks count as waiting for each other in vain


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def of_rank(rank, ranks, port):
    """The environment that torchrun gives a rank."""
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": ranks, "LOCAL_WORLD_SIZE": ranks, "MASTER_PORT": port}
    return {**{key: str(value) for key, value in numbers.items()}, "MASTER_ADDR": "127.0.0.1"}


def run_ranks(work, ranks):
    """Call work(rank) in so many processes; returns (exit code, what it returned or the text of its error) of each."""
    context, port = multiprocessing.get_context("fork"), free_port()
    queue = context.SimpleQueue()
    processes = [context.Process(target=_rank, args=(work, rank, ranks, port, queue)) for rank in range(ranks)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(PATIENCE)
    late = [process for process in processes if process.is_alive()]
    for process in late:
        process.kill()
    assert not late, "ranks wait for each other"
    said = {}
    while not queue.empty():
        rank, what = queue.get()
        said[rank] = what
    return [(process.exitcode, said.get(rank)) for rank, process in enumerate(processes)]


def _rank(work, rank, ranks, port, queue):
    os.environ.update(of_rank(rank, ranks, port))
    torch.set_num_threads(1)
    from lobes.training.ranks import join_ranks, leave_ranks

    code = 1
    try:
        join_ranks("gloo")
        queue.put((rank, work(rank)))
        leave_ranks()
        code = 0
    except SystemExit as error:
        queue.put((rank, f"SystemExit: {error}"))
        code = error.code
    except BaseException as error:
        queue.put((rank, f"{type(error).__name__}: {error}"))
        traceback.print_exc()
    finally:
        os._exit(code)


def kill_this_one():
    with suppress(ProcessLookupError):
        os.kill(os.getpid(), signal.SIGKILL)


def trains_in_a_fork() -> bool:
    """Whether a fork of this process can train: not after PyTorch has started threads for the gradients of a device."""
    process = os.fork()
    if process:
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
    try:
        torch.ones(1, requires_grad=True).sum().backward()
        os._exit(0)
    except BaseException:
        os._exit(1)
