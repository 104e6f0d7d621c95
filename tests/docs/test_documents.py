"""The documents: their tables, figures, commands and examples are true, and their words are plain."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from lobes import __version__
from lobes.data import audio
from lobes.models import list_models

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "recipes").glob("*/*.md")]


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def section(name: str, title: str) -> str:
    return text_of(name).split(f"\n## {title}\n")[1].split("\n## ")[0]


def table(text: str) -> list[dict[str, str]]:
    """Rows of the first table of a text, by the titles of the columns."""
    lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    head, _, *rows = ([cell.strip() for cell in line] for line in lines)
    return [dict(zip(head, row, strict=True)) for row in rows]


# ------------------------------------------------------------------ models
def shown_models() -> str:
    return text_of("docs/models.md").split("<!-- models:begin -->\n")[1].split("\n<!-- models:end -->")[0]


def test_model_table_is_what_the_command_prints():
    from lobes.evaluation.complexity import table as model_table

    assert shown_models() == model_table(), "write it again: lobes models --table"


def test_readme_shows_six_rows_of_the_model_table():
    rows = table(section("README.md", "Models"))
    whole = {row["Preset"]: row for row in table(shown_models())}
    assert len(rows) == 6 and len(rows[0]) >= 5
    assert all(row.items() <= whole[row["Preset"]].items() for row in rows)


def test_claims_repeat_the_model_table():
    page = text_of("docs/models.md")
    row = next(row for row in table(shown_models()) if row["Preset"] == "`spmamba_16k`")
    total, scan = float(row["GMAC/s"]), float(row["of which scan"])
    assert f"{total:.1f} G/s, {total - scan:.1f} without the scan" in page
    assert f"{445.56 / total:.1f} times less" in page


def test_the_table_of_public_models_is_what_the_command_prints():
    from lobes.inference import catalogue

    page = text_of("docs/pretrained.md")
    shown = page.split("<!-- pretrained:begin -->\n")[1].split("\n<!-- pretrained:end -->")[0]
    assert shown == catalogue.table(True), "write it again: lobes models --pretrained --table"
    assert f"it takes `{catalogue.default()}`" in " ".join(page.split())


# ------------------------------------------------------------------ benchmarks
def result(name: str) -> dict:
    return json.loads(text_of(f"benchmarks/results/{name}.json"))


def test_every_benchmark_is_described():
    described = {row["Script"].strip("`") for row in table(text_of("docs/benchmarks.md"))}
    assert described == {path.name for path in (ROOT / "benchmarks").glob("[a-z]*.py")}


def test_figures_of_the_benchmarks_are_those_of_their_files():
    page = " ".join(text_of("docs/benchmarks.md").split())
    scan, step = result("scan")["results"]["intra"]["numba"], result("training_against_reference")["against_reference"]
    forward, both = (1e3 * scan[kind]["cpu_min"] for kind in ("forward", "forward+backward"))
    assert f"{forward:.1f} ms forward and {both:.1f} ms forward with backward" in page
    times = (scan[f"times {name}"]["forward+backward"] for name in ("reference", "pscan"))
    assert "{} times as fast as the loop over time and {} times as fast as mambapy's".format(*times) in page
    assert f"{scan['times reference']['forward+backward']:.0f} times as fast as a loop over time" in text_of(
        "README.md"
    )
    assert all(f"{value} MB" in page for value in result("memory")["megabytes_over_inputs"].values())
    freed, kept = step["handed back"], step["kept"]
    assert f"{freed['numba']['wall_min']:.1f} s on one thread, {freed['factor']} times as fast" in page
    assert f"the factor is {kept['factor']}" in page
    shares = result("step_profile")["by_kind"]
    assert f"products take {shares['matrix products']} %, the scan {shares['scan']} %" in page
    assert f"{result('pesq_labels')['cost_percent']:.1f} %" in page
    start = {name: row["median"] for name, row in result("startup")["results"].items()}
    assert f"after {start['lobes --help']:.2f} s" in page and f"first step after {start['first step']:.1f} s" in page


def test_memory_saved_is_that_of_the_file():
    saved = {"checkpointing": [], "bf16": []}
    for row in result("enhancement_memory")["rows"]:
        if row["kind"] in saved:
            saved[row["kind"]].append(row["peak_less_percent"])
    ranges = {kind: f"{min(values):.0f} to {max(values):.0f} %" for kind, values in saved.items()}
    page = " ".join(text_of("docs/benchmarks.md").split())
    assert f"the peak of a step by {ranges['checkpointing']}, bf16 by {ranges['bf16']}" in page


# ------------------------------------------------------------------ examples and commands
BLOCK = re.compile(r'^```python(?: title="(\w+\.py)")?\n(.*?)^```', re.MULTILINE | re.DOTALL)
PYTHON = [
    pytest.param(page, number, id=f"{page.name}-{number}")
    for page in PAGES
    for number in range(len(BLOCK.findall(page.read_text(encoding="utf-8"))))
]


@pytest.mark.parametrize(("page", "number"), PYTHON)
def test_python_of_the_documents_runs(page, number, run, tmp_path, monkeypatch):
    """Each block alone; those with a title are files that the later ones of the page may import."""
    from lobes.inference import export_pretrained

    export_pretrained(run, tmp_path / "results" / "demo" / "exported")
    audio.write(tmp_path / "mixture.wav", np.full(8000, 0.1, np.float32), 8000)
    blocks = BLOCK.findall(page.read_text(encoding="utf-8"))
    for title, code in blocks[:number]:
        if title:
            (tmp_path / title).write_text(code, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    if ".install()" in blocks[number][1]:  # which changes what its process imports
        subprocess.run([sys.executable, "-c", blocks[number][1]], check=True)
        return
    try:
        exec(compile(blocks[number][1], str(page), "exec"), {"__name__": "page"})
    finally:  # files of these names are made by other pages and tests, too
        for title, _ in blocks:
            sys.modules.pop(Path(title).stem, None)


def commands(name: str) -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", text_of(name), flags=re.DOTALL)
    lines = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


@pytest.mark.parametrize("name", [page.relative_to(ROOT).as_posix() for page in PAGES])
def test_commands_of_the_documents_exist(name):
    folder = (ROOT / name).parent if name.startswith("recipes/") else ROOT
    for command in commands(name):
        words = command.split()
        if words[0] == "cd":
            folder = ROOT / words[1]
        elif words[0] == "make":
            assert f"\n{words[1]}:" in text_of("Makefile")
        elif words[0] == "lobes":
            assert_lobes_takes(words[1], {word for word in words if word.startswith("-")}, words[2:3])
        elif words[0] not in ("source", "pip"):  # which tests/newcomer.sh calls
            assert words[0] in ("python", "torchrun"), f"nothing tests {command}"
            assert "--preset" not in words or words[words.index("--preset") + 1] in list_models()
            files = (word for word in words[1:] if word.endswith((".py", ".yaml")) and not word.startswith("their_"))
            assert all((folder / word).is_file() for word in files if word != "config.yaml")


def test_readme_has_the_two_commands():
    assert {"make demo", "make test"} <= set(commands("README.md"))


def assert_lobes_takes(name: str, options: set[str], file: list[str]) -> None:
    """The sub-command exists and its help, for `train` and a file of `doctor` that of the recipe, names the options."""
    if name == "doctor" and file[0].endswith(".yaml"):
        name, file = "train", [file[0].removeprefix("recipes/").replace("hparams/", "")]
    recipe, _, settings = file[0].partition("/") if name == "train" else ("", "", "")
    shipped = (ROOT / "recipes" / recipe / "hparams" / settings).is_file()
    command = [sys.executable, "-m", "lobes.cli", name, *(file if shipped else []), "--help"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(re.search(rf"(?<![\w-]){option}\b", done.stdout) for option in options)


# ------------------------------------------------------------------ folders, citation
def test_architecture_names_every_folder():
    names = set(re.findall(r"^\| `([\w/]+)`", section("docs/architecture.md", "Folders"), flags=re.MULTILINE))
    packages = {f"lobes/{path.parent.name}" for path in (ROOT / "lobes").glob("*/__init__.py")}
    assert packages <= names
    assert all((ROOT / name).is_dir() for name in names)


@pytest.mark.parametrize("recipe", sorted(path.parent.name for path in ROOT.glob("recipes/*/hparams")))
def test_a_recipe_lists_its_hparams_files(recipe):
    listed = set(re.findall(r"\w+\.yaml", text_of(f"recipes/{recipe}/README.md")))
    assert {path.name for path in (ROOT / "recipes" / recipe / "hparams").glob("*.yaml")} <= listed


def test_citation_is_of_this_version():
    citation = yaml.safe_load(text_of("CITATION.cff"))
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert (citation["version"], citation["license"]) == (__version__, "Apache-2.0")
