"""docs/troubleshooting.md: each line that it quotes is one that the code raises."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "troubleshooting.md"
LINES = re.findall(r"^\| `(.+?)` \|", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)


def text_of(node: ast.AST) -> str:
    """A text of the code, with ... for what is filled in."""
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else "..."


def texts_in(node: ast.AST) -> Iterator[str]:
    """All texts of a piece of code, but those inside of others."""
    if isinstance(node, ast.JoinedStr) or isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield text_of(node)
    else:
        for child in ast.iter_child_nodes(node):
            yield from texts_in(child)


def raised() -> list[str]:
    """The texts of one line in every file of the library and the recipes that raises a `UserError`."""
    files = [*ROOT.glob("lobes/**/*.py"), *ROOT.glob("recipes/**/*.py")]
    sources = [path.read_text(encoding="utf-8") for path in files]
    return [
        text for source in sources if "UserError(" in source for text in texts_in(ast.parse(source)) if "\n" not in text
    ]


RAISED = raised()


def stands_in(line: str, text: str) -> bool:
    """Whether a quoted line is a part of a text of the code; ... in the quote may stand for more than one thing."""
    pieces = [re.escape(piece) for piece in line.split("...")]
    return re.search(r".*".join(pieces), text) is not None


def test_a_line_that_the_code_does_not_raise_is_found():
    assert stands_in("... is given twice. Leave one", "--... is given twice. Leave one of them out.")
    assert not stands_in("... was given twice", "--... is given twice. Leave one of them out.")
    assert not any(stands_in("this line is nowhere: ...", text) for text in RAISED)


@pytest.mark.parametrize("line", LINES)
def test_each_line_is_one_of_the_code(line):
    assert len(line.replace("...", "")) > 12
    assert any(stands_in(line, text) for text in RAISED)


def test_the_page_has_lines():
    assert len(LINES) > 20
