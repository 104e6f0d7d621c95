"""Systems that are made of models: a model, a share of it, an average of several. T samples, S sources."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from hashlib import sha256
from typing import Any, Protocol

import numpy as np
import torch

from lobes.data.rates import resample
from lobes.errors import UserError
from lobes.inference.separator import Separator
from lobes.inference.strength import applied
from lobes.metrics.utterance import best_order
from lobes.nnet.level import fitted

PROBE_S = 1.0


class EstimateMaker(Protocol):
    """What systems are made of, and are themselves: see `lobes.evaluation`, which scores them."""

    label: str
    num_sources: int | None
    sample_rate: int | None

    @property
    def fingerprint(self) -> str:
        """Equal where all estimates are; empty where only the estimates themselves can show it."""

    def prepare(self, mixtures: Mapping[str, Any], num_sources: int) -> None:
        """Refuse before the first mixture what would be refused later."""

    def estimates(self, ID: str, mix: np.ndarray, rate: int) -> np.ndarray:
        """The estimates [T,S] of a mixture [T] at a rate in Hz, at any level."""


class SharedModel:
    """A model that several systems are made of, at any rate: a mixture is resampled, and its estimates back.

    Arguments
    ---------
    separator : Separator

    Example
    -------
    >>> from lobes.inference.speechbrain_adapter import adapt
    >>> class Halves(torch.nn.Module):
    ...     def forward(self, mix, lengths=None):
    ...         return torch.stack([mix / 2, mix / 2], dim=-1)
    >>> halves = SharedModel(Separator(adapt(Halves()), {"num_spks": 2, "sample_rate": 8000}))
    >>> halves.estimates(np.ones(16001, np.float32), 16000).shape, len(halves.fingerprint)
    ((16001, 2), 64)
    """

    def __init__(self, separator: Separator) -> None:
        self.separator = separator
        self._last: tuple[tuple[np.ndarray | None, int], np.ndarray] = ((None, 0), np.zeros(0))

    @cached_property
    def fingerprint(self) -> str:
        """Of all weights, and of what the model makes of one second of noise, so that changed code counts, too.

        A model whose output is not the same twice has another one each time: nothing of it is ever taken as done.
        """
        weights = [value.detach().cpu().contiguous() for value in self.separator.mods.state_dict().values()]
        noise = np.random.default_rng(0).standard_normal(int(PROBE_S * self.separator.sample_rate)) / 10
        output = self.separator.separate(noise.astype(np.float32))
        parts = [weight.flatten().view(torch.uint8).numpy().tobytes() for weight in weights]
        where = f"{self.separator.device} {self.separator.sample_rate}"
        return sha256(b"".join([*parts, output.tobytes(), where.encode()])).hexdigest()

    def estimates(self, mix: np.ndarray, rate: int) -> np.ndarray:
        """What the model makes of a mixture [T]; the last one is remembered for shares and averages."""
        last, found = self._last
        if last[0] is not mix or last[1] != rate:
            own = self.separator.sample_rate
            found = self.separator.separate(resample(mix, rate, own) if own != rate else mix)
            found = resample(found, own, rate)[: len(mix)] if own != rate else found
            self._last = ((mix, rate), found)
        return found


class SeparatorSystem:
    """A model as it is.

    Arguments
    ---------
    label : str
    model : SharedModel
    """

    def __init__(self, label: str, model: SharedModel) -> None:
        self.label, self.model = label, model
        self.num_sources: int | None = model.separator.num_sources
        self.sample_rate: int | None = model.separator.sample_rate

    @property
    def fingerprint(self) -> str:
        """That of the model."""
        return self.model.fingerprint

    def prepare(self, mixtures: Mapping[str, Any], num_sources: int) -> None:
        """Nothing can be known before it is called."""

    def estimates(self, ID: str, mix: np.ndarray, rate: int) -> np.ndarray:
        """What the model gives."""
        return self.model.estimates(mix, rate)


class Weakened:
    """A share of an enhancement, the rest is the mixture: `lobes.inference.strength`.

    Arguments
    ---------
    label : str
    of : EstimateMaker
        Of one source.
    share : float
        1 gives its estimates, 0 the mixture.

    Raises
    ------
    UserError
        For several sources, when they are known.
    """

    def __init__(self, label: str, of: EstimateMaker, share: float) -> None:
        self.label, self.of, self.share = label, of, share
        self.num_sources, self.sample_rate = of.num_sources, of.sample_rate
        if of.num_sources not in (1, None):
            self._refuse(of.num_sources)

    @property
    def fingerprint(self) -> str:
        """That of what it is a share of, and the share."""
        return self.of.fingerprint and f"{self.share!r} of ({self.of.fingerprint})"

    def prepare(self, mixtures: Mapping[str, Any], num_sources: int) -> None:
        """As what it is a share of."""
        if num_sources != 1:
            self._refuse(num_sources)
        self.of.prepare(mixtures, num_sources)

    def estimates(self, ID: str, mix: np.ndarray, rate: int) -> np.ndarray:
        """Sample by sample, with the enhancement at the level that fits the mixture."""
        found = self.of.estimates(ID, mix, rate)
        if self.share == 1:
            return found
        blocks = iter([fitted(found, mix)[:, :, None]])  # [T,1,1]
        return np.concatenate(list(applied(blocks, [iter([mix])], self.share)))[:, :, 0]

    def _refuse(self, count: int | None) -> None:
        raise UserError(f"{self.label}: a strength is for enhancement, one source; there are {count}. Leave it away.")


class Ensemble:
    """The mean of several systems: all at the level that fits the mixture, their sources in the order of the first's.

    Arguments
    ---------
    label : str
    parts : sequence of EstimateMaker

    Raises
    ------
    UserError
        Parts with different numbers of sources.
    """

    def __init__(self, label: str, parts: Sequence[EstimateMaker]) -> None:
        self.label, self.parts = label, parts
        self.num_sources = common(parts)
        self.sample_rate = min((part.sample_rate for part in parts if part.sample_rate), default=None)

    @property
    def fingerprint(self) -> str:
        """Those of its parts, if all have one."""
        found = [part.fingerprint for part in self.parts]
        return f"mean of ({', '.join(found)})" if all(found) else ""

    def prepare(self, mixtures: Mapping[str, Any], num_sources: int) -> None:
        """As its parts."""
        for part in self.parts:
            part.prepare(mixtures, num_sources)

    def estimates(self, ID: str, mix: np.ndarray, rate: int) -> np.ndarray:
        """The permutation is that with the highest SI-SDR to the first part's, for each mixture anew."""
        first, *others = (fitted(part.estimates(ID, mix, rate), mix) for part in self.parts)
        if not all(np.isfinite(one).all() for one in (first, *others)):
            return np.full_like(first, np.nan)
        total = first.astype(np.float64)
        for other in others:
            total += other[:, best_order(other, first)]
        return (total / len(self.parts)).astype(np.float32)


def common(systems: Sequence[EstimateMaker]) -> int | None:
    """The number of sources that all systems have that have one of their own.

    Raises
    ------
    UserError
        They differ.

    Example
    -------
    >>> common([]) is None
    True
    """
    found = {one.label: one.num_sources for one in systems if one.num_sources is not None}
    if len(set(found.values())) > 1:
        each = ", ".join(f"{label} gives {count}" for label, count in found.items())
        raise UserError(f"systems of one evaluation give one number of sources: {each}. Evaluate them apart.")
    return next(iter(found.values()), None)


def plain(label: str) -> str:
    """A label without letters that file systems or tables may not have.

    Example
    -------
    >>> plain("results/my run:2")
    'results_my_run_2'
    """
    return re.sub(r"[^\w.+@-]", "_", label)
