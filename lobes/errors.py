"""Errors that a user can fix: one line on the screen, exit code 2, no traceback."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


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


def install(*others: str, extra: str = "") -> str:
    """Return the command that installs Lobes: there is no release, so it is installed from a clone of its repository.

    Every text that says how to install Lobes takes the command from here.

    Arguments
    ---------
    *others : str
        Packages that are installed with it.
    extra : str
        One of its extras, such as `demo`.

    Example
    -------
    >>> install()
    'pip install path/to/clone'
    >>> install("julius", extra="demo")
    'pip install "path/to/clone[demo]" julius'
    """
    clone = f'"path/to/clone[{extra}]"' if extra else "path/to/clone"
    return " ".join(["pip install", clone, *others])


@contextmanager
def exit_on_user_error() -> Iterator[None]:
    """Turn a `UserError` into one line on stderr and exit code 2. Wrap the body of a command's main in it."""
    try:
        yield
    except UserError as error:
        print("error: " + " ".join(_own_words(str(error)).split()), file=sys.stderr)
        sys.exit(2)


def _own_words(message: str) -> str:
    """The message without the traceback that torch puts around an error of a data loader's worker."""
    return message.rpartition("lobes.errors.UserError: ")[2] if message.startswith("Caught UserError") else message
