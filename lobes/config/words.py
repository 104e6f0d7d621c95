"""The words of a command line as options, each with the text that was typed."""

from __future__ import annotations

from collections.abc import Container, Sequence

from lobes.errors import UserError


def read_words(
    words: Sequence[str], flags: Container[str] = (), several: Container[str] = ()
) -> dict[str, str | list[str]]:
    """Take `--key value`, `--key=value` and `--flag` apart; no text is interpreted.

    Arguments
    ---------
    words : sequence of str
        The command line behind the recipe's file.
    flags : container of str
        Options that need no value; `true` is theirs when none follows.
    several : container of str
        Options that take all words up to the next option.

    Returns
    -------
    dict
        Option -> text, or a list of texts for those in `several`.

    Raises
    ------
    UserError
        If an option comes twice or without its value, or a word belongs to no option.

    Example
    -------
    >>> read_words(["--lr", "-1", "--name=a=b", "--debug", "--folder", "exp #1"], flags=["debug"])
    {'lr': '-1', 'name': 'a=b', 'debug': 'true', 'folder': 'exp #1'}
    """
    found: dict[str, str | list[str]] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, text = word[2:].partition("=")
        if not word.startswith("--") or not name:
            raise UserError(f"unexpected word {word!r}: expected --key value. Put a value that has blanks in quotes.")
        if name in found:
            raise UserError(f"--{name} is given twice. Leave one of them out.")
        if equals:
            found[name] = [text] if name in several else text
        elif name in several:
            found[name] = [rest.pop(0) for _ in range(_values_ahead(rest))]
        elif name in flags:
            found[name] = rest.pop(0) if rest and rest[0] in ("true", "false") else "true"
        elif not _values_ahead(rest):
            raise UserError(f"--{name} has no value. If the value begins with two dashes, write --{name}=--VALUE.")
        else:
            found[name] = rest.pop(0)
    return found


def _values_ahead(words: Sequence[str]) -> int:
    """How many words come before the next option."""
    return next((n for n, word in enumerate(words) if word.startswith("--")), len(words))
