"""Recipe YAML files: a file that names a `base` holds only what differs from it."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

from hyperpyyaml import load_hyperpyyaml, resolve_references
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from lobes.errors import UserError, did_you_mean


def resolve(path: str | Path, overrides: str = "", extra_options: tuple[str, ...] = ()) -> str:
    """Fold base files, includes, references and overrides into one self-contained YAML text.

    Arguments
    ---------
    path : str or Path
        The recipe's file. Its key `base`, when there is one, names another file by its relative path; the keys of this
        file then replace those of the base, whole. A key `without` lists keys of the base that mean nothing here, a key
        `with` those that this file adds: any other key that the base does not have is a misspelling.
    overrides : str
        YAML text of top-level scalars, as made from the command line.
    extra_options : tuple of str
        Further option names (run options) that the "did you mean" of a misspelt option may suggest.

    Returns
    -------
    str
        Text that loads from any folder.

    Raises
    ------
    UserError
        If a file is missing or is no YAML, an override names no key, or a placeholder is not filled in.

    Example
    -------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "base.yaml").write_text("lr: 0.1\\nsteps: !ref <lr> * 10\\n")
    >>> _ = (folder / "small.yaml").write_text("base: base.yaml\\nlr: 0.5\\n")
    >>> resolve(folder / "small.yaml")
    'lr: 0.5\\nsteps: 5.0\\n'
    """
    path = Path(path)
    tree = _merged_tree(path)
    _check_overrides(overrides, tree, extra_options)
    text = StringIO()
    YAML().dump(tree, text)
    text.seek(0)
    text.name = str(path)  # type: ignore[attr-defined]  # includes are looked up relative to this name
    try:
        return resolve_references(text, overrides or None).getvalue()
    except FileNotFoundError as error:
        raise UserError(f"{path} includes {error.filename}, which does not exist.") from error
    except ValueError as error:
        if "!PLACEHOLDER" not in str(error):
            raise
        key = str(error).split("'")[1]
        raise UserError(f"{key} is not set. Give it on the command line: --{key} VALUE") from error


def load(text: str) -> dict[str, Any]:
    """Make the objects of a resolved YAML text.

    Example
    -------
    >>> load("lr: 0.5\\nname: a")
    {'lr': 0.5, 'name': 'a'}
    """
    return load_hyperpyyaml(text)


def _merged_tree(path: Path) -> Any:
    tree = _read(path)
    if "base" not in tree:
        return tree
    base_path = path.parent / str(tree.pop("base"))
    base = _merged_tree(base_path)
    without, added = tree.pop("without", []), tree.pop("with", [])
    for key in [*without, *tree]:
        if key not in base and key not in added:
            raise UserError(f"{path}: {key!r} is no key of {base_path.name}.{did_you_mean(key, base)}")
    for key in without:
        del base[key]
    base.update(tree)
    return base


def _read(path: Path) -> Any:
    if not path.is_file():
        near = sorted(found.name for found in path.parent.glob("*.yaml")) if path.parent.is_dir() else []
        raise UserError(f"no such recipe file: {path}. The folder has: {', '.join(near) or 'no YAML file'}.")
    try:
        tree = YAML().load(path)
    except YAMLError as error:
        raise UserError(f"{path} is no valid YAML: {error}") from error
    if not isinstance(tree, dict):
        raise UserError(f"{path} must hold `key: value` lines at the top level.")
    return tree


def _check_overrides(overrides: str, tree: Any, extra_options: tuple[str, ...]) -> None:
    for key in YAML(typ="safe").load(overrides) or {}:
        if key not in tree:
            hint = did_you_mean(key, [*tree, *extra_options])
            raise UserError(f"unknown option --{key}.{hint} The top-level keys of the recipe's YAML file are options.")
