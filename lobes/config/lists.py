"""Lists and mappings as one types them: `[a, b]`, `{key: value}`, with quotes around what holds commas or brackets."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

_TOKEN = re.compile(r"""\s*(?:([\[\]{},])|"([^"]*)"|'([^']*)'|([^\[\]{},"']+))""")


def read_list(text: str, leaf: Callable[[str], Any] = str) -> Any:
    """Read a list or a mapping; other than in YAML, every character that is no bracket, comma or quote is text.

    Arguments
    ---------
    text : str
        Begins with `[` or `{`.
    leaf : function
        Makes a value of a text without quotes; text in quotes stays text.

    Returns
    -------
    list or dict

    Raises
    ------
    ValueError
        If brackets, quotes or colons are not where they should be.

    Example
    -------
    >>> read_list('[a #1, "b, c", no]')
    ['a #1', 'b, c', 'no']
    >>> read_list("[{epoch: 1, variants: [R, SR]}]")
    [{'epoch': '1', 'variants': ['R', 'SR']}]
    """
    tokens = _tokens(text)
    value = _value(tokens, leaf)
    if tokens or not isinstance(value, list | dict):
        raise ValueError(text)
    return value


def _tokens(text: str) -> list[tuple[str, str]]:
    """(kind, text) of each piece, in order: kinds are bracket, quoted and bare."""
    tokens, place = [], 0
    while place < len(text.rstrip()):
        match = _TOKEN.match(text, place)
        if not match or match.end() == place:
            raise ValueError(text)
        place = match.end()
        kind = {1: "bracket", 2: "quoted", 3: "quoted", 4: "bare"}[match.lastindex or 0]
        tokens.append((kind, match[match.lastindex or 0]))
    return [(kind, word.strip() if kind == "bare" else word) for kind, word in tokens]


def _value(tokens: list[tuple[str, str]], leaf: Callable[[str], Any]) -> Any:
    if not tokens:
        raise ValueError("no end")
    kind, text = tokens.pop(0)
    if kind != "bracket":
        return text if kind == "quoted" else leaf(text)
    if text == "[":
        return _until("]", tokens, lambda: _value(tokens, leaf))
    if text == "{":
        return dict(_until("}", tokens, lambda: _pair(tokens, leaf)))
    raise ValueError(text)


def _pair(tokens: list[tuple[str, str]], leaf: Callable[[str], Any]) -> tuple[str, Any]:
    key, colon, text = tokens.pop(0)[1].partition(":")
    if not colon:
        raise ValueError(key)
    return key.strip(), leaf(text.strip()) if text.strip() else _value(tokens, leaf)


def _until(end: str, tokens: list[tuple[str, str]], item: Callable[[], Any]) -> list[Any]:
    """Items between commas, up to the closing bracket."""
    items = []
    while tokens and tokens[0] != ("bracket", end):
        items.append(item())
        if tokens and tokens[0] == ("bracket", ","):
            tokens.pop(0)
        elif tokens and tokens[0] != ("bracket", end):
            raise ValueError(end)
    if not tokens:
        raise ValueError(end)
    tokens.pop(0)
    return items
