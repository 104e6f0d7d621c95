"""Every link of the documents leads to a file, a folder or a heading that there is."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("", "docs", "docs/*", "recipes/*", "benchmarks/results")
PAGES = [page for folder in FOLDERS for page in sorted(ROOT.glob(f"{folder}/*.md".lstrip("/")))]
LINK = re.compile(r"\]\(([^)#:\s]*)(?:#([^)\s]+))?\)")
CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def text_of(page: Path) -> str:
    """The page without its blocks of code, whose lines are neither headings nor links."""
    return CODE.sub("", page.read_text(encoding="utf-8"))


def anchors(text: str) -> set[str]:
    """The names that code hosts give to the headings of a page; the second of equal ones ends in -1."""
    seen: Counter[str] = Counter()
    found = set()
    for heading in re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        name = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        found.add(f"{name}-{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return found


def broken(page: Path) -> list[str]:
    """The links of a page that lead nowhere."""
    found = []
    for target, anchor in LINK.findall(text_of(page)):
        path = page.parent / target if target else page
        if not path.exists() or anchor and anchor not in anchors(text_of(path)):
            found.append(f"{target}#{anchor}")
    return found


def test_anchors_are_those_of_code_hosts():
    text = "# The `mixer`: what?\n## A [link](b.md), too\n## Twice\n## Twice\n"
    assert anchors(text) == {"the-mixer-what", "a-link-too", "twice", "twice-1"}


def test_a_broken_link_is_found(tmp_path):
    (tmp_path / "b.md").write_text("# One\n")
    page = tmp_path / "a.md"
    page.write_text(
        "[x](b.md) [x](b.md#one) [x](b.md#two) [x](c.md) [x](#one) [x](https://a.b/c#d)\n```\n[x](d.md)\n```\n"
    )
    assert broken(page) == ["b.md#two", "c.md#", "#one"]


@pytest.mark.parametrize("page", [pytest.param(page, id=page.relative_to(ROOT).as_posix()) for page in PAGES])
def test_links_lead_somewhere(page):
    assert not broken(page)
