"""Every block of code of the pages runs, is read by a test, or says in a comment above it what it needs.

tests/page_blocks.py has the marks. Python runs in test_documents.py, commands in ../newcomer.sh.
"""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PATTERNS = ("*.md", "docs/**/*.md", "recipes/*/*.md", "benchmarks/results/*.md")
PAGES = sorted(path.relative_to(ROOT).as_posix() for pattern in PATTERNS for path in ROOT.glob(pattern))
SCRIPT = ROOT / "tests" / "page_blocks.py"

_SPEC = importlib.util.spec_from_file_location("page_blocks", SCRIPT)
page_blocks = importlib.util.module_from_spec(_SPEC)
sys.modules["page_blocks"] = page_blocks  # which a dataclass asks for
_SPEC.loader.exec_module(page_blocks)


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def all_blocks() -> list[tuple[str, object]]:
    return [(page, block) for page in PAGES for block in page_blocks.blocks_of(text_of(page))]


@pytest.mark.parametrize("page", PAGES)
def test_every_block_runs_or_is_marked(page):
    text = text_of(page)
    assert page_blocks.faults(text) == []
    fences = re.findall(r"^\s*(?:```|~~~)", text, flags=re.MULTILINE)
    assert len(fences) == 2 * len(list(page_blocks.blocks_of(text))), "a fence that no block begins or ends with"
    marks = re.findall(r"^ *<!-- *needs", text, flags=re.MULTILINE)
    assert len(marks) == sum(bool(block.needs) for block in page_blocks.blocks_of(text)), "a mark without a block"


def test_a_block_that_nothing_runs_is_refused():
    text = "```\nx\n```\n```sh\nx\n```\n```ruby\nx\n```\n<!-- needs: luck, data -->\n```sh\nx\n```\n"
    assert page_blocks.faults(text) == ["line 1: no language", "line 7: ruby: nothing runs it", "line 11: needs luck"]


def test_commands_that_name_what_nobody_has_are_marked():
    """A first look; tests/newcomer.sh runs the others."""
    placeholder = re.compile(r"(?<![.\w])/data/|\b(?:MODEL|DATA|TABLES)\b|results/my_run|recordings/|sepformer-")
    shell = [(page, block) for page, block in all_blocks() if block.language in page_blocks.SHELL]
    unmarked = [f"{page}:{block.line}" for page, block in shell if placeholder.search(block.code) and not block.needs]
    assert len(shell) > 30 and not unmarked


def test_python_of_the_pages_is_what_the_documents_run():
    run = len(re.findall(r"^```python", "".join(map(text_of, PAGES)), flags=re.MULTILINE))
    assert run == sum(block.language == "python" for _, block in all_blocks()) > 20


def test_yaml_of_the_pages_is_read():
    found = [(page, block.code) for page, block in all_blocks() if block.language == "yaml"]
    assert found and all(yaml.compose(code) is not None for _, code in found)


def test_a_network_in_the_yaml_of_another_project_is_made():
    from hyperpyyaml import load_hyperpyyaml

    from lobes.models.spmamba import SPMamba

    (code,) = (block.code for page, block in all_blocks() if "from-other" in page and block.language == "yaml")
    assert isinstance(load_hyperpyyaml(code)["separator"], SPMamba)


# ------------------------------------------------------------------ the script
def cut(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, SCRIPT, *words], cwd=ROOT, capture_output=True, text=True)


def test_a_script_has_the_blocks_of_a_section_and_no_others(tmp_path):
    page = tmp_path / "page.md"
    long = "<!-- needs: minutes -->\n```sh\nlong\n```\n"
    page.write_text(f"## One\n```sh\none\n```\n## Two\n```sh\ntwo\n```\n{long}```python\nx\n```\n")
    assert cut(str(page), "Two", "--shell").stdout == "two\n"
    assert cut(str(page), "Two", "--shell", "--also", "minutes").stdout == "two\nlong\n"
    assert cut(str(page), "Two").stdout == "two\npython - <<'END_OF_BLOCK'\nx\nEND_OF_BLOCK\n"
    assert cut(str(page), "Three").returncode == 2


def test_the_newcomer_reads_sections_that_there_are():
    """All sections of the README with commands, each once."""
    text = (ROOT / "tests" / "newcomer.sh").read_text(encoding="utf-8")
    loop = re.search(r"^for section in (.+); do$", text, flags=re.MULTILINE)[1]
    named = [*shlex.split(loop), *re.findall(r'README\.md "([^$"]+)"', text)]
    sections = [block.section for block in page_blocks.blocks_of(text_of("README.md"))]
    assert sorted(named) == sorted(set(sections))


def test_the_newcomer_refuses_what_it_does_not_know():
    done = subprocess.run(["bash", ROOT / "tests" / "newcomer.sh", "--fast"], capture_output=True, text=True)
    assert (
        done.returncode == 2 and done.stderr == "newcomer.sh: unknown option --fast; there are --minutes and --fetch\n"
    )
