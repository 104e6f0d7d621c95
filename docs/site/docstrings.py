"""Reads docstrings with SpeechBrain's section titles, for the pages of the public names."""

from __future__ import annotations

import re

import griffe

# SpeechBrain's title -> the title of numpydoc that griffe knows
TITLES = {"Arguments": "Parameters", "Example": "Examples"}
SECTION = re.compile(r"^(\w+)\n-{3,}$", re.MULTILINE)
SOURCE = re.compile(r"\n(Source: .+(?:\n\S.*)*)\n")


def numpydoc(docstring: str) -> str:
    """The docstring with the section titles of numpydoc, and with its source ahead of the sections.

    A line `Source: ...` after a section would be read as one of its items.

    Example
    -------
    >>> numpydoc("Sum.\\n\\nArguments\\n---------\\nx : int\\n\\nSource: Euler\\n")
    'Sum.\\n\\nSource: Euler\\n\\nParameters\\n----------\\nx : int\\n'
    """
    first, source = SECTION.search(docstring), SOURCE.search(docstring)
    if first and source and source.start() > first.start():
        before, sections = docstring[: first.start()], docstring[first.start() :]
        docstring = f"{before}{source[1]}\n\n{SOURCE.sub('', sections, count=1)}"
    return SECTION.sub(_with_known_title, docstring)


def _with_known_title(match: re.Match[str]) -> str:
    title = TITLES.get(match[1], match[1])
    return f"{title}\n{'-' * len(title)}"


class Numpydoc(griffe.Extension):
    """Gives every docstring the form of numpydoc."""

    def on_object(self, *, obj: griffe.Object, **_) -> None:
        if obj.docstring:
            obj.docstring.value = numpydoc(obj.docstring.value)
