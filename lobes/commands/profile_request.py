"""What `lobes profile` was asked for: a model, lengths and threads, and how each of them is measured."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import nn

from lobes.errors import UserError, did_you_mean
from lobes.inference.measuring import is_preset, measured, open_model
from lobes.inference.network import network_of
from lobes.inference.options import Options
from lobes.models import list_models
from lobes.models.registry import preset_meta
from lobes.runs.hub import revision_of
from lobes.runs.locate import refuse_revision
from lobes.runs.provenance import commit, machine, usable_cores

LONGEST_S = 24 * 3600.0
MOST_THREADS = 1024


class ProfileRequest:
    """A model and what is to be measured of it.

    Arguments
    ---------
    model : str
        A preset, or what `Separator.from_hparams` takes.
    seconds, threads : sequence
        Lengths and numbers of threads.
    chunk_s, revision, trust
        As in `lobes separate`.

    Raises
    ------
    UserError
        For a value out of its range, or a model that cannot be opened.

    Example
    -------
    >>> request = ProfileRequest("convtasnet_tiny", [1.0, 60.0], [1], 10.0, None, False)
    >>> request.receptive_field, request.pieces(1.0), request.pieces(60.0)
    ('0.25 s; its norms the whole mixture', (1, 1.0), (7, 10.0))
    """

    def __init__(
        self,
        model: str,
        seconds: Sequence[float],
        threads: Sequence[int],
        chunk_s: float | None,
        revision: str | None,
        trust: bool,
    ) -> None:
        self.seconds, self.threads = _in_order(seconds), _in_order(threads)
        if not all(0.01 <= one <= LONGEST_S for one in self.seconds):
            raise UserError(f"--seconds: expected lengths from 0.01 to {LONGEST_S:g} s.")
        if not all(1 <= one <= MOST_THREADS for one in self.threads):
            raise UserError(f"--threads: expected whole numbers from 1 to {MOST_THREADS}.")
        Options(chunk_s)
        self.preset = is_preset(model, list_models())
        if self.preset:
            refuse_revision(revision_of(revision), f"{model} is a preset")
        self.case: dict[str, Any] = {"model": model, "chunk_s": chunk_s, "revision": revision, "trust": trust}
        self.separator = _opened(model, revision, trust)

    @property
    def network(self) -> nn.Module:
        """The network whose operations count."""
        return network_of(self.separator)

    @property
    def receptive_field(self) -> str:
        """What the preset says of it; nothing says it of other models."""
        return preset_meta(self.case["model"])["receptive_field"] if self.preset else "-"

    @cached_property
    def where(self) -> dict[str, str]:
        """The origin of the figures."""
        return {"command": shlex.join(["lobes", *sys.argv[1:]]), "commit": commit(), "machine": machine()}

    def pieces(self, seconds: float) -> tuple[int, float]:
        """In how many chunks a recording is separated, and the seconds of one."""
        rate = self.separator.sample_rate
        samples = int(seconds * rate)
        plan = self.separator.plan(samples, self.case["chunk_s"])
        return (len(plan.spans(samples)), plan.length / rate) if plan.cuts(samples) else (1, seconds)

    def measure_within(self, memory: float, limit: float) -> Callable[[float, int], dict[str, Any]]:
        """What measures a length and a number of threads in a fresh process, of at most so many bytes and seconds."""

        def measure(seconds: float, threads: int) -> dict[str, Any]:
            return measured({**self.case, "seconds": seconds, "threads": threads}, None, memory, limit)

        return measure


def _opened(model: str, revision: str | None, trust: bool) -> Any:
    """The separator; a name that is nearly a preset's is said to be that."""
    try:
        return open_model(model, revision, trust)
    except UserError as error:
        hint = "" if Path(model).exists() else did_you_mean(model, list_models())
        raise UserError(f"{error}{hint}") from error


def default_threads() -> list[int]:
    """One thread and two, where there are two cores.

    Example
    -------
    >>> default_threads()[0]
    1
    """
    return [1, 2][: usable_cores()]


def _in_order(values: Sequence[Any]) -> list[Any]:
    return sorted(dict.fromkeys(values))
