"""The command line of programs in recipes and benchmarks: a mistake is one line, with the nearest name.

argparse prints its usage first, takes parts of names for the names, and the last of two equal options in silence.
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Sequence
from typing import Any, NoReturn

from lobes.errors import UserError, did_you_mean

_WHOLE = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are UserErrors.

    Example
    -------
    >>> parser = Parser(prog="prepare.py")
    >>> _ = parser.add_argument("--jobs", type=count, default=1)
    >>> parser.parse_args(["--jobs", "2"]).jobs
    2
    >>> parser.parse_args(["--job", "2"])
    Traceback (most recent call last):
    ...
    lobes.errors.UserError: unknown option --job. Did you mean '--jobs'? See: prepare.py --help
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **{**options, "allow_abbrev": False})

    def error(self, message: str) -> NoReturn:
        """Raise the message; of a word that belongs to no option, with the nearest name."""
        hint = ""
        if unknown := re.match(r"unrecognized arguments: (-[^\s=]+)", message):
            hint = did_you_mean(unknown[1], self._option_string_actions)
            message = f"unknown option {unknown[1]}"
        raise UserError(f"{message.rstrip('.')}.{hint} See: {self.prog} --help")

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> Any:
        """Refuse an option that is given twice, and text that is empty, where argparse would take it."""
        if args is None:
            import sys

            args = sys.argv[1:]
        names = [word.partition("=")[0] for word in args if word.startswith("--") and len(word) > 2]
        for name in names:
            action = self._option_string_actions.get(name)
            if names.count(name) > 1 and not isinstance(action, argparse._AppendAction):
                self.error(f"{name} is given twice: leave one of them out")
        for word, before in zip(args, ["", *args], strict=False):
            if word == "" or word.endswith("=") and word.startswith("--"):
                self.error(f"{word.rstrip('=') or before or 'an argument'} is empty: expected a value")
        return super().parse_known_args(args, namespace)


def count(text: str) -> int:
    """A whole number from 1 up, as the type of an argument."""
    return _whole(text, 1)


def from_zero(text: str) -> int:
    """A whole number from 0 up, as the type of an argument."""
    return _whole(text, 0)


def positive(text: str) -> float:
    """A finite number above 0, as the type of an argument.

    Example
    -------
    >>> positive("2.5")
    2.5
    """
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return value


def _whole(text: str, low: int) -> int:
    if not _WHOLE.fullmatch(text) or not low <= int(text) < 2**63:
        raise argparse.ArgumentTypeError(f"expected a whole number from {low} up, got {text!r}")
    return int(text)
