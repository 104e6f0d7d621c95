"""Recipes by name, in a checkout, in an installed package and in a copy."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lobes import config
from lobes.config import recipe_folders
from lobes.config.recipe_folders import (
    all_recipes,
    find_recipe_file,
    name_of,
    recipe_folder,
    recipes_folder,
    results_folder,
    results_page,
    script_of,
    shared_folder,
)
from lobes.errors import UserError

ROOT = Path(__file__).parents[2]
TINY = ROOT / "recipes" / "PolSESS" / "hparams" / "spmamba_tiny.yaml"


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A package with the recipes inside, next to a folder of another project that is called the same."""
    package = tmp_path / "site-packages" / "lobes"
    for name in ("recipes", "hparams_shared"):
        shutil.copytree(ROOT / name, package / name, ignore=shutil.ignore_patterns("results", "__pycache__"))
    (package.parent / "recipes").mkdir()
    monkeypatch.setattr(recipe_folders, "_PACKAGE", package)
    return package


def test_a_checkout_has_them_next_to_the_package():
    assert recipes_folder() == ROOT / "recipes" and shared_folder() == ROOT / "hparams_shared"
    assert results_folder() == ROOT / "results"
    assert set(all_recipes()) == {path.parent.name for path in ROOT.glob("recipes/*/hparams")}


def test_an_installed_package_has_them_inside(installed):
    assert recipes_folder() == installed / "recipes" and shared_folder() == installed / "hparams_shared"
    found = find_recipe_file("PolSESS/spmamba_tiny.yaml")
    assert found == installed / "recipes" / "PolSESS" / "hparams" / "spmamba_tiny.yaml"
    assert results_folder() == Path("results")  # nothing is written into a package
    assert results_page(installed / "recipes" / "PolSESS") == Path("results", "PolSESS", "RESULTS.md")
    assert script_of(found).is_file() and name_of(found) == "PolSESS/spmamba_tiny.yaml"


def test_tables_stand_next_to_the_scripts_but_in_an_installed_package(installed, tmp_path):
    copy = tmp_path / "PolSESS"
    assert results_page(copy) == copy / "RESULTS.md"
    assert results_page(ROOT / "recipes" / "PolSESS") == ROOT / "recipes" / "PolSESS" / "RESULTS.md"


@pytest.mark.parametrize(
    "word", ["PolSESS/spmamba_tiny.yaml", "PolSESS/spmamba_tiny", "PolSESS/hparams/spmamba_tiny.yaml", str(TINY)]
)
def test_a_name_and_a_path_lead_to_the_file(word, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_recipe_file(word) == TINY


@pytest.mark.parametrize("word", ["spmamba_tiny", "hparams/spmamba_tiny.yaml", "./spmamba_tiny.yaml"])
def test_in_the_folder_of_a_recipe_the_files_name_is_enough(word, monkeypatch):
    monkeypatch.chdir(TINY.parents[1])
    assert find_recipe_file(word).resolve() == TINY


def test_a_folder_here_comes_before_the_recipe_of_the_same_name(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "recipes" / "custom", tmp_path / "custom", ignore=shutil.ignore_patterns("results"))
    monkeypatch.chdir(tmp_path)
    assert find_recipe_file("custom/spmamba.yaml") == Path("custom/hparams/spmamba.yaml")
    assert name_of(find_recipe_file("custom/spmamba.yaml")) == "custom/hparams/spmamba.yaml"


@pytest.mark.parametrize(
    ("word", "message"),
    [
        (
            "PolSESS/spmamba_tny.yaml",
            "There are PolSESS/convt.*Did you mean 'PolSESS/spmamba_tiny.yaml'",
        ),
        ("PolSESS", "no such recipe file: PolSESS. There are PolSESS/convtasnet_mini.yaml"),
        ("PolSES/spmamba.yaml", "RECIPE one of LibriMix, .*Did you mean 'PolSESS'"),
        ("", "no such recipe file: "),
        ("..", "no such recipe file: "),
    ],
)
def test_what_is_not_there_names_what_is(word, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        find_recipe_file(word)


def test_a_file_without_its_script_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text("base: x.yaml\n")
    with pytest.raises(UserError, match="mine.yaml: expected a recipe file in <recipe>/hparams, with a train.py"):
        find_recipe_file("mine.yaml")


def test_an_unknown_recipe_names_the_nearest():
    with pytest.raises(UserError, match="no such recipe: custm. There are .*Did you mean 'custom'"):
        recipe_folder("custm")


@pytest.mark.parametrize("name", sorted(all_recipes()))
def test_a_copy_anywhere_resolves_to_the_same_settings(name, tmp_path):
    shutil.copytree(ROOT / "recipes" / name / "hparams", tmp_path / "mine" / "hparams")
    for path in sorted((ROOT / "recipes" / name / "hparams").glob("*.yaml")):
        options = {"data_folder": "x", "output_folder": "out"}
        copied = config.resolve(tmp_path / "mine" / "hparams" / path.name, options)
        assert copied == config.resolve(path, options)


def test_a_base_that_lies_where_it_says_comes_first(tmp_path):
    (tmp_path / "hparams_shared").mkdir()
    (tmp_path / "hparams_shared" / "separation.yaml").write_text("lr: 0.5\n")
    file = tmp_path / "recipes" / "mine" / "hparams" / "a.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("base: ../../../hparams_shared/separation.yaml\n")
    assert config.resolve(file, {}) == "lr: 0.5\n"
    file.write_text("base: ../../../hparams_shared/separatoin.yaml\n")
    with pytest.raises(UserError, match="separatoin.yaml, the base of"):
        config.resolve(file, {})
