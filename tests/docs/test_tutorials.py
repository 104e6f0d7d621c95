"""The notebooks of docs/tutorials: without outputs, with public names alone, and each runs in an empty folder."""

from __future__ import annotations

import ast
import json
import os
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "tutorials"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
SECONDS = 300  # of a cell; a whole notebook takes some 20 s where nothing else is at work

each = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)


def cells(notebook: Path, kind: str) -> list[dict]:
    return [cell for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == kind]


def source(cell: dict) -> str:
    return "".join(cell["source"])


def public_names() -> set[str]:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    listed = text.split("\n## Public names\n")[1].split("```")[1]
    return set(re.findall(r"lobes(?:\.\w+)+", listed))


def imported(code: str) -> set[str]:
    """The names of Lobes that a cell imports, in full."""
    found = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.partition(".")[0] == "lobes"}


def test_imports_are_found():
    assert imported("import lobes, os\nfrom lobes.a import b, c as d") == {"lobes", "lobes.a.b", "lobes.a.c"}


def test_the_list_of_tutorials_is_whole():
    listed = re.findall(r"^\| \[.+\]\((\w+\.ipynb)\)", (FOLDER / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(listed) == [path.name for path in NOTEBOOKS] and len(listed) == 5


@each
def test_a_notebook_is_kept_without_outputs(notebook):
    text = notebook.read_text(encoding="utf-8")
    book = json.loads(text)
    assert text == json.dumps(book, indent=1, ensure_ascii=False) + "\n"
    assert (book["nbformat"], book["nbformat_minor"]) == (4, 5) and "version" not in book["metadata"]["language_info"]
    for cell in book["cells"]:
        assert cell["metadata"] == {} and not cell.get("outputs") and cell.get("execution_count") is None
    assert book["cells"][0]["cell_type"] == "markdown" and source(book["cells"][0]).startswith("# ")


@each
def test_a_notebook_asserts_what_it_claims_with_public_names(notebook):
    code = [source(cell) for cell in cells(notebook, "code") if not source(cell).startswith("!")]
    assert any(isinstance(node, ast.Assert) for text in code for node in ast.walk(ast.parse(text)))
    used = set().union(*map(imported, code))
    assert used and used <= public_names() | {"lobes"}


@each
def test_links_of_a_notebook_lead_somewhere(notebook):
    links = [link for cell in cells(notebook, "markdown") for link in re.findall(r"\]\(([^)#\s]+)", source(cell))]
    assert links and all(link.startswith("https://") or (FOLDER / link).is_file() for link in links)


@pytest.mark.slow
@each
def test_a_notebook_runs(notebook, tmp_path):
    client = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    environment = {**os.environ, "PATH": programs, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    book = nbformat.read(notebook, as_version=4)
    nbformat.validate(book)
    place = {"metadata": {"path": str(tmp_path)}}
    client.NotebookClient(book, timeout=SECONDS, kernel_name="python3", resources=place).execute(env=environment)
