"""A file and its bases: what each one holds, and all of them put on each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from lobes.config.earlier import name_preset
from lobes.config.recipe_folders import SHARED, shared_folder
from lobes.config.references import read_yaml
from lobes.config.table import hint_for
from lobes.errors import UserError


class Layer(NamedTuple):
    """One file of a chain of bases, as it stands."""

    path: Path
    base: str  # the name of the file below
    keys: dict[str, Any]
    without: list[str] = []  # keys of the base that mean nothing from here on
    added: list[str] = []  # keys that the base does not have


def read_layers(path: Path, above: tuple[Path, ...] = ()) -> list[Layer]:
    """Read a file and its bases, the first base first.

    Raises
    ------
    UserError
        If one of them is missing, is no YAML or is its own base (`above`: the files that have led to this one).
    """
    if not path.is_file():
        of = f", the base of {above[-1]}" if above else ""
        raise UserError(f"no such recipe file: {path}{of}.{neighbours(path)}")
    if path.resolve() in (file.resolve() for file in above):
        raise UserError(f"{above[-1]}: its base {path} has it as a base again.")
    keys = read_yaml(path)
    keys.ca.comment = None  # the heading is about this file alone
    name_preset(path, keys)
    base = keys.pop("base", None) or ""
    if not isinstance(base, str):
        raise UserError(f"{path}: base: expected the path of one file, got {base!r}.")
    without, added = _names(path, keys, "without"), _names(path, keys, "with")
    below = read_layers(_base_of(path, base), (*above, path)) if base else []
    return [*below, Layer(path, Path(base).name, keys, without, added)]


def _base_of(path: Path, base: str) -> Path:
    """The file that a base names: from the folder of `path`, or in a copy of a recipe, of those that Lobes brings."""
    parts = Path(base).parts
    if SHARED in parts and not (path.parent / base).is_file():
        return shared_folder().joinpath(*parts[parts.index(SHARED) + 1 :])
    return path.parent / base


def _names(path: Path, keys: Any, key: str) -> list[str]:
    names = keys.pop(key, None) or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError(f"{path}: {key}: expected a list of keys such as [lr, patience], got {names!r}.")
    return names


def neighbours(path: Path) -> str:
    """A sentence with the YAML files near a path that leads to none."""
    folder = path if path.is_dir() else path.parent
    if folder.is_dir() and not list(folder.glob("*.yaml")) and (folder / "hparams").is_dir():
        folder = folder / "hparams"
    near = sorted(found.name for found in folder.glob("*.yaml")) if folder.is_dir() else []
    what = " It is a folder." if path.is_dir() else ""
    where = "The folder" if folder == path.parent else f"The folder {folder.name}"
    return f"{what} {where} has: {', '.join(near) or 'no YAML file'}."


def fold(layers: list[Layer]) -> tuple[Any, dict[str, Layer]]:
    """Put layers on each other; also the keys that nothing below declares, with the layer that sets them."""
    tree: Any = layers[0].keys
    undeclared: dict[str, Layer] = {}
    for layer in layers[1:]:
        refuse_unknown(dict.fromkeys(layer.without, layer), tree)
        undeclared.update({key: layer for key in layer.keys if key not in tree and key not in layer.added})
        for key in layer.without:
            del tree[key]
        tree.update(layer.keys)
    return tree, undeclared


def refuse_unknown(keys: Mapping[str, Layer], known: Iterable[str], further: str = "") -> None:
    """Refuse keys that a layer sets and nothing knows; `further` says where else was looked than in its base."""
    known = set(known)
    unknown = {key: layer for key, layer in keys.items() if key not in known}
    if unknown:
        lines = (
            f"{layer.path}: {key!r} is no key of {layer.base}{further}.{hint_for(str(key), known)}"
            for key, layer in unknown.items()
        )
        raise UserError(" ".join(lines))
