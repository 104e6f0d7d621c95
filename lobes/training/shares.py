"""The share of a validation and of a test that each rank takes, and how the shares come together.

Whole batches are dealt out in turn, so that an item stands in the same batch, and gets the same numbers to the last
bit, with any number of ranks. No rank takes part in a batch of another one, so that their numbers may differ.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch.distributed as dist
from speechbrain.dataio.sampler import DistributedSamplerWrapper
from torch import nn
from torch.utils.data import DistributedSampler, Sampler

from lobes.errors import UserError, in_one_line
from lobes.runs import names
from lobes.runs.main_process import on_main
from lobes.training.ranks import number_of_ranks, rank_here
from lobes.training.signals import Stopped

logger = logging.getLogger(__name__)


class ShareOfBatches(Sampler[list[int]]):
    """Each rank's share of the batches of a data set, dealt out in turn: the indices of the items of each batch.

    Arguments
    ---------
    items : int
        Size of the data set.
    batch_size : int
    rank, ranks : int
        Whose share, and of how many.

    Example
    -------
    >>> [list(ShareOfBatches(5, 2, rank, ranks=2)) for rank in (0, 1)]
    [[[0, 1], [4]], [[2, 3]]]
    >>> ShareOfBatches(5, 2, 1, 2).below(3)
    1
    """

    def __init__(self, items: int, batch_size: int, rank: int = 0, ranks: int = 1) -> None:
        self.batches = [
            list(range(first, min(first + batch_size, items)))
            for first in range(rank * batch_size, items, ranks * batch_size)
        ]

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)

    def below(self, index: int) -> int:
        """How many items of the share are among the first `index` of the data set."""
        return sum(item < index for batch in self.batches for item in batch)

    def first(self, batches: int | None) -> int:
        """How many items are in the first batches of the share; in all of it without a number."""
        return sum(map(len, self.batches[:batches]))


class ShareOfOrder(DistributedSamplerWrapper):
    """Each rank's share of an order of items in the training: SpeechBrain's, which fails where it is a single item.

    Example
    -------
    >>> [list(ShareOfOrder([4, 2], num_replicas=2, rank=rank, shuffle=False)) for rank in (0, 1)]
    [[4], [2]]
    """

    def __iter__(self) -> Iterator[int]:
        order = list(self.sampler)
        places: Iterator[int] = DistributedSampler.__iter__(self)
        return iter([order[place] for place in places])


class Word(NamedTuple):
    """What a rank brings to a meeting: its result, or why it has none."""

    result: Any = None
    error: str = ""
    signal: int = 0


class Meeting:
    """Where the ranks come together at the end of a validation or of a test; a single one has nobody to wait for.

    A rank that fails on the way comes too, and says why, so that no other waits for it in vain.

    Example
    -------
    >>> meeting = Meeting()
    >>> with meeting.at_the_end_of("the validation"):
    ...     meeting.gather([1, 2])
    [[1, 2]]
    """

    def __init__(self) -> None:
        self._due = ""  # the stage whose meeting is still to come

    @contextmanager
    def at_the_end_of(self, stage: str) -> Iterator[None]:
        """Do the work of a stage in here, with one `gather` at its end."""
        self._due = stage
        try:
            yield
        except (Exception, Stopped) as error:
            if self._due and number_of_ranks() > 1:
                self._explain(error)
            raise
        finally:
            self._due = ""

    def gather(self, result: Any) -> list[Any]:
        """The results of all ranks, in their order, on each of them.

        Raises
        ------
        UserError
            On the ranks that have come this far, where another one has failed.
        Stopped
            The same, where another one was ended by a signal.
        """
        stage, self._due = self._due, ""
        words = _exchange(Word(result))
        for number in (word.signal for word in words if word.signal):
            raise Stopped(number)
        for rank, word in enumerate(words):
            if word.error:
                raise UserError(f"rank {rank} has failed in {stage}: {word.error}")
        return [word.result for word in words]

    def _explain(self, error: BaseException) -> None:
        """Say to the others why this rank has no result. It ends with its own error, whatever becomes of them."""
        reason = in_one_line(error) if isinstance(error, Exception) else ""
        reason = reason or " ".join(f"{type(error).__name__}: {error}".split())
        number = error.number if isinstance(error, Stopped) else 0
        if not number:
            logger.error("rank %d has failed in %s: %s", rank_here(), self._due, reason)
        with suppress(RuntimeError):
            _exchange(Word(error=reason, signal=number))


def _exchange(word: Word) -> list[Word]:
    if number_of_ranks() == 1:
        return [word]
    words = [word] * number_of_ranks()
    dist.all_gather_object(words, word)
    return words


def take_buffers_of_the_first(network: nn.Module) -> None:
    """Set the buffers of a network to those of rank 0, as the wrapper for training does before each of its calls."""
    for buffer in network.buffers():
        dist.broadcast(buffer, 0)


def refuse_unshared(folder: str | Path, patience: float = 60.0) -> None:
    """See to it that all ranks find in a run folder what the first one has written there; all of them call this.

    Arguments
    ---------
    folder : str or Path
        The run folder, which rank 0 has made.
    patience : float
        Seconds until another machine must see a new file; file systems on a network take some.

    Raises
    ------
    UserError
        On all ranks, if one of them looks into another folder of this name.

    Example
    -------
    >>> refuse_unshared("anywhere")  # alone
    """
    if number_of_ranks() == 1:
        return
    path = Path(folder, names.HYPERPARAMS)
    wanted = on_main(_content, path)
    last = time.monotonic() + patience
    while (found := _content(path)) != wanted and time.monotonic() < last:
        time.sleep(1.0)
    blind = [(rank, host) for rank, (host, sees) in enumerate(_hosts(found == wanted)) if not sees]
    if blind:
        rank, host = blind[0]
        raise UserError(
            f"output_folder {folder}: rank {rank} on {host} does not find there what rank 0 has written. Put it on a "
            "file system that all machines share, under the same path."
        )


def _hosts(sees: bool) -> list[tuple[str, bool]]:
    return [word.result for word in _exchange(Word((socket.gethostname(), sees)))]


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None
