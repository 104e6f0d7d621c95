"""The blocks of code of the pages, and what those need that not everybody has.

> python3 tests/page_blocks.py PAGE.md [SECTION] [--also network,minutes] [--shell]

prints the commands and the Python of a page, or of one of its sections, as one script for bash, which tests/newcomer.sh
runs. Blocks that need something are left out, but those whose needs `--also` names; `--shell` leaves the Python to the
tests. What a block needs stands in a comment above it, which no reader of the page sees:

    <!-- needs: data -->

It uses nothing but Python's own library: it runs before anything is installed.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass
from pathlib import Path

NEEDS = {
    "data": "recordings, a data set, a trained model or a program of the reader's own",
    "gpu": "a GPU",
    "network": "downloads",
    "minutes": "several minutes, or what such a block has left",
}
SHELL = ("sh", "bash")
RUN = ("python", *SHELL)
SHOWN = ("text", "mermaid", "yaml")  # nothing to run: outputs, formulas, drawings, and files, which tests read
BLOCK = re.compile(
    r"^(?:<!-- needs: (?P<needs>[\w, ]*) -->\n\n?)?^```(?P<language>\w*)(?P<options>[^\n]*)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A block of a page; `line` is that of its first fence."""

    section: str
    line: int
    language: str
    options: str
    needs: frozenset[str]
    code: str


def blocks_of(text: str) -> Iterator[Block]:
    """The blocks of a page, in their order.

    Example
    -------
    >>> page = "# Page\\n\\n## One\\n\\n<!-- needs: data, gpu -->\\n```sh\\nmake\\n```\\n"
    >>> (block,) = blocks_of(page)
    >>> block.section, block.line, sorted(block.needs), block.code
    ('One', 6, ['data', 'gpu'], 'make\\n')
    """
    for match in BLOCK.finditer(text):
        titles = re.findall(r"^## (.+)$", text[: match.start()], re.MULTILINE)
        needs = frozenset(re.findall(r"\w+", match["needs"] or ""))
        line = text.count("\n", 0, match.start("language")) + 1
        yield Block(titles[-1] if titles else "", line, match["language"], match["options"], needs, match["code"])


def faults(text: str) -> list[str]:
    """Blocks without a language, or in one that nothing runs and no test reads, and needs that there are not.

    Example
    -------
    >>> faults("```\\nx\\n```\\n\\n<!-- needs: luck -->\\n```ruby\\nx\\n```\\n")
    ['line 1: no language', 'line 6: ruby: nothing runs it', 'line 6: needs luck']
    """
    found = []
    for block in blocks_of(text):
        if not block.language:
            found.append(f"line {block.line}: no language")
        elif block.language not in (*RUN, *SHOWN):
            found.append(f"line {block.line}: {block.language}: nothing runs it")
        found += [f"line {block.line}: needs {need}" for need in sorted(block.needs - set(NEEDS))]
    return found


def script(blocks: Iterable[Block], also: Set[str] = frozenset(), languages: Iterable[str] = RUN) -> str:
    """What runs the blocks one after another in bash, but those that need more than `also`.

    Example
    -------
    >>> page = "```sh\\nmake\\n```\\n```python\\nx = 1\\n```\\n<!-- needs: gpu -->\\n```sh\\nno\\n```\\n"
    >>> print(script(blocks_of(page)))
    make
    python - <<'END_OF_BLOCK'
    x = 1
    END_OF_BLOCK
    """
    parts = []
    for block in blocks:
        if block.language in languages and block.needs <= also:
            code = block.code.rstrip("\n")
            parts.append(code if block.language in SHELL else f"python - <<'END_OF_BLOCK'\n{code}\nEND_OF_BLOCK")
    return "\n".join(parts)


def main() -> None:
    """Print the script of a page or a section."""
    parser = argparse.ArgumentParser(description="the blocks of a page as a script for bash")
    parser.add_argument("page", type=Path)
    parser.add_argument("section", nargs="?")
    parser.add_argument("--also", default="", help="needs that are met, with commas between them")
    parser.add_argument("--shell", action="store_true", help="leave the Python out")
    options = parser.parse_args()
    blocks = list(blocks_of(options.page.read_text(encoding="utf-8")))
    if options.section is not None:
        blocks = [block for block in blocks if block.section == options.section]
        if not blocks:
            parser.error(f"{options.page} has no blocks in a section {options.section!r}")
    print(script(blocks, set(options.also.split(",")), SHELL if options.shell else RUN))


if __name__ == "__main__":
    main()
