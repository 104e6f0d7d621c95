"""The model registry: every `hparams_shared/models/<preset>.yaml` is a preset.

The functions import `lobes.config` themselves: it costs a quarter of a second that `import lobes.models` should not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lobes.errors import UserError, did_you_mean

if TYPE_CHECKING:  # listing the presets needs no torch
    from torch import nn


def list_models() -> list[str]:
    """Names of all presets, sorted.

    Example
    -------
    >>> "spmamba_8k" in list_models()
    True
    """
    from lobes.config import models_folder

    return sorted(path.stem for path in models_folder().glob("*.yaml"))


def streaming_presets() -> list[str]:
    """Names of the presets whose networks run in a stream, sorted: those with a `latency_ms` in their meta.

    Example
    -------
    >>> "mbs_net_causal" in streaming_presets(), "mbs_net" in streaming_presets()
    (True, False)
    """
    return [preset for preset in list_models() if "latency_ms" in preset_meta(preset)]


def get_model(preset: str, num_sources: int | None = None, **overrides: object) -> nn.Module:
    """Build the network of a preset, with fresh weights.

    Arguments
    ---------
    preset : str
        A name from `list_models`.
    num_sources : int, optional
        Sources S (default: 1 for the presets of enhancement, 2 for the others).
    **overrides
        Other values for the options of the network: the keyword arguments of its class or, for SpeechBrain's blocks,
        the scalars in the preset's files.

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
    from lobes.config import NETWORK, load, preset_path, read_preset, resolve_tree

    found = read_preset(preset)
    for name in overrides:
        if name not in found.options:
            known = [key for key in found.options if key != "num_sources"]
            raise UserError(f"{preset}: unknown option {name}.{did_you_mean(name, known)} Options: {', '.join(known)}")
    tree: dict[str, Any] = {**found.options, **found.parts}
    values = {"num_sources": found.meta["num_sources"] if num_sources is None else num_sources, **overrides}
    return load(resolve_tree(tree, values, [key for key in tree if key != NETWORK], preset_path(preset)))[NETWORK]


def preset_meta(preset: str) -> dict[str, Any]:
    """Read what a preset's file says about its network that no count can find out.

    Arguments
    ---------
    preset : str
        A name from `list_models`.

    Returns
    -------
    dict
        `source`, `receptive_field` and `compared` (str: what is known of the network and its reference, written by
        `scripts/compare_references.py`), `parameters` and `num_sources` (int: the default number of sources, and
        the parameters with it); where there is one, `published` (a published score) and `claimed` (a number of
        parameters that the count refutes); for those that run in a stream, `latency_ms`.

    Raises
    ------
    UserError
        If there is no such preset.

    Example
    -------
    >>> preset_meta("spmamba_8k")["parameters"]
    6094498
    """
    from lobes.config import preset_path, read_layers

    return dict(read_layers(preset_path(preset))[-1].keys["meta"])
