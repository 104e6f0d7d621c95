"""Steps of the model contract that all models take. B batch, T samples, L frames, D channels."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lobes.errors import UserError
from lobes.kernels.memory import readable
from lobes.models.registry import streaming_presets
from lobes.nnet.lengths import to_device, to_samples
from lobes.nnet.memory import Memory


def check_mixtures(model: nn.Module, mix: Tensor) -> None:
    """Raise ValueError, with the model's name, unless `mix` is [B, T] with T >= 1.

    Example
    -------
    >>> check_mixtures(nn.Identity(), torch.rand(2, 5))
    """
    if mix.dim() != 2 or mix.shape[1] < 1:
        raise ValueError(f"{type(model).__name__}: expected mixtures [B, T] with T >= 1, got {list(mix.shape)}")


def samples_unless_full(lengths: Tensor | None, mix: Tensor) -> Tensor | None:
    """Valid samples of each item of `mix` [B, T], Long [B]; None if all items are full and that can be read.

    Example
    -------
    >>> samples_unless_full(torch.tensor([1.0, 0.5]), torch.rand(2, 8))
    tensor([8, 4])
    >>> samples_unless_full(torch.ones(2), torch.rand(2, 8)) is None
    True
    """
    if lengths is None:
        return None
    n = to_samples(lengths, mix.shape[1], mix.shape[0])
    if readable(n) and bool((n == mix.shape[1]).all()):
        return None
    return to_device(n, mix.device)


def check_streams(model: nn.Module, streams: bool = True) -> None:
    """Raise UserError unless a model is causal, in evaluation mode, and of a kind that `streams`.

    Example
    -------
    >>> check_streams(nn.Identity())
    Traceback (most recent call last):
    ...
    lobes.errors.UserError: Identity: expected a causal network for a stream; this one looks at later samples...
    """
    name = type(model).__name__
    causal = getattr(model, "causal", False)
    if not (streams and causal):
        reason = "keeps nothing of earlier chunks" if causal else "looks at later samples"
        raise UserError(
            f"{name}: expected a causal network for a stream; this one {reason}. Presets that stream: "
            f"{', '.join(streaming_presets())}. Train one of them, or separate whole files"
        )
    if model.training:
        raise UserError(f"{name}: expected a network in evaluation mode for a stream; call eval() first")


def run_layer(
    layer: nn.Module, x: Tensor, frames: Tensor | None, checkpointing: bool, memory: Memory | None = None
) -> Tensor:
    """Run a layer on `x` [B, L, ..., D]; with `checkpointing`, recompute it in the backward pass instead of storing it.

    With a `memory`, `x` is a chunk of a stream.

    Example
    -------
    >>> class Same(nn.Module):
    ...     def forward(self, x, frames):
    ...         return x
    >>> run_layer(Same(), torch.rand(2, 5, 3), None, True).shape
    torch.Size([2, 5, 3])
    """
    if checkpointing and torch.is_grad_enabled():
        return checkpoint(layer, x, frames, use_reentrant=False)
    return layer(x, frames) if memory is None else layer(x, frames, memory)
