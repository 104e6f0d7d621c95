"""The site: it builds without a warning, asks no other server for anything, and has every page and public name."""

from __future__ import annotations

import doctest
import importlib.util
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def hook(name: str):
    """A file of docs/site; its packages come with the extra docs."""
    pytest.importorskip("mkdocs")
    pytest.importorskip("griffe")
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / "site" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def html(site: Path, page: str) -> str:
    return (site / page).read_text(encoding="utf-8")


def test_every_document_is_a_page_and_in_the_navigation(site):
    documents = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("recipes/*/*.md")]
    navigation = html(site, "404.html")
    for document in documents:
        path = document.relative_to(ROOT).with_suffix(".html").as_posix().replace("README.html", "index.html")
        assert (site / path).is_file()
        assert f'href="/{path}"' in navigation or path == "index.html"


def test_nothing_comes_from_another_server(site):
    script = r"<(?:script|img|iframe|audio|source)\b[^>]*\bsrc=\"?(?:https?:)?//"
    loaded = re.compile(rf"{script}|<link\b[^>]*href=\"?https?:")
    found = {page.name: loaded.findall(page.read_text(encoding="utf-8")) for page in site.rglob("*.html")}
    assert len(found) > 20 and not any(found.values())


def test_search_works_without_a_server_and_finds_what_stands_in_the_pages(site):
    index = json.loads((site / "search" / "search_index.js").read_text(encoding="utf-8").removeprefix("var __index = "))
    assert any("selective scan" in entry["text"] for entry in index["docs"])
    assert "docs/site/iframe-worker.js" in html(site, "index.html") and (site / "docs/site/iframe-worker.js").is_file()


def test_every_public_name_is_described(site):
    pages = hook("pages")
    names = {name: folder for folder, listed in pages.public_names().items() for name in listed}
    assert {"lobes.load", "lobes.scan.selective_scan", "lobes.errors.UserError"} <= set(names)
    for name, folder in names.items():
        assert f'id="{name}"' in html(site, f"names/{folder}.html")


def test_arguments_and_links_are_read_as_such(site):
    described = html(site, "names/lobes.scan.html")
    assert "Parameters:" in described and "Returns:" in described and '<h2 id="arguments' not in described
    assert 'href="recipes/PolSESS/RESULTS.html"' in html(site, "index.html")
    assert 'href="../recipes/VoiceBank/index.html#recipes"' in html(site, "docs/augmentation.html")


def test_a_notebook_is_a_page_that_leads_to_it_and_to_other_pages(site):
    page = html(site, "docs/tutorials/streaming.html")
    assert 'href="streaming.ipynb"' in page and (site / "docs" / "tutorials" / "streaming.ipynb").is_file()
    assert 'href="../streaming.html#speed"' in page and "model.stream" in re.sub("<[^>]+>", "", page)
    assert 'href="streaming.html"' in html(site, "docs/tutorials/index.html")
    code = re.sub("<[^>]+>", "", page)
    assert "lobes stream results/causal" in code and "!lobes" not in code


def test_examples_of_the_code_of_the_site():
    for name in ("pages", "docstrings"):
        assert doctest.testmod(hook(name)).failed == 0
    assert doctest.testmod(hook("docstrings")).attempted
