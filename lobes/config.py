"""Configuration files: deltas of a base, presets of networks, recipes, and the options of a command line.

A file may name another one as its `base`; it then holds only what differs. Presets (`hparams_shared/models`) describe
a network, recipes a training. A recipe names a preset, whose options become keys of the recipe.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterable, Mapping
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

from hyperpyyaml import load_hyperpyyaml, resolve_references
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from lobes.errors import UserError, did_you_mean

NETWORK = "separator"  # the key of a preset that constructs its network
_PACKAGE = Path(__file__).resolve().parent


class Layer(NamedTuple):
    """One file of a chain of bases, as it stands."""

    path: Path
    base: str  # the name of the file below
    keys: dict[str, Any]
    without: list[str] = []  # keys of the base that mean nothing from here on
    added: list[str] = []  # keys that the base does not have


class Preset(NamedTuple):
    """A preset with its bases folded in and its references still in place."""

    options: dict[str, Any]  # what a recipe, the command line or `get_model` may set
    parts: dict[str, Any]  # constructor trees; the one called `separator` is the network
    meta: dict[str, Any]  # what the file says about the network
    training: dict[str, Any]  # values for the keys of a recipe that suit this network


def resolve(path: str | Path, overrides: str = "", extra_options: tuple[str, ...] = ()) -> str:
    """Fold the bases, the preset, references and overrides of a recipe into one self-contained YAML text.

    Arguments
    ---------
    path : str or Path
        The recipe's file. Its key `base`, when there is one, names another file by its relative path; the keys of this
        file then replace those of the base, whole. A key `without` lists keys of the base that mean nothing here, a key
        `with` those that this file adds. `preset` names the network: values under the preset's `training` replace those
        of the base, and the options of the network are keys of the recipe. Any other key is a misspelling.
    overrides : str
        YAML text of top-level scalars, as made from the command line.
    extra_options : tuple of str
        Further option names (run options) that the "did you mean" of a misspelt option may suggest.

    Returns
    -------
    str
        Text that HyperPyYAML loads from any folder, with the network under `modules: separator:`.

    Raises
    ------
    UserError
        If a file is missing or is no YAML, a key or an override is unknown, or a placeholder is not filled in.

    Example
    -------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "base.yaml").write_text("lr: 0.1\\nsteps: !ref <lr> * 10\\n")
    >>> _ = (folder / "small.yaml").write_text("base: base.yaml\\nlr: 0.5\\n")
    >>> resolve(folder / "small.yaml")
    'lr: 0.5\\nsteps: 5.0\\n'
    """
    given = YAML(typ="safe").load(overrides) or {}
    layers = read_layers(Path(path))
    if "preset" in given and _naming_layer(layers) is not None:
        layers.append(Layer(Path("command line"), layers[-1].path.name, {"preset": given["preset"]}))
    tree, parts = _recipe(layers)
    known = [key for key in tree if key not in parts and key != "num_sources"]
    for key in given:
        if key not in known:
            hint = did_you_mean("num_spks" if key == "num_sources" else key, [*known, *extra_options])
            network = f" and those of the preset {tree['preset']}" if parts else ""
            raise UserError(f"unknown option --{key}.{hint} The top-level keys of {path}{network} are options.")
    return resolve_tree(tree, overrides, drop=parts, name=path)


def resolve_tree(tree: Any, overrides: str | Mapping[str, Any], drop: Iterable[str], name: str | Path) -> str:
    """Replace the references in the tree of a file without bases; then leave out the keys `drop`.

    `overrides` are other values for some keys. `name` is the file, for messages and for the includes in it.

    Raises
    ------
    UserError
        If a placeholder is not filled in or an included file is missing.
    """
    text = StringIO(_dump(tree))
    text.name = str(name)  # type: ignore[attr-defined]  # includes are looked up relative to this name
    try:
        resolved = resolve_references(text, overrides or None).getvalue()
    except FileNotFoundError as error:
        raise UserError(f"{name} includes {error.filename}, which does not exist.") from error
    except ValueError as error:
        if "!PLACEHOLDER" not in str(error):
            raise
        key = str(error).split("'")[1]
        raise UserError(f"{key} is not set. Give it on the command line: --{key} VALUE") from error
    if not (drop := list(drop)):
        return resolved
    tree = YAML().load(resolved)
    for key in drop:
        del tree[key]
    return _dump(tree)


def load(text: str) -> dict[str, Any]:
    """Make the objects of a resolved YAML text.

    Example
    -------
    >>> load("lr: 0.5\\nname: a")
    {'lr': 0.5, 'name': 'a'}
    """
    return load_hyperpyyaml(text)


def read_preset(preset: str) -> Preset:
    """Read a preset and its bases.

    The options are the plain keys of the files and, where these name a class as `network`, its keyword arguments.

    Raises
    ------
    UserError
        If there is no such preset, or it sets what its network does not have.

    Example
    -------
    >>> options = read_preset("spmamba_16k").options
    >>> options["n_fft"], options["n_layers"]
    (512, 6)
    """
    path = preset_path(preset)
    tree, undeclared = _fold(read_layers(path))
    network = tree.pop("network", None)
    meta, training = dict(tree.pop("meta", {})), dict(tree.pop("training", {}))
    options = {key: value for key, value in tree.items() if not _tag(value).startswith("!new:")}
    parts = {key: value for key, value in tree.items() if key not in options}
    if not network:
        undeclared = {key: layer for key, layer in undeclared.items() if key in tree}  # not `meta` and `training`
        _check(undeclared, set(tree) - set(undeclared))
        return Preset(options, parts, meta, training)
    defaults = keyword_arguments(network)
    for key in options:
        if key not in defaults:
            raise UserError(f"{path}: {network} has no argument {key!r}.{did_you_mean(key, defaults)}")
    options = {**defaults, **options}
    lines = [f"  {key}: !ref <{key}>\n" for key in options]
    parts = YAML().load(f"{NETWORK}: !new:{network}\n{''.join(lines)}")
    return Preset(options, parts, meta, training)


def keyword_arguments(network: str) -> dict[str, Any]:
    """Find what can be set in a network, with the defaults.

    `network` is the dotted name of a class. Where its `__init__` takes `**keywords`, those of the parent count too.
    Keywords typed `object` are there to be refused, since mypy lets no `object` be handed on: they end the search.

    Example
    -------
    >>> keyword_arguments("lobes.models.bsrnn.BSRNN")["sample_rate"]
    16000
    """
    module, _, name = network.rpartition(".")
    found: dict[str, Any] = {}
    for parent in getattr(importlib.import_module(module), name).__mro__:
        arguments = inspect.signature(parent.__init__).parameters.values()
        found |= {a.name: a.default for a in arguments if a.default is not a.empty and a.name not in found}
        if not any(a.kind is a.VAR_KEYWORD and a.annotation not in (object, "object") for a in arguments):
            break
    return found


def preset_path(preset: str) -> Path:
    """File of a preset; an unknown preset is a UserError that suggests the nearest name."""
    known = sorted(path.stem for path in models_folder().glob("*.yaml"))
    if preset not in known:
        raise UserError(f"unknown model {preset}.{did_you_mean(str(preset), known)} Known: {', '.join(known)}")
    return models_folder() / f"{preset}.yaml"


def models_folder() -> Path:
    """Folder of the presets: next to the package in a checkout, inside it when installed from a wheel."""
    for root in (_PACKAGE.parent, _PACKAGE):
        folder = root / "hparams_shared" / "models"
        if folder.is_dir():
            return folder
    raise UserError(f"expected the model presets in {_PACKAGE.parent}/hparams_shared/models; reinstall lobes")


def read_layers(path: Path) -> list[Layer]:
    """Read a file and its bases, the first base first; one that is missing or no YAML is a `UserError`."""
    if not path.is_file():
        near = sorted(found.name for found in path.parent.glob("*.yaml")) if path.parent.is_dir() else []
        raise UserError(f"no such recipe file: {path}. The folder has: {', '.join(near) or 'no YAML file'}.")
    try:
        keys = YAML().load(path)
    except YAMLError as error:
        raise UserError(f"{path} is no valid YAML: {error}") from error
    if not isinstance(keys, dict):
        raise UserError(f"{path} must hold `key: value` lines at the top level.")
    keys.ca.comment = None  # type: ignore[attr-defined]  # the heading is about this file alone
    base, without, added = keys.pop("base", ""), keys.pop("without", []), keys.pop("with", [])
    below = read_layers(path.parent / base) if base else []
    return [*below, Layer(path, Path(base).name, keys, without, added)]


def _recipe(layers: list[Layer]) -> tuple[Any, dict[str, Any]]:
    """The keys of a recipe with the options of its preset among them, and the preset's parts."""
    last = _naming_layer(layers)
    if last is None:
        tree, undeclared = _fold(layers)
        _check(undeclared, set(tree) - set(undeclared))
        return tree, {}
    name = layers[last].keys["preset"]
    preset = read_preset(name)
    training = [Layer(preset_path(name), layers[last].base, preset.training)] if last else []
    tree, undeclared = _fold([*layers[:last], *training, *layers[last:]])
    _check(undeclared, (set(tree) - set(undeclared)) | set(preset.options), f" or of the preset {name}")
    place = list(tree).index("preset") + 1
    for key in reversed([key for key in preset.options if key not in tree]):
        tree.insert(place, key, preset.options[key])
    tree.update(preset.parts)
    return tree, preset.parts


def _naming_layer(layers: list[Layer]) -> int | None:
    """Number of the last layer that names a preset, unless one above it does without."""
    for number, layer in reversed(list(enumerate(layers))):
        if "preset" in layer.keys or "preset" in layer.without:
            return number if "preset" in layer.keys else None
    return None


def _fold(layers: list[Layer]) -> tuple[Any, dict[str, Layer]]:
    """Put layers on each other; also the keys that nothing below declares, with the layer that sets them."""
    tree: Any = layers[0].keys
    undeclared: dict[str, Layer] = {}
    for layer in layers[1:]:
        _check(dict.fromkeys(layer.without, layer), tree)
        undeclared.update({key: layer for key in layer.keys if key not in tree and key not in layer.added})
        for key in layer.without:
            del tree[key]
        tree.update(layer.keys)
    return tree, undeclared


def _check(keys: Mapping[str, Layer], known: Iterable[str], further: str = "") -> None:
    known = set(known)
    for key, layer in keys.items():
        if key not in known:
            raise UserError(f"{layer.path}: {key!r} is no key of {layer.base}{further}.{did_you_mean(key, known)}")


def _dump(tree: Any) -> str:
    yaml, text = YAML(), StringIO()
    yaml.width = 1000  # lists stay on one line
    yaml.dump(tree, text)
    return text.getvalue()


def _tag(value: Any) -> str:
    """The YAML tag of a value; empty for plain ones."""
    return str(getattr(getattr(value, "tag", None), "value", None) or "")
