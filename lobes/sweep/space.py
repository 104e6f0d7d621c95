"""What a sweep searches: for each key a range of numbers or a list of values. Values are texts, as one types them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lobes.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

OF_RANGE = ("low", "high", "step", "log")


@dataclass(frozen=True)
class SearchRange:
    """Numbers from `low` to `high`, both included: any, those in steps from `low`, or evenly by their logarithm.

    Example
    -------
    >>> SearchRange(1, 4, whole=True).ends()
    ['1', '4']
    """

    low: float
    high: float
    step: float | None = None
    log: bool = False
    whole: bool = False

    def ends(self) -> list[str]:
        """The values at which it can be wrong."""
        return [typed(self.low), typed(self.high)]

    def distribution(self) -> BaseDistribution:
        """The same for Optuna."""
        from optuna.distributions import FloatDistribution, IntDistribution

        if self.whole:
            return IntDistribution(int(self.low), int(self.high), log=self.log, step=int(self.step or 1))
        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)


@dataclass(frozen=True)
class SearchList:
    """Values without an order, such as the names of mixers.

    Example
    -------
    >>> SearchList(("mamba", "lstm")).ends()
    ['mamba', 'lstm']
    """

    values: tuple[str, ...]

    def ends(self) -> list[str]:
        """All of them: each can be wrong."""
        return list(self.values)

    def distribution(self) -> BaseDistribution:
        """The same for Optuna."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.values)


def read_space(place: str, key: str, node: Any, whole: bool) -> SearchRange | SearchList:
    """What a sweep file says about a key: `[a, b]`, or `{low: 1, high: 4}` with `step` or `log`.

    Arguments
    ---------
    place : str
        The sweep's file, for messages.
    key : str
        The key of the recipe.
    node : object
        The value in the file.
    whole : bool
        Whether the recipe takes whole numbers for this key.

    Raises
    ------
    UserError
        If it is neither, or a range that cannot be.

    Example
    -------
    >>> read_space("a.yaml", "lr", {"low": 1e-4, "high": 1e-2, "log": True}, whole=False).ends()
    ['0.0001', '0.01']
    """
    if isinstance(node, Sequence) and not isinstance(node, str) and len(node):
        values = tuple(typed(value) for value in node)
        if len(set(values)) == len(values):
            return SearchList(values)
        raise UserError(f"{place}: search: {key}: a value stands twice in [{', '.join(values)}].")
    if isinstance(node, Mapping):
        return _range(f"{place}: search: {key}", node, whole)
    raise UserError(
        f"{place}: search: {key}: expected a list such as [mamba, lstm] or a range such as "
        f"{{low: 1.0e-4, high: 1.0e-2, log: true}}, got {node!r}."
    )


def _range(place: str, node: Mapping[str, Any], whole: bool) -> SearchRange:
    for word in node:
        if word not in OF_RANGE:
            raise UserError(f"{place}: unknown word {word!r} of a range.{did_you_mean(str(word), OF_RANGE)}")
    low, high, step, log = (node.get(word) for word in OF_RANGE)
    kind, words = ((int,), "whole numbers") if whole else ((int, float), "numbers")
    numbers = [number for number in (low, high, step) if number is not None]
    if low is None or high is None or not all(isinstance(n, kind) and not isinstance(n, bool) for n in numbers):
        raise UserError(f"{place}: expected {words} low and high, and perhaps step, got {dict(node)}.")
    if low >= high or (step is not None and not 0 < step <= high - low):
        raise UserError(f"{place}: expected low below high, and step above 0 and within them, got {dict(node)}.")
    if log not in (None, True, False) or (log and (low <= 0 or step is not None)):
        raise UserError(f"{place}: log is true or false; with log: true low is above 0, and there is no step.")
    return SearchRange(low, high, step, bool(log), whole)


def typed(value: Any) -> str:
    """A value of a YAML file as one types it behind an option.

    Example
    -------
    >>> typed(True), typed(None), typed(1e-4), typed([1, "a, b"])
    ('true', 'null', '0.0001', '[1, "a, b"]')
    """
    if isinstance(value, str):
        return str(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_inner(one)}" for key, one in value.items()) + "}"
    if isinstance(value, Sequence):
        return "[" + ", ".join(_inner(one) for one in value) + "]"
    return repr(int(value) if isinstance(value, int) else float(value))


def _inner(value: Any) -> str:
    text = typed(value)
    quoted = isinstance(value, str) and any(letter in text for letter in ",[]{}:'")
    return f'"{text}"' if quoted else text
