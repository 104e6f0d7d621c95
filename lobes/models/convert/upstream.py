"""Weights of the published networks, by name: state dicts and checkpoints become models, and models state dicts."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from lobes.errors import UserError, did_you_mean
from lobes.models.bsrnn import BSRNN
from lobes.models.convert import gridnet_keys, mamba_reference
from lobes.models.convert.checkpoint import NETWORKS, weights_of
from lobes.models.convert.gridnet_reference import load_reference, model_of
from lobes.models.spmamba import SPMamba
from lobes.models.tf_gridnet import TFGridNet


def from_upstream(name: str, source: str | Path | Mapping, **options: Any) -> nn.Module:
    """Make the model that has the weights of a published network.

    Sizes come from the shapes. A checkpoint may wrap the weights as trainers do, under keys such as `state_dict` and
    with prefixes such as `module.`; of two copies the usual one is taken.

    Arguments
    ---------
    name : str
        `spmamba` (github.com/JusperLee/SPMamba), `tf_gridnet` (ESPnet), `bsrnn` (github.com/sungwon23/BSRNN),
        `mamba_tasnet` or `dpmamba` (github.com/xi-j/Mamba-TasNet).
    source : str, Path or mapping
        A checkpoint, its content, or a state dict with the published keys. For the last two networks the keys begin
        with `encoder.`, `masknet.` and `decoder.`, or it is a folder with `encoder.ckpt`, `masknet.ckpt` and
        `decoder.ckpt`. No code in a file is run.
    **options
        What no shape shows: `sample_rate` in Hz and `level` for all (`item`, or `none` for a network that sees the
        mixture as it is, as the published mamba_tasnet, dpmamba and bsrnn do); `hop_length` and `emb_hs` for spmamba
        and tf_gridnet; `K` and `skip_around_intra` for dpmamba; and what else bsrnn's `from_reference` lists.

    Returns
    -------
    nn.Module
        In evaluation mode, on the CPU.

    Raises
    ------
    UserError
        For an unknown name or option, and for weights that are not those of such a network.

    Example
    -------
    >>> import torch
    >>> from lobes.models import get_model
    >>> published = to_upstream(get_model("mamba_tasnet_tiny", n_layers=1))
    >>> from_upstream("mamba_tasnet", published)(torch.rand(1, 1000)).shape
    torch.Size([1, 1000, 2])
    """
    if name not in NETWORKS:
        raise UserError(
            f"{name}: no such published network.{did_you_mean(str(name), NETWORKS)} Known: {', '.join(NETWORKS)}"
        )
    build, accepted = _builder(name)
    for option in options:
        if option not in accepted:
            hint = did_you_mean(option, accepted)
            raise UserError(f"from_upstream({name!r}): unknown option {option}.{hint} Known: {', '.join(accepted)}")
    if not isinstance(source, str | Path | Mapping):
        kind = type(source).__name__
        raise UserError(f"from_upstream: expected the path of a checkpoint or a state dict, got {kind}")
    rate = options.get("sample_rate", 1)
    if isinstance(rate, bool) or not isinstance(rate, int) or rate < 1:
        raise UserError(f"sample_rate: expected a number of Hz, such as 8000, got {rate!r}")
    return build(source, **options).eval()


def to_upstream(model: nn.Module) -> dict[str, Tensor]:
    """Return the weights of a model under the keys, and in the shapes, of its published code.

    Arguments
    ---------
    model : nn.Module
        An `SPMamba`, a `TFGridNet`, a `BSRNN`, or the `MaskingSeparator` of a Mamba-TasNet or DPMamba.

    Returns
    -------
    dict of str: Tensor
        A state dict of the published implementation, which `from_upstream` reads back.

    Raises
    ------
    UserError
        For other models, and for forms that were not published.

    Example
    -------
    >>> from lobes.models import get_model
    >>> list(to_upstream(get_model("mamba_tasnet_tiny", n_layers=1)))[-1]
    'decoder.weight'
    """
    if isinstance(model, SPMamba | TFGridNet):
        return gridnet_keys.to_upstream(model)
    if isinstance(model, BSRNN):
        from lobes.models.convert import bsrnn_reference

        return bsrnn_reference.to_reference(model)
    if mamba_reference.is_published_form(model):
        return mamba_reference.to_published(model)
    titles = ", ".join(network.title for network in NETWORKS.values())
    raise UserError(f"to_upstream: a {type(model).__name__} has no published form. Can be: {titles}, as published")


def _builder(name: str) -> tuple[Callable[..., nn.Module], list[str]]:
    """The function that makes the model of a source, and the options that it takes."""
    if name in ("spmamba", "tf_gridnet"):
        network = SPMamba if name == "spmamba" else TFGridNet
        options = _options(model_of, ("build", "weights", "origin", "network"))
        return partial(load_reference, network, network=name), options
    if name == "bsrnn":
        from lobes.models.convert import bsrnn_reference

        def bsrnn(source: str | Path | Mapping, **given: Any) -> nn.Module:
            weights, origin = weights_of(source, name)
            return bsrnn_reference.from_reference(weights, origin=origin, **given)

        return bsrnn, _options(bsrnn_reference.from_reference, ("state", "origin"))
    function: Callable[..., nn.Module] = getattr(mamba_reference, name)
    return function, _options(function, ("source",))


def _options(function: Callable[..., Any], others: tuple[str, ...]) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name not in others]
