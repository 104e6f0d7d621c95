"""The pages of the site, for mkdocs: every document of the checkout at its own path, and the public names.

The paths of the site are those of the checkout, so that a link between two pages leads to the same place on a code host
and on the site. A linked file that is no page is copied; a linked folder has no page, and its link becomes its text.
The public names are those that docs/architecture.md lists. A notebook of docs/tutorials becomes a page, and lies by it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pymdownx.slugs import slugify

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("*.md", "docs/*.md", "docs/*/*.md", "recipes/*/*.md", "benchmarks/results/*.md")
NOTEBOOKS = "docs/tutorials/*.ipynb"
ASSETS = ("docs/images/*.*", "docs/images/*/*", "docs/site/*.js", "docs/site/*.css", NOTEBOOKS)
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#:\s]+)(#[\w-]+)?\)")
NAME = re.compile(r"lobes(?:\.\w+)+")


def documents() -> list[str]:
    """Paths of the documents of the checkout, from its root."""
    return sorted(path.relative_to(ROOT).as_posix() for pattern in PAGES for path in ROOT.glob(pattern))


def target(page: str, link: str) -> Path:
    """Where a link of a page leads in the checkout."""
    return (ROOT / page).parent.joinpath(link).resolve()


def linked_files(page: str) -> set[str]:
    """The files that a document links to, from the root of the checkout."""
    found = LINK.finditer((ROOT / page).read_text(encoding="utf-8"))
    paths = (target(page, match[3]) for match in found)
    return {path.relative_to(ROOT).as_posix() for path in paths if path.is_file()}


def notebooks() -> list[str]:
    """Paths of the notebooks, from the root of the checkout."""
    return sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob(NOTEBOOKS))


def page_of(notebook: str) -> str:
    """The path of a notebook's page."""
    return notebook.replace(".ipynb", ".md")


def notebook_page(text: str, name: str) -> str:
    """A notebook as Markdown: what stands in it, and its code. A cell that calls programs becomes commands of a shell.

    Example
    -------
    >>> cells = [("markdown", "# Title\\n"), ("code", "x = 1\\n"), ("code", "!lobes info\\n")]
    >>> text = json.dumps({"cells": [{"cell_type": kind, "source": [source]} for kind, source in cells]})
    >>> print(notebook_page(text, "a.ipynb"))
    # Title
    <BLANKLINE>
    *This page is [a notebook](a.ipynb).*
    <BLANKLINE>
    ```python
    x = 1
    ```
    <BLANKLINE>
    ```sh
    lobes info
    ```
    """
    parts = [_as_markdown(cell["cell_type"], "".join(cell["source"]).strip()) for cell in json.loads(text)["cells"]]
    parts.insert(1, f"*This page is [a notebook]({name}).*")
    return "\n\n".join(parts)


def _as_markdown(kind: str, source: str) -> str:
    if kind == "markdown":
        return source
    language = "sh" if source.startswith("!") else "python"
    return f"```{language}\n{source.removeprefix('!')}\n```"


def public_names() -> dict[str, list[str]]:
    """Folder of the library -> its public names, as docs/architecture.md lists them."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    listed = text.split("\n## Public names\n")[1].split("```")[1]
    names: dict[str, list[str]] = {}
    for name in NAME.findall(listed.replace("python -m lobes.compat.mamba_ssm", "")):
        parts = name.split(".")
        folder = ".".join(parts[:2]) if len(parts) > 2 else "lobes"
        names.setdefault(folder, []).append(name)
    return names


def names_page(folder: str, names: list[str]) -> str:
    """The page of a folder's public names, in the language of mkdocstrings."""
    return "\n".join([f"# {folder}", "", *(f"::: {name}\n" for name in names)])


def names_paths() -> dict[str, str]:
    """Folder -> path of the page of its names."""
    return {folder: f"names/{folder}.md" for folder in public_names()}


# ------------------------------------------------------------------ called by mkdocs
def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Anchors as code hosts make them, and the public names in the navigation."""
    config.mdx_configs.setdefault("toc", {})["slugify"] = slugify(case="lower")
    config.nav.append({"Names": [{folder: path} for folder, path in names_paths().items()]})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The documents and what they link to, in the place of the folder docs alone."""
    kept = Files([file for file in files if file.src_dir != config.docs_dir])
    pages = documents()
    assets = [path.relative_to(ROOT).as_posix() for pattern in ASSETS for path in ROOT.glob(pattern)]
    for path in sorted({*pages, *assets, *(file for page in pages for file in linked_files(page))}):
        kept.append(File(path, str(ROOT), config.site_dir, config.use_directory_urls))
    for notebook in notebooks():
        text = notebook_page((ROOT / notebook).read_text(encoding="utf-8"), Path(notebook).name)
        kept.append(File.generated(config, page_of(notebook), content=text))
    for folder, path in names_paths().items():
        kept.append(File.generated(config, path, content=names_page(folder, public_names()[folder])))
    return kept


def on_page_markdown(markdown: str, page: Page, **_) -> str:
    """A link to a folder becomes its text, and one to a notebook leads to its page, but from that page itself."""

    def replaced(match: re.Match[str]) -> str:
        if match[3].endswith(".ipynb") and page_of(match[3]) != Path(page.file.src_uri).name:
            return f"[{match[2]}]({page_of(match[3])})"
        return match[2] if target(page.file.src_uri, match[3]).is_dir() else match[0]

    return LINK.sub(replaced, markdown)
