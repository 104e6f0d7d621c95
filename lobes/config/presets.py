"""Presets: files that describe a network, its options with their defaults, and the training that suits it."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML

from lobes.config.layers import fold, read_layers, refuse_unknown
from lobes.config.references import tag_of
from lobes.errors import UserError, did_you_mean

NETWORK = "separator"  # the key of a preset that constructs its network
_PACKAGE = Path(__file__).resolve().parents[1]


class Preset(NamedTuple):
    """A preset with its bases folded in and its references still in place."""

    options: dict[str, Any]  # what a recipe, the command line or `get_model` may set
    parts: dict[str, Any]  # constructor trees; the one called `separator` is the network
    meta: dict[str, Any]  # what the file says about the network
    training: dict[str, Any]  # values for the keys of a recipe that suit this network


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
    tree, undeclared = fold(read_layers(path))
    network = tree.pop("network", None)
    meta, training = dict(tree.pop("meta", {})), dict(tree.pop("training", {}))
    options = {key: value for key, value in tree.items() if not tag_of(value).startswith("!new:")}
    parts = {key: value for key, value in tree.items() if key not in options}
    if not network:
        undeclared = {key: layer for key, layer in undeclared.items() if key in tree}  # not `meta` and `training`
        refuse_unknown(undeclared, set(tree) - set(undeclared))
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
        shown = preset if str(preset).isprintable() else ascii(preset)
        raise UserError(f"unknown model {shown}.{did_you_mean(str(preset), known)} Known: {', '.join(known)}")
    return models_folder() / f"{preset}.yaml"


def models_folder() -> Path:
    """Folder of the presets: next to the package in a checkout, inside it when installed from a wheel."""
    for root in (_PACKAGE.parent, _PACKAGE):
        folder = root / "hparams_shared" / "models"
        if folder.is_dir():
            return folder
    raise UserError(f"expected the model presets in {_PACKAGE.parent}/hparams_shared/models; reinstall lobes")
