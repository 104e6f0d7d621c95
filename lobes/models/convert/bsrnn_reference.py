"""Weights of the open BSRNN (github.com/sungwon23/BSRNN): both ways between its keys and ours, sizes from the shapes.

The open code has one module for each band, counted from 1, whose number follows its name without a separator; ours are
stacked for neighbouring bands of equal sizes, with matrices transposed. N channels, w bins of a band.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lobes.errors import UserError
from lobes.models.bsrnn import BSRNN, BandLSTM, TimeLSTM
from lobes.models.convert.checkpoint import MISFITS, require_equal_shapes, unfit
from lobes.nnet.band_split import BandDecoder, BandSplit
from lobes.nnet.bands import FIXED

_ONLY = (
    ("norms", "joint"), ("num_sources", 1), ("causal", False), ("widths", list(FIXED)), ("compress", 1),
    ("mixer", "lstm"), ("direction", "forward"),
)  # fmt: skip


def from_reference(
    state: Mapping[str, Tensor],
    sample_rate: int = 16000,
    hop_length: int = 128,
    level: str = "item",
    reflected_hop: bool = False,
    gradient_checkpointing: bool = False,
    origin: str | Path = "state dict",
) -> BSRNN:
    """Make the BSRNN of a state dict with the open code's keys; its sizes come from the shapes.

    Arguments
    ---------
    state : mapping of str to Tensor
        On any device; the model is on the CPU.
    sample_rate, hop_length, level, reflected_hop, gradient_checkpointing
        Of `BSRNN`; the shapes do not show them. The open code has `level="none"`.
    origin : str or Path
        Where the weights are from, for messages.

    Raises
    ------
    UserError
        If these are not the weights of an open BSRNN.

    Example
    -------
    >>> model = BSRNN(n_channels=4, n_layers=1)
    >>> from_reference(to_reference(model), level="none")(torch.rand(1, 1000)).shape
    torch.Size([1, 1000, 1])
    """
    options: dict[str, Any] = {"sample_rate": sample_rate, "hop_length": hop_length, "level": level}
    options |= {"reflected_hop": reflected_hop, "gradient_checkpointing": gradient_checkpointing}
    try:
        sizes = _sizes(state)
    except MISFITS as error:
        raise unfit(origin, "BSRNN", error) from None
    model = BSRNN(**sizes, **options)
    require_equal_shapes(dict(_views(model)), state, origin, "a BSRNN")
    if any(value.dtype == torch.float64 for value in state.values()):
        model.double()
    views = dict(_views(model))
    for name, view in views.items():
        view.copy_(state[name])
    return model


def to_reference(model: BSRNN) -> dict[str, Tensor]:
    """Weights of a BSRNN under the keys and in the shapes of the open code, which `from_reference` reads back.

    Raises
    ------
    UserError
        If the open code has no such network.

    Example
    -------
    >>> to_reference(BSRNN(n_channels=4, n_layers=1))["mask_decoder.fc112.weight"].shape  # fc1 of band 12
    torch.Size([16, 4])
    """
    faults = [f"{name}: {getattr(model, name)} for {only}" for name, only in _ONLY if getattr(model, name) != only]
    if faults:
        raise UserError(f"to_upstream: the open BSRNN has no such network: {'; '.join(faults)}")
    return {name: view.clone(memory_format=torch.contiguous_format) for name, view in _views(model)}


def _views(model: BSRNN) -> Iterator[tuple[str, Tensor]]:
    """Each tensor of the open code, as a view of the model's own."""
    split, decoder = model.split, model.decoder
    parts: dict[str, Any] = {
        "band_split.norm": split.norms,
        "band_split.fc": split.linear,
        "mask_decoder.norm": decoder.norms,
        "mask_decoder.fc1": decoder.hidden,
        "mask_decoder.fc2": decoder.output,
    }
    for name, part in parts.items():
        yield from _band_views(name, part, split if name.startswith("band_split") else decoder)
    for kind, axis in ((TimeLSTM, "t"), (BandLSTM, "k")):
        layers = [layer for layer in model.layers if isinstance(layer, kind)]
        for number, layer in enumerate(layers, 1):
            for name, module in {"norm": layer.norm["joint"], "lstm": layer.sequence, "fc": layer.linear}.items():
                for key, value in module.state_dict().items():
                    yield f"{name}_{axis}{number}.{key}", value


def _band_views(name: str, part: Any, owner: BandSplit | BandDecoder) -> Iterator[tuple[str, Tensor]]:
    """Those of the norms (a list of `BandNorm`) or of the linear layers (a `BandLinear`) of all bands."""
    linear = hasattr(part, "weights")
    weights = part.weights if linear else [norm.weight for norm in part]
    biases = part.biases if linear else [norm.bias for norm in part]
    for stretch, weight, bias in zip(owner.stretches, weights, biases, strict=True):
        for index, band in enumerate(range(stretch.start + 1, stretch.stop + 1)):
            yield f"{name}{band}.weight", weight.detach()[index].t() if linear else weight.detach()[index]
            yield f"{name}{band}.bias", bias.detach()[index]


def _sizes(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Options of `BSRNN` that follow from the shapes."""
    channels = state["norm_t1.weight"].numel()
    hidden = [len(state[f"mask_decoder.fc1{band}.weight"]) // channels for band in range(1, len(FIXED) + 1)]
    expansion = hidden[0] if len(set(hidden)) == 1 else hidden
    return {"n_channels": channels, "n_layers": len(_numbers(state, "norm_t")), "expansion": expansion}


def _numbers(state: Mapping[str, Tensor], name: str) -> list[int]:
    found = (re.fullmatch(re.escape(name) + r"(\d+)\.weight", key) for key in state)
    return sorted(int(match[1]) for match in found if match)
