"""Checkpoints of the PolSESS separation project: a dict with `model_state_dict` and a `config` that names the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from lobes.errors import UserError
from lobes.models.convert.gridnet_reference import model_of
from lobes.models.convert.tensors_only import read_tensors
from lobes.models.registry import get_model
from lobes.models.spmamba import SPMamba

RATE = 8000  # Hz, of the project's data; its checkpoints do not contain it


@dataclass(frozen=True)
class Layout:
    """Correspondence between a model of the project and a preset here."""

    preset: str
    options: Mapping[str, str]  # its option -> ours
    defaults: Mapping[str, Any]  # of its constructor
    fixed: Mapping[str, Any]  # options that the preset cannot change: with another value, the model is another network
    keys: Mapping[str, str] = field(default_factory=dict)  # parts of tensor names: theirs -> ours


SAME = {
    "convtasnet": Layout(
        "convtasnet",
        {"N": "N", "kernel_size": "L", "B": "B", "H": "H", "P": "P", "X": "X", "R": "R"},
        {"N": 256, "kernel_size": 16, "B": 256, "H": 512, "P": 3, "X": 8, "R": 4, "C": 2},
        {"norm_type": "gLN", "causal": False, "mask_nonlinear": "relu"},
        {"mask_net.": "masknet."},
    ),
    "dprnn": Layout(
        "dprnn",
        {"N": "N", "kernel_size": "L", "chunk_size": "K", "num_layers": "n_layers", "hidden_size": "n_units"},
        {"N": 64, "kernel_size": 16, "chunk_size": 100, "num_layers": 6, "hidden_size": 128, "C": 1},
        {"rnn_type": "LSTM", "num_rnn_layers": 1, "norm_type": "ln", "bidirectional": True},
        {"separator.": "masknet."},
    ),
    "sepformer": Layout(
        "sepformer",
        {
            **{"N": "N", "kernel_size": "L", "chunk_size": "K", "num_blocks": "n_layers", "nhead": "n_heads"},
            **{"num_layers": "n_transformer_layers", "d_ffn": "d_ffn", "use_positional_encoding": "positions"},
        },
        {
            **{"N": 256, "kernel_size": 16, "chunk_size": 250, "num_blocks": 2, "nhead": 8, "num_layers": 8},
            # configurations that do not say were trained without positions
            **{"d_ffn": 1024, "use_positional_encoding": False, "C": 2},
        },
        {"causal": False},
        {".transformer.": ".mdl."},
    ),
}
DIFFERENT = {
    "resepformer": "it depends on the level and on the other items of a batch, which the network here does not",
    "mossformer2": "no such network is here; lobes.inference.third_party:clearvoice runs its origin",
    "mamba_tasnet": "its blocks have another structure than mamba_tasnet_s and mamba_tasnet_m here",
    "dpmamba": "its blocks have another structure than dpmamba_s and dpmamba_m here",
}


def from_checkpoint(path: str | Path) -> nn.Module:
    """Load a checkpoint of the PolSESS separation project, where the network is the same as one here.

    These are its ConvTasNet, DPRNN, SepFormer and SPMamba. Its networks take a mixture at its own level, those here at
    unit level. The first norm makes both equal, except for the effect of its epsilon.

    Arguments
    ---------
    path : str or Path
        `<model>_<task>_best.pt`. It is read with `weights_only=True`: no code in it is run.

    Returns
    -------
    nn.Module
        In evaluation mode, on the CPU.

    Raises
    ------
    UserError
        If the file is no such checkpoint, or its network is not the same as one here; the message gives the reason.

    Example
    -------
    >>> from_checkpoint("no_such.pt")
    Traceback (most recent call last):
    ...
    lobes.errors.UserError: no_such.pt: expected a checkpoint file, found nothing there
    """
    content = read_tensors(path)
    config, weights = content.get("config"), content.get("model_state_dict")
    if not isinstance(config, Mapping) or not isinstance(weights, Mapping):
        found = ", ".join(map(str, list(content)[:4]))
        raise UserError(
            f"{path}: expected a dict with model_state_dict and config, found {found}. "
            "For a checkpoint of the reference SPMamba use SPMamba.from_upstream."
        )
    settings = config.get("model", {})
    kind = settings.get("model_type", "convtasnet")
    options = dict(settings.get(kind) or {})
    weights = {str(name).removeprefix("_orig_mod."): value for name, value in weights.items()}
    if kind == "spmamba":
        return _spmamba(path, options, weights).eval()
    if kind not in SAME:
        reason = DIFFERENT.get(kind, "no such network is here")
        raise UserError(f"{path}: a {kind}, which cannot be loaded: {reason}. Can be: {', '.join([*SAME, 'spmamba'])}.")
    return _preset(path, kind, options, weights).eval()


def _spmamba(path: str | Path, options: Mapping[str, Any], weights: Mapping[str, Tensor]) -> nn.Module:
    for name, value in {"window": "hann", "activation": "prelu", "eps": 1e-5}.items():
        _require(path, name, options.get(name, value), value)
    hops: dict[str, Any] = {"hop_length": int(options.get("stride", 64)), "emb_hs": int(options.get("emb_hs", 1))}
    return model_of(SPMamba, weights, path, sample_rate=RATE, **hops)


def _preset(path: str | Path, kind: str, options: Mapping[str, Any], weights: Mapping[str, Tensor]) -> nn.Module:
    layout = SAME[kind]
    chosen = {**layout.defaults, **options}
    required = {**layout.fixed, "stride": chosen["kernel_size"] // 2, "d_model": chosen["N"]}
    for name, value in required.items():
        _require(path, name, chosen.get(name, value), value)
    ours = {name: chosen[old] for old, name in layout.options.items()}
    model = get_model(layout.preset, num_sources=int(chosen["C"]), sample_rate=RATE, **ours)
    renamed = {}
    for name, value in weights.items():
        for old, new in layout.keys.items():
            name = name.replace(old, new, 1)
        renamed[name] = value
    try:
        model.load_state_dict(renamed)
    except RuntimeError as error:
        first = str(error).strip().splitlines()[-1].strip()
        raise UserError(f"{path}: its weights do not fit the {kind} of its configuration: {first}") from None
    return model


def _require(path: str | Path, name: str, found: Any, value: Any) -> None:
    if found != value:
        raise UserError(f"{path}: {name} is {found!r}; the network here has {value!r} there, so it is another one.")
