"""Weights of the published SPMamba and TF-GridNet become models: all layouts of checkpoints, sizes from the shapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from lobes.errors import UserError
from lobes.models.convert.checkpoint import MISFITS, NETWORKS, require_equal_shapes, unfit, weights_of
from lobes.models.convert.gridnet_keys import from_published, to_published

Model = TypeVar("Model", bound=nn.Module)

_PUBLISHED_RATES = {256: 8000, 512: 16000}  # n_fft -> Hz in the published configurations


def load_reference(
    build: Callable[..., Model], source: str | Path | Mapping, network: str = "spmamba", **options: Any
) -> Model:
    """Load a checkpoint of the reference implementation, github.com/JusperLee/SPMamba or ESPnet.

    Accepted are a plain state dict, a Lightning checkpoint (keys under `audio_model.`), the `best_model.pth` that
    SPMamba's training script writes (a dict with `state_dict`, `model_args` and versions), and each of these from a
    distributed or compiled run (keys under `module.` or `_orig_mod.`).

    Arguments
    ---------
    build : callable
        `SPMamba` or `TFGridNet`.
    source : str, Path or mapping
        The checkpoint, or its content. No code in a file is run.
    network : str
        `spmamba` or `tf_gridnet`.
    **options
        What the shapes do not show, as in `model_of`.

    Returns
    -------
    nn.Module
        The model with the checkpoint's weights, on the CPU.

    Raises
    ------
    UserError
        If the file cannot be read, or holds no such model.

    Example
    -------
    >>> import torch
    >>> from tempfile import TemporaryDirectory
    >>> from lobes.models.convert import to_upstream
    >>> from lobes.models.spmamba import SPMamba
    >>> model = SPMamba(n_layers=1, emb_dim=4, emb_ks=4, n_heads=2, approx_qk_dim=129, expand=1)
    >>> with TemporaryDirectory() as folder:
    ...     weights = {"audio_model." + k: v for k, v in to_upstream(model).items()}
    ...     torch.save({"state_dict": weights}, folder + "/last.ckpt")
    ...     loaded = SPMamba.from_upstream(folder + "/last.ckpt")
    >>> loaded(torch.rand(1, 1000)).shape
    torch.Size([1, 1000, 2])
    """
    weights, origin = weights_of(source, network)
    ours = "blocks.0.attention.output.linear.weight" in weights
    return model_of(build, to_published(weights) if ours else weights, origin, network, **options)


def model_of(
    build: Callable[..., Model],
    weights: Mapping[str, Tensor],
    origin: str | Path,
    network: str = "spmamba",
    sample_rate: int | None = None,
    hop_length: int | None = None,
    emb_hs: int = 1,
    gradient_checkpointing: bool = False,
    level: str = "item",
) -> Model:
    """Make the model of a state dict with the reference's keys. All sizes that the shapes show are taken from them.

    Arguments
    ---------
    build : callable
        `SPMamba` or `TFGridNet`.
    weights : mapping of str to Tensor
        The state dict.
    origin : str or Path
        Its file, for messages.
    network : str
        `spmamba` or `tf_gridnet`.
    sample_rate : int
        In Hz. By default that of the published configuration with the same FFT size.
    hop_length : int
        STFT hop in samples; by default n_fft / 4, as in all published configurations.
    emb_hs : int
        Hop of the windows; 1 in all published configurations.
    gradient_checkpointing, level
        As in the model. The published code brings each mixture to unit level, too.

    Raises
    ------
    UserError
        If these are not the weights of such a model.
    """
    title = NETWORKS[network].title
    try:
        sizes = _sizes(weights, network)
    except MISFITS as error:
        raise unfit(origin, title, error) from None
    n_fft = sizes["n_fft"]
    if sample_rate is None and n_fft not in _PUBLISHED_RATES:
        raise UserError(f"{origin}: no published sample rate for its n_fft={n_fft}; give sample_rate=<Hz>")
    model = build(
        sample_rate=_PUBLISHED_RATES[n_fft] if sample_rate is None else sample_rate,
        hop_length=n_fft // 4 if hop_length is None else hop_length,
        emb_hs=emb_hs,
        gradient_checkpointing=gradient_checkpointing,
        level=level,
        **sizes,
    )
    require_equal_shapes(to_published(model.state_dict()), weights, origin, f"{title} with {sizes}")
    if any(value.dtype == torch.float64 for value in weights.values()):
        model.double()
    model.load_state_dict(from_published(weights))
    return model


def _sizes(weights: Mapping[str, Tensor], network: str) -> dict[str, int]:
    """Infer the options of the model from shapes."""
    block = "blocks.0."
    emb_dim, channels = weights["conv.0.weight"].shape[:2]
    if channels != 2:
        raise UserError(f"expected weights for one microphone, got {channels // 2}; this model takes one")
    n_bins = weights[block + "attn_concat_proj.2.gamma"].shape[3]
    emb_ks = weights[block + "intra_linear.weight"].shape[2]
    sizes = {
        "num_sources": weights["deconv.weight"].shape[1] // 2,
        "n_fft": 2 * (n_bins - 1),
        "n_layers": len({k.split(".")[1] for k in weights if k.startswith("blocks.")}),
        "emb_dim": emb_dim,
        "emb_ks": emb_ks,
        "n_heads": sum(k.startswith(block + "attn_conv_Q_") and k.endswith(".0.weight") for k in weights),
        "approx_qk_dim": weights[block + "attn_conv_Q_0.0.weight"].shape[0] * n_bins,
    }
    if network == "tf_gridnet":
        return {**sizes, "lstm_hidden_units": weights[block + "intra_rnn.weight_hh_l0"].shape[1]}
    mixer = block + "intra_mamba.forward_blocks.0.mixer."
    d_inner, d_state = weights[mixer + "A_log"].shape
    d_conv = weights[mixer + "conv1d.weight"].shape[2]
    return {**sizes, "d_state": d_state, "d_conv": d_conv, "expand": d_inner // (emb_dim * emb_ks)}
