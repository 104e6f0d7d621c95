"""How the ranks of a training find each other, after a restart by torchrun, too.

torchrun keeps one store of keys for all rounds of a job. After a restart, PyTorch 2.11 reads from it the addresses that
the ranks of the round before have left: the new ranks connect to nobody, or wait for each other until the timeout. The
number of the restart is no help, since a node that comes back counts from zero. So the ranks of a round first agree on
a name that was never used, and then keep all their keys under it.
"""

from __future__ import annotations

import os
import time
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

from lobes.errors import UserError
from lobes.runs.provenance import usable_cores

if TYPE_CHECKING:
    from torch.distributed import Store

ROUND, POLL_S = "lobes/round", 0.05
TO_MEET = timedelta(minutes=10)  # for all ranks to start
TO_WAIT = timedelta(hours=2)  # for a rank that computes alone, as SpeechBrain has it


def join_ranks(backend: str) -> None:
    """Join the other ranks of a training that torchrun started; alone, there is nothing to join.

    Arguments
    ---------
    backend : str
        nccl, gloo or mpi.

    Raises
    ------
    UserError
        If there are more ranks on this machine than GPUs.

    Example
    -------
    >>> join_ranks("gloo")  # no RANK in the environment
    """
    import torch
    from speechbrain.utils.distributed import get_local_rank, get_rank

    rank, local_rank = get_rank(), get_local_rank()
    if rank is None or local_rank is None:
        return
    if backend == "nccl":
        if local_rank >= torch.cuda.device_count():
            raise UserError(
                f"rank {local_rank} of this machine has no GPU: {torch.cuda.device_count()} found. "
                "Start fewer (--nproc_per_node), or give --distributed_backend gloo."
            )
        torch.cuda.set_device(local_rank)
    world_size = int(os.environ["WORLD_SIZE"])
    shared = _shared_store(world_size)
    store = None if shared is None else in_this_round(shared, rank, world_size)
    torch.distributed.init_process_group(backend, store=store, rank=rank, world_size=world_size, timeout=TO_WAIT)


def number_of_ranks() -> int:
    """How many ranks train together; 1 alone.

    Example
    -------
    >>> number_of_ranks(), rank_here()
    (1, 0)
    """
    import torch.distributed as dist

    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank_here() -> int:
    """The number of this rank, from 0; 0 alone."""
    import torch.distributed as dist

    return dist.get_rank() if number_of_ranks() > 1 else 0


def highest_of_ranks(value: float) -> float:
    """The highest value of all ranks, which must all call this: clocks differ, and what they decide must not.

    Example
    -------
    >>> highest_of_ranks(2.5)
    2.5
    """
    import torch
    import torch.distributed as dist

    if number_of_ranks() == 1:
        return value
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    highest = torch.tensor(value, dtype=torch.float64, device=device)
    dist.all_reduce(highest, op=dist.ReduceOp.MAX)
    return float(highest)


def cores_of_rank() -> int:
    """Cores for this rank, if the ranks of this machine share them equally; at least one.

    Example
    -------
    >>> cores_of_rank() >= 1
    True
    """
    return max(1, usable_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", 1)))


def leave_ranks() -> None:
    """Leave the other ranks at the end of a training: a process that ends among them is aborted now and then.

    Example
    -------
    >>> leave_ranks()  # nothing was joined
    """
    import torch

    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def in_this_round(store: Store, rank: int, world_size: int, timeout: timedelta = TO_MEET) -> Store:
    """The part of a store that belongs to the ranks which are alive now, whatever earlier ones have left in it.

    Rank 0 announces a new name; the others answer to the name that they read, each with a word of its own, and go on
    when rank 0 repeats this word. A name of an earlier round is never followed by a word of this one.

    Arguments
    ---------
    store : torch.distributed.Store
        Shared by all ranks, and by those of earlier rounds.
    rank, world_size : int
        This rank and their number.
    timeout : timedelta
        For all ranks to arrive.

    Returns
    -------
    torch.distributed.Store

    Raises
    ------
    UserError
        If a rank does not arrive.

    Example
    -------
    >>> from torch.distributed import HashStore
    >>> store = HashStore()
    >>> in_this_round(store, 0, 1).set("key", "value")
    >>> store.check(["key"])
    False
    """
    from torch.distributed import PrefixStore

    last = time.monotonic() + timeout.total_seconds()
    mine = uuid4().hex
    name = _announce(store, mine, world_size, last) if rank == 0 else _follow(store, mine, rank, last)
    return PrefixStore(f"lobes/{name}", store)


def _announce(store: Store, name: str, world_size: int, last: float) -> str:
    store.set(ROUND, name)
    answers = [f"lobes/{name}/answer/{rank}" for rank in range(1, world_size)]
    while answers and not store.check(answers):
        _wait_until(last, f"{world_size} ranks")
    store.set(f"lobes/{name}/go", " ".join(store.get(answer).decode() for answer in answers))
    return name


def _follow(store: Store, mine: str, rank: int, last: float) -> str:
    while True:
        if store.check([ROUND]):
            name = store.get(ROUND).decode()
            go = f"lobes/{name}/go"
            if not store.check([go]):
                store.set(f"lobes/{name}/answer/{rank}", mine)
            elif mine in store.get(go).decode().split():
                return name
        _wait_until(last, "rank 0")


def _wait_until(last: float, whom: str) -> None:
    if time.monotonic() > last:
        raise UserError(f"waited for {whom} in vain: a rank did not start. Its own output says why.")
    time.sleep(POLL_S)


def _shared_store(world_size: int) -> Store | None:
    """The store that torchrun keeps; None if rank 0 makes one for this round."""
    from torch.distributed import TCPStore

    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return None
    return TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), world_size, False, TO_WAIT)
