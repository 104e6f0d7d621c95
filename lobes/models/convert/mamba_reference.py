"""Weights of the published Mamba-TasNet and DPMamba, both ways: keys, and models with sizes from the shapes.

Keys have the prefixes `encoder.`, `masknet.` and `decoder.` for the three modules that the published recipes save
apart. N filters, D channels, S sources.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from speechbrain.lobes.models.dual_path import Decoder, Dual_Path_Model, Encoder
from torch import Tensor, nn

from lobes.errors import UserError
from lobes.models.convert.checkpoint import MISFITS, require_equal_shapes, unfit, weights_of
from lobes.models.convert.tensors_only import read_tensors
from lobes.models.mamba_tasnet import MambaTasNetMaskNet
from lobes.models.masking import LEVELS, MaskingSeparator
from lobes.nnet.bimamba import BiMambaStack
from lobes.nnet.mixers import Averaged

_PARTS = ("encoder", "masknet", "decoder")
# beginnings of keys, ours -> published
_OUTSIDE = {
    "masknet.norm.weight": "masknet.layer_norm.gamma",
    "masknet.norm.bias": "masknet.layer_norm.beta",
    "masknet.bottleneck.": "masknet.bottleneck_conv1x1.conv.",
    "masknet.stack.": "masknet.mamba_net.",
    "masknet.masks.": "masknet.mask_conv1x1.conv.",
}
_BLOCK = re.compile(r"(masknet\.\S+?\.layers\.\d+\.)(?!norm\.|mixer\.)(\S+)")  # of ours
_BACKWARD = {"A_log": "A_b_log", "D": "D_b"}  # parameters; to modules `_b` is added
# channels and dual blocks -> `skip_around_intra` in the published configurations XS, S, M and L of DPMamba
_PUBLISHED_SKIPS = {(128, 8): False, (256, 8): False, (256, 16): True, (512, 16): True}
_PUBLISHED_KERNEL, _PUBLISHED_BLOCKS = 16, {"d_state": 16, "d_conv": 4, "expand": 2, "n_blocks": 1}  # in all of them
_PUBLISHED_K = 250


def mamba_tasnet(source: str | Path | Mapping, *, sample_rate: int = 8000, level: str = LEVELS[0]) -> MaskingSeparator:
    """Make a Mamba-TasNet from published weights: a checkpoint, its content, or a folder with `masknet.ckpt` and kin.

    `sample_rate` in Hz and `level` are those of `lobes.models.masking.MaskingSeparator`.

    Example
    -------
    >>> model = separator(MambaTasNetMaskNet(8, 16, 1, d_state=4), 16, 2)
    >>> mamba_tasnet(to_published(model)).masknet.masks.weight.shape
    torch.Size([16, 16])
    """
    weights, origin = _read(source, "mamba_tasnet")
    try:
        n_filters, _, kernel = weights["encoder.conv1d.weight"].shape
        d_model = len(weights["masknet.bottleneck_conv1x1.conv.weight"])
        n_layers = _count(weights, "masknet.mamba_net.layers.")
        sizes = _block_sizes(weights, "masknet.mamba_net.layers.0.", d_model)
        sources = len(weights["masknet.mask_conv1x1.conv.weight"]) // n_filters
    except MISFITS as error:
        raise unfit(origin, "Mamba-TasNet", error) from None
    masknet = MambaTasNetMaskNet(n_filters, d_model, n_layers, sources, **sizes)
    return _filled(separator(masknet, kernel, sources, sample_rate, level), weights, origin, "a Mamba-TasNet")


def dpmamba(
    source: str | Path | Mapping,
    *,
    K: int | None = None,
    skip_around_intra: bool | None = None,
    sample_rate: int = 8000,
    level: str = LEVELS[0],
) -> MaskingSeparator:
    """Make a DPMamba from published weights: a checkpoint, its content, or a folder with `masknet.ckpt` and kin.

    Arguments
    ---------
    source : str, Path or mapping
    K : int, optional
        Frames of a chunk.
    skip_around_intra : bool, optional
        Whether a residual goes around the Mamba within chunks. No shape shows this or K. Without them, weights with
        the sizes of a published configuration (XS, S, M, L) get its values; others are refused.
    sample_rate, level
        As in `lobes.models.masking.MaskingSeparator`.

    Example
    -------
    >>> from lobes.models.registry import get_model
    >>> published = to_published(get_model("dpmamba_tiny"))
    >>> dpmamba(published, K=100, skip_around_intra=False).masknet.K
    100
    """
    weights, origin = _read(source, "dpmamba")
    try:
        n_filters, _, kernel = weights["encoder.conv1d.weight"].shape
        d_model = len(weights["masknet.conv1d.weight"])
        layers = _count(weights, "masknet.dual_mdl.")
        intra = "masknet.dual_mdl.0.intra_mdl.layers."
        blocks = {**_block_sizes(weights, f"{intra}0.", d_model), "n_blocks": _count(weights, intra)}
        sources = len(weights["masknet.conv2d.weight"]) // d_model
    except MISFITS as error:
        raise unfit(origin, "DPMamba", error) from None
    published = n_filters == d_model and kernel == _PUBLISHED_KERNEL and blocks == _PUBLISHED_BLOCKS
    chunks = _unseen(origin, (d_model, layers), published, K, skip_around_intra)
    masknet = Dual_Path_Model(
        n_filters,
        d_model,
        BiMambaStack(d_model, **blocks),
        BiMambaStack(d_model, **blocks),
        num_layers=layers,
        norm="ln",
        linear_layer_after_inter_intra=False,
        num_spks=sources,
        **chunks,
    )
    return _filled(separator(masknet, kernel, sources, sample_rate, level), weights, origin, "a DPMamba")


def is_published_form(model: nn.Module) -> bool:
    """Whether `model` is a Mamba-TasNet or a DPMamba as published, and not in an earlier form.

    Example
    -------
    >>> is_published_form(separator(MambaTasNetMaskNet(8, 16, 1), 16, 2))
    True
    """
    masknet: Any = getattr(model, "masknet", None)
    layers = getattr(masknet, "dual_mdl", ())
    paths = [getattr(layer, name) for layer in layers for name in ("intra_mdl", "inter_mdl")]
    stacks = bool(paths) and all(isinstance(path, BiMambaStack) for path in paths)
    more = any(layer.linear_layer_after_inter_intra or layer.norm != "ln" for layer in layers)
    dual_path = stacks and not more and not masknet.use_global_pos_enc
    if any(isinstance(part, Averaged) for part in model.modules()):  # another mixer than Mamba in both directions
        return False
    return isinstance(model, MaskingSeparator) and (dual_path or isinstance(masknet, MambaTasNetMaskNet))


def separator(
    masknet: nn.Module, kernel: int, sources: int, sample_rate: int = 8000, level: str = LEVELS[0]
) -> MaskingSeparator:
    """Put a mask network between the published encoder and decoder, whose filters have `kernel` samples.

    Example
    -------
    >>> separator(MambaTasNetMaskNet(8, 16, 1), 16, 2).kernel_size
    16
    """
    n_filters = masknet.get_parameter("norm.weight").shape[0]
    encoder = Encoder(kernel, n_filters)
    decoder = Decoder(n_filters, 1, kernel, stride=kernel // 2, bias=False)
    return MaskingSeparator(encoder, masknet, decoder, sources, sample_rate, kernel, level=level)


def to_published(model: nn.Module) -> dict[str, Tensor]:
    """Weights of a Mamba-TasNet or DPMamba under the keys, and in the shapes, of the published code.

    Example
    -------
    >>> list(to_published(separator(MambaTasNetMaskNet(8, 16, 1), 16, 2)))[:2]
    ['encoder.conv1d.weight', 'masknet.layer_norm.gamma']
    """
    return _published(model.state_dict())


def _published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our keys and shapes to the published ones; published ones stay as they are."""
    weights = {}
    for key, name in _published_keys(state).items():
        value = state[key]
        if name != key and name.endswith(("gamma", "beta")):
            value = value[None, None]  # [1, 1, N]
        elif name != key and name.endswith("1x1.conv.weight"):
            value = value[:, :, None]  # [D, N, 1]
        weights[name] = value
    return weights


def _published_keys(keys: Iterable[str]) -> dict[str, str]:
    """Our key -> the published one."""
    keys = list(keys)
    outside = _OUTSIDE if any(key.startswith("masknet.stack.") for key in keys) else {}  # DPMamba's are the same
    return {key: _renamed(_BLOCK.sub(_in_block, key), outside) for key in keys}


def _in_block(found: re.Match[str]) -> str:
    """`...layers.0.mixer.A_b_log` for our `...layers.0.backward_core.A_log`."""
    core, _, name = found[2].partition(".")
    if core not in ("forward_core", "backward_core"):
        return f"{found[1]}mixer.{found[2]}"
    module, dot, rest = name.partition(".")
    module = module if core == "forward_core" else _BACKWARD.get(module, f"{module}_b")
    return f"{found[1]}mixer.{module}{dot}{rest}"


def _renamed(key: str, beginnings: Mapping[str, str]) -> str:
    for ours, published in beginnings.items():
        if key.startswith(ours):
            return published + key.removeprefix(ours)
    return key


def _read(source: str | Path | Mapping, network: str) -> tuple[dict[str, Tensor], str]:
    """The published weights, of a folder with a file for each module, too; and the source in words."""
    if isinstance(source, Mapping) or not Path(source).is_dir():
        weights, origin = weights_of(source, network)
    else:
        folder, parts = str(source), {part: read_tensors(Path(source) / f"{part}.ckpt") for part in _PARTS}
        together = {f"{part}.{key}": value for part, state in parts.items() for key, value in state.items()}
        weights, origin = weights_of(together, network)[0], folder
    return _published(weights), origin


def _filled(model: MaskingSeparator, weights: dict[str, Tensor], origin: str, title: str) -> MaskingSeparator:
    own = model.state_dict()
    names = {published: key for key, published in _published_keys(own).items()}
    require_equal_shapes(_published(own), weights, origin, title)
    if any(value.dtype == torch.float64 for value in weights.values()):
        model.double()
    model.load_state_dict({names[key]: value.reshape(own[names[key]].shape) for key, value in weights.items()})
    return model


def _block_sizes(weights: Mapping[str, Tensor], block: str, d_model: int) -> dict[str, Any]:
    inner, d_state = weights[f"{block}mixer.A_log"].shape
    weights[f"{block}mixer.A_b_log"]  # of the backward direction, which a causal network lacks
    if inner % d_model:
        raise ValueError("a block of another width")
    d_conv = weights[f"{block}mixer.conv1d.weight"].shape[2]
    return {"d_state": d_state, "d_conv": d_conv, "expand": inner // d_model}


def _count(weights: Mapping[str, Tensor], beginning: str) -> int:
    return len({key.removeprefix(beginning).split(".")[0] for key in weights if key.startswith(beginning)})


def _unseen(origin: str, sizes: tuple[int, int], published: bool, K: int | None, skip: bool | None) -> dict[str, Any]:
    """What no shape shows: as given, or as in the published configuration of these sizes."""
    if not (published and sizes in _PUBLISHED_SKIPS) and (K is None or skip is None):
        raise UserError(
            f"{origin}: no published DPMamba has the sizes of this one ({sizes[0]} channels and {sizes[1]} layers), so "
            "its chunks and its residual are not known; give K=<frames> and skip_around_intra=<True or False>"
        )
    K = _PUBLISHED_K if K is None else K
    if isinstance(K, bool) or not isinstance(K, int) or K < 2:
        raise UserError(f"K: expected the frames of a chunk, at least 2, got {K!r}")
    skip = _PUBLISHED_SKIPS[sizes] if skip is None else skip
    if not isinstance(skip, bool):
        raise UserError(f"skip_around_intra: expected True or False, got {skip!r}")
    return {"K": K, "skip_around_intra": skip}
