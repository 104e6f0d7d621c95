"""The commands `lobes recipe list | show | copy` and `lobes train`: the recipes, wherever Lobes is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from lobes.commands.strict import App
from lobes.config.recipe_folders import (
    all_recipes,
    find_recipe_file,
    recipe_files,
    recipe_folder,
    recipes_folder,
    script_of,
)
from lobes.errors import UserError

# What a recipe needs for a training; its other scripts repeat the results of RESULTS.md.
COPIED = ("train.py", "*_prepare.py", "*_metadata.py", "*_download.py", "README.md", "hparams/*.yaml")
# Every word behind the recipe file belongs to the recipe, `--help` too.
PASSED_ON = {"allow_interspersed_args": False, "allow_extra_args": True, "ignore_unknown_options": True}
EXEC_RETURNS = os.name == "nt"  # there, exec gives the shell back before the training ends

recipe = App(help="List, show or copy the recipes, which train a network on a data set.", no_args_is_help=True)


@recipe.command("list")
def list_recipes() -> None:
    """List the recipe files by the names that `lobes train` takes, with what each one is."""
    names = {f"{name}/{path.name}": path for name, folder in all_recipes().items() for path in recipe_files(folder)}
    if not names:
        raise UserError(f"expected the recipes in {recipes_folder()}; reinstall lobes.")
    width = max(map(len, names))
    print("\n".join(f"{name:{width}}  {heading(path)}" for name, path in names.items()))


@recipe.command()
def show(
    name: Annotated[str, typer.Argument(help="A recipe, for its page, or RECIPE/FILE.yaml, for the file.")],
) -> None:
    """Print the page of a recipe, or a recipe file with the place where it lies."""
    if name in all_recipes():
        print(_text(recipe_folder(name) / "README.md"), end="")
        return
    path = find_recipe_file(name)
    print(f"# {path}\n{_text(path)}", end="")


@recipe.command()
def copy(
    name: Annotated[str, typer.Argument(help="A recipe, such as PolSESS.")],
    folder: Annotated[Path, typer.Argument(help="A new folder, which is yours to change.")],
) -> None:
    """Copy a recipe: its train.py, what that imports next to it, its YAML files and its page."""
    from lobes.training.checks import refuse_unwritable

    source = recipe_folder(name)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is there already. Give a new folder: nothing is overwritten.")
    refuse_unwritable(folder, "FOLDER")
    for path in sorted(path for pattern in COPIED for path in source.glob(pattern)):
        target = folder / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    print(f"wrote {folder}")
    print("\n".join(f"lobes train {folder / path.name} --data_folder DATA" for path in recipe_files(folder)))


def train(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(help="RECIPE/FILE.yaml of `lobes recipe list`, or a file of your own.")],
) -> None:
    """Train, validate and test a network: what `python train.py` does in the recipe's folder.

    lobes train PolSESS/spmamba_tiny.yaml --data_folder DATA [OPTIONS]: results go to `results` in the current folder.

    lobes train PolSESS/spmamba_tiny.yaml --help: the options of this recipe file, such as --preset, another network of
    `lobes models`.
    """
    path = find_recipe_file(file)
    command = [sys.executable, str(script_of(path)), str(path), *ctx.args]
    if EXEC_RETURNS:
        sys.exit(subprocess.call(command))
    os.execv(sys.executable, command)


def heading(path: Path) -> str:
    """The first sentence of the comment at the top of a YAML file.

    Example
    -------
    >>> from lobes.config.recipe_folders import recipes_folder
    >>> heading(recipes_folder() / "custom" / "hparams" / "spmamba.yaml")
    'SPMamba, or with --preset another network, on mixtures of your own'
    """
    lines = []
    for line in _text(path).splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# "))
    return " ".join(lines).partition(". ")[0].rstrip(".")


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")
