"""The kind of value that an option takes: read from typed text, and checked wherever the value comes from."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lobes.config.lists import read_list

_INTEGER = re.compile(r"[+-]?[0-9]+([eE]\+?[0-9]{1,2})?")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_LARGEST = 2**63 - 1  # what a tensor can hold
_TRUTH = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", list: "a list such as [a, b]",
          dict: "a mapping such as {a: 1}"}  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """A type with its range.

    Arguments
    ---------
    type : type or None
        int, float, bool, str, list or dict. None: whatever the text looks like.
    low, high : float or None
        The range, with its ends.
    above : float or None
        A lower end that is not in the range.
    null : bool
        Whether `null` is a value.
    choices : tuple of str
        All that may be said; of a mapping its keys; empty: anything.
    items : Kind, optional
        Of a list or a mapping.

    Example
    -------
    >>> rate = Kind(float, above=0)
    >>> rate.read("1e-3"), rate.problem(0.001), rate.problem(rate.read("no"))
    (0.001, '', "expected a number above 0, got 'no'")
    """

    type: type | None = None
    low: float | None = None
    high: float | None = None
    above: float | None = None
    null: bool = False
    choices: tuple[str, ...] = ()
    items: Kind | None = None

    def read(self, text: str) -> Any:
        """The value that a text stands for; the text itself where it stands for none, so that it can be reported."""
        if self.null and text == "null":
            return None
        if self.type is str:
            return text
        if self.type is None:
            return _guess(text)
        if self.type in (list, dict):
            leaf = (self.items or Kind()).read
            try:
                return read_list(text, leaf)
            except ValueError:
                return text
        return _scalar(self.type, text)

    def problem(self, value: Any) -> str:
        """What is wrong with a value in words, or nothing."""
        if value is None and (self.null or self.type is None):
            return ""
        if self._fits(value):
            return ""
        return f"expected {self.words()}, got {_shown(value)}"

    def words(self) -> str:
        """What is expected.

        Example
        -------
        >>> Kind(int, low=1, null=True).words()
        'a whole number from 1 up or null'
        """
        if self.type is dict and self.choices:
            return f"{{name: number}} with names among {', '.join(self.choices)}" + (" or null" if self.null else "")
        if self.choices:
            text = " or ".join(self.choices)
        elif self.type is str and self.low:
            text = "text that is not empty"
        else:
            text = _WORDS.get(self.type, "a value") + self._range()  # type: ignore[arg-type]
        if self.items and self.items.type:
            text += f" of {_WORDS[self.items.type].removeprefix('a ')}s".replace("texts", "names")
            text += f" among {', '.join(self.items.choices)}" if self.items.choices else ""
        return text + (" or null" if self.null else "")

    def _range(self) -> str:
        if self.above is not None:
            return f" above {self.above:g}" + (f", up to {self.high:g}" if self.high is not None else "")
        if self.low is not None:
            return f" from {self.low:g} " + (f"to {self.high:.15g}" if self.high is not None else "up")
        return ""

    def _fits(self, value: Any) -> bool:
        items = self.items or Kind()
        if self.type is dict:
            named = isinstance(value, Mapping) and (not self.choices or not set(value) - set(self.choices))
            return named and not any(items.problem(item) for item in value.values())
        if self.choices:
            return isinstance(value, str) and value in self.choices
        if self.type is None:
            return not isinstance(value, float) or math.isfinite(value)
        if self.type is list:
            return isinstance(value, list) and not any(items.problem(item) for item in value)
        if self.type is str:
            return isinstance(value, str) and len(value) >= (self.low or 0)
        if isinstance(value, bool) or self.type is bool:
            return self.type is bool and isinstance(value, bool)
        return isinstance(value, int if self.type is int else int | float) and self._in_range(value)

    def _in_range(self, value: float) -> bool:
        if (
            not math.isfinite(value)
            or (self.type is int and abs(value) > _LARGEST)
            or (self.above is not None and value <= self.above)
        ):
            return False
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)


def kind_of(default: Any) -> Kind:
    """The kind of a declared default: its type; for a list that of its first item.

    Example
    -------
    >>> kind_of([0.9, 0.99]).read("[1, 1e-1]")
    [1.0, 0.1]
    """
    if isinstance(default, list | tuple):
        return Kind(list, items=kind_of(default[0]) if default else Kind())
    for kind in (bool, int, float, str, dict):  # a truth value is an int
        if isinstance(default, kind):
            return Kind(kind)
    return Kind(null=True)


def _scalar(kind: type, text: str) -> Any:
    if kind is bool:
        return _TRUTH.get(text, text)
    if kind is int:
        if not _INTEGER.fullmatch(text):
            return text
        digits, _, exponent = text.lower().partition("e")
        return int(digits) * 10 ** int(exponent or 0)
    return float(text) if _NUMBER.fullmatch(text) else text


def _guess(text: str) -> Any:
    """The value of a text whose option has no declared type: null, a truth value, a number, a list, else text."""
    if text == "null":
        return None
    if text.startswith(("[", "{")):
        return Kind(list).read(text)
    for kind in (bool, int, float):
        value = _scalar(kind, text)
        if not isinstance(value, str):
            return value
    return text


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "nothing" if value == "" else repr(dict(value) if isinstance(value, Mapping) else value)
