"""Errors that a user can fix: one line on the screen, exit code 2, no traceback."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import TextIOWrapper


class UserError(Exception):
    """A mistake that the user can fix. The message says what was expected, what was found and what to change."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a hint that names the closest known word, or nothing.

    Example
    -------
    >>> did_you_mean("batch_sise", ["batch_size", "lr"])
    " Did you mean 'batch_size'?"
    >>> did_you_mean("zzz", ["batch_size", "lr"])
    ''
    """
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" Did you mean {close[0]!r}?" if close else ""


@contextmanager
def exit_on_user_error() -> Iterator[None]:
    """Turn a `UserError` into one line on stderr and exit code 2. Wrap the body of a command's main in it.

    A letter that the encoding of the screen or pipe lacks, as in a path, is written as an escape: no reason to stop.
    """
    if isinstance(sys.stdout, TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        yield
    except UserError as error:
        print("error: " + " ".join(_own_words(str(error)).split()), file=sys.stderr)
        sys.exit(2)


def _own_words(message: str) -> str:
    """The message without the traceback that torch puts around an error of a data loader's worker."""
    return message.rpartition("lobes.errors.UserError: ")[2] if message.startswith("Caught UserError") else message
