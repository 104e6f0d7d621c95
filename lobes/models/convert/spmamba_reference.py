"""Checkpoints of the reference SPMamba (github.com/JusperLee/SPMamba): all their layouts, sizes from the shapes."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from lobes.errors import UserError
from lobes.models.convert.gridnet_keys import from_published, to_published

Model = TypeVar("Model", bound=nn.Module)

_LAST_LAYER = "deconv.weight"
_PUBLISHED_RATES = {256: 8000, 512: 16000}  # n_fft -> Hz in the published configurations


def load_reference(build: Callable[..., Model], path: str | Path, **options) -> Model:
    """Load a checkpoint of the reference implementation.

    Accepted are a plain state dict, a Lightning checkpoint (keys under `audio_model.`), a serialized
    `best_model.pth` (a dict with `state_dict` and `model_args`) and each of these from a distributed run
    (keys under `module.`).

    Arguments
    ---------
    build : callable
        `SPMamba`; passed by its method `from_upstream`.
    path : str or Path
        The checkpoint. It is read with `weights_only=True`: no code in it is run.
    **options
        Options that the shapes do not show, as in `model_of`.

    Returns
    -------
    SPMamba
        The model with the checkpoint's weights, on the CPU.

    Raises
    ------
    UserError
        If the file cannot be read, or holds no such model.

    Example
    -------
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
    return model_of(build, _weights(read_tensors(path), path), path, **options)


def model_of(
    build: Callable[..., Model],
    weights: Mapping[str, Tensor],
    path: str | Path,
    sample_rate: int | None = None,
    hop_length: int | None = None,
    emb_hs: int = 1,
    gradient_checkpointing: bool = False,
) -> Model:
    """Make the model of a state dict with the reference's keys. All sizes that the shapes show are taken from them.

    Arguments
    ---------
    build : callable
        `SPMamba`.
    weights : mapping of str to Tensor
        The state dict.
    path : str or Path
        Its origin, for messages.
    sample_rate : int
        In Hz. By default that of the published configuration with the same FFT size.
    hop_length : int
        STFT hop in samples; by default n_fft / 4, as in all published configurations.
    emb_hs : int
        Hop of the windows; 1 in all published configurations.
    gradient_checkpointing : bool
        As in `SPMamba`.

    Raises
    ------
    UserError
        If these are not the weights of an SPMamba.
    """
    try:
        sizes = _sizes(weights)
    except (KeyError, IndexError) as error:
        raise UserError(f"{path}: expected an SPMamba, but {error} is missing or has another shape") from None
    n_fft = sizes["n_fft"]
    if sample_rate is None and n_fft not in _PUBLISHED_RATES:
        raise UserError(f"{path}: no published sample rate for its n_fft={n_fft}; give sample_rate=<Hz>")
    model = build(
        sample_rate=_PUBLISHED_RATES[n_fft] if sample_rate is None else sample_rate,
        hop_length=n_fft // 4 if hop_length is None else hop_length,
        emb_hs=emb_hs,
        gradient_checkpointing=gradient_checkpointing,
        **sizes,
    )
    faults = _differences(to_published(model.state_dict()), weights)
    if faults:
        more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise UserError(f"{path}: expected the weights of an SPMamba with {sizes}, but {', '.join(faults[:3])}{more}")
    model.load_state_dict(from_published(weights))
    return model


def _differences(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> list[str]:
    """Tensors that are missing, too many, or of another shape."""
    return [
        *(f"{key} is missing" for key in expected if key not in found),
        *(f"{key} is unknown" for key in found if key not in expected),
        *(
            f"{key} has the shape {list(found[key].shape)} instead of {list(value.shape)}"
            for key, value in expected.items()
            if key in found and found[key].shape != value.shape
        ),
    ]


def read_tensors(path: str | Path) -> Mapping:
    """Read a file of tensors and plain values; no code in it is run. All else is a UserError."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: expected a checkpoint file, found {'a folder' if path.is_dir() else 'nothing'} there")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"{path}: cannot be read as tensors only ({reason}). If you trust the file, save its state_dict alone "
            "with torch.save and load that"
        ) from None
    if not isinstance(content, Mapping):
        raise UserError(
            f"{path}: expected a dict of tensors or a checkpoint that holds one, got {type(content).__name__}"
        )
    return content


def _weights(content: Mapping, path: str | Path) -> dict[str, Tensor]:
    """Find the model's tensors, whatever wraps them, and cut off the prefix of its keys."""
    if isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    names = [str(k) for k in content if str(k).split(".")[-2:] == _LAST_LAYER.split(".")]
    if len(names) != 1:
        found = ", ".join(list(map(str, content))[:3]) or "nothing"
        raise UserError(f"{path}: expected the weights of one SPMamba (a key ...{_LAST_LAYER}), found {found} ...")
    prefix = names[0].removesuffix(_LAST_LAYER)
    return {k.removeprefix(prefix): v for k, v in content.items() if k.startswith(prefix)}


def _sizes(weights: Mapping[str, Tensor]) -> dict[str, int]:
    """Infer the options of `SPMamba` from shapes."""
    block = "blocks.0."
    mixer = block + "intra_mamba.forward_blocks.0.mixer."
    emb_dim, channels = weights["conv.0.weight"].shape[:2]
    if channels != 2:
        raise UserError(f"SPMamba: expected weights for one microphone, got {channels // 2}; this model takes one")
    n_bins = weights[block + "attn_concat_proj.2.gamma"].shape[3]
    emb_ks = weights[block + "intra_linear.weight"].shape[2]
    d_inner, d_state = weights[mixer + "A_log"].shape
    return {
        "num_sources": weights[_LAST_LAYER].shape[1] // 2,
        "n_fft": 2 * (n_bins - 1),
        "n_layers": len({k.split(".")[1] for k in weights if k.startswith("blocks.")}),
        "emb_dim": emb_dim,
        "emb_ks": emb_ks,
        "n_heads": sum(k.startswith(block + "attn_conv_Q_") and k.endswith(".0.weight") for k in weights),
        "approx_qk_dim": weights[block + "attn_conv_Q_0.0.weight"].shape[0] * n_bins,
        "d_state": d_state,
        "d_conv": weights[mixer + "conv1d.weight"].shape[2],
        "expand": d_inner // (emb_dim * emb_ks),
    }
