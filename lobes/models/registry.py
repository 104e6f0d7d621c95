"""The model registry: every `hparams_shared/models/<preset>.yaml` is a preset."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lobes.errors import UserError, did_you_mean

if TYPE_CHECKING:  # listing the presets needs no torch
    from torch import nn

_PACKAGE = Path(__file__).resolve().parents[1]
_NETWORK = "separator"


def list_models() -> list[str]:
    """Names of all presets, sorted.

    Example
    -------
    >>> "spmamba_8k" in list_models()
    True
    """
    return sorted(path.stem for path in models_folder().glob("*.yaml"))


def get_model(preset: str, num_sources: int | None = None, **overrides: object) -> nn.Module:
    """Build the network of a preset, with fresh weights.

    Arguments
    ---------
    preset : str
        A name from `list_models`.
    num_sources : int, optional
        Sources S (default: 1 for the presets of enhancement, 2 for the others).
    **overrides
        Other values for the preset's scalars, by the names in its file.

    Returns
    -------
    nn.Module
        A network that maps mixtures [B, T] to estimates [B, T, S].

    Raises
    ------
    UserError
        For an unknown preset or an override that the preset does not have.

    Example
    -------
    >>> import torch
    >>> get_model("spmamba_tiny", n_layers=1)(torch.rand(1, 2000)).shape
    torch.Size([1, 2000, 2])
    """
    # imported here: the package costs a quarter of a second that `import lobes.models` should not
    from hyperpyyaml import load_hyperpyyaml

    path = preset_path(preset)
    known = _options(path)
    for name in overrides:
        if name not in known:
            raise UserError(
                f"{preset}: unknown option {name}.{did_you_mean(name, known)} "
                f"Options of {path.name}: {', '.join(known)}"
            )
    num_sources = preset_meta(preset)["num_sources"] if num_sources is None else num_sources
    with path.open(encoding="utf-8") as stream:
        return load_hyperpyyaml(stream, {"num_sources": num_sources, **overrides})[_NETWORK]


def preset_meta(preset: str) -> dict[str, Any]:
    """Read what a preset's file says about its network that no count can find out.

    Arguments
    ---------
    preset : str
        A name from `list_models`.

    Returns
    -------
    dict
        `source` and `receptive_field` (str), `parameters` and `num_sources` (int: the default number of sources, and
        the parameters with it); where there is one, `published` (a published score) and `claimed` (a number of
        parameters that the count refutes).

    Raises
    ------
    UserError
        If there is no such preset.

    Example
    -------
    >>> preset_meta("spmamba_8k")["parameters"]
    6094498
    """
    import yaml

    class Loader(yaml.SafeLoader):
        """Reads the tags of HyperPyYAML as nothing."""

    Loader.add_multi_constructor("!", lambda loader, suffix, node: None)
    return yaml.load(preset_path(preset).read_text(encoding="utf-8"), Loader)["meta"]


def preset_path(preset: str) -> Path:
    """File of a preset.

    Raises
    ------
    UserError
        If there is no such preset, with the nearest name.

    Example
    -------
    >>> preset_path("spmamba_8k").name
    'spmamba_8k.yaml'
    """
    path = models_folder() / f"{preset}.yaml"
    known = list_models()
    if preset not in known:
        raise UserError(f"unknown model {preset}.{did_you_mean(preset, known)} Known: {', '.join(known)}")
    return path


def models_folder() -> Path:
    """Folder of the presets: beside the package in a checkout, inside it when installed from a wheel.

    Raises
    ------
    UserError
        If neither is there.
    """
    for root in (_PACKAGE.parent, _PACKAGE):
        folder = root / "hparams_shared" / "models"
        if folder.is_dir():
            return folder
    raise UserError(f"expected the model presets in {_PACKAGE.parent}/hparams_shared/models; reinstall lobes")


def _options(path: Path) -> list[str]:
    """Names of the preset's top-level scalars."""
    names = re.findall(r"^(\w+):", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return [name for name in names if name not in (_NETWORK, "num_sources", "meta")]
