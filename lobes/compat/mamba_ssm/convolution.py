"""The causal depthwise convolution by the signatures of causal_conv1d.

B batch, L steps, D channels, K taps, S steps of memory.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lobes.errors import UserError
from lobes.nnet.depthwise import conv_silu


def causal_conv1d_fn(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    seq_idx: Tensor | None = None,
    initial_states: Tensor | None = None,
    return_final_states: bool = False,
    final_states_out: Tensor | None = None,
    activation: str | None = None,
) -> Any:
    """Convolve as `causal_conv1d.causal_conv1d_fn`: in one compiled pass on a CPU if with SiLU and no states.

    Arguments
    ---------
    x : Tensor
        Input [B, D, L].
    weight : Tensor
        Kernels [D, K], last tap at the current step.
    bias : Tensor, optional
        [D].
    seq_idx : Tensor, optional
        Number of the sequence that a step belongs to, int [B, L]; steps of others are as zeros, and the output of steps
        with a negative number is zero.
    initial_states : Tensor, optional
        What came before the first step, [B, D, K - 1]; None: zeros.
    return_final_states : bool
        Also return the last K - 1 inputs, [B, D, K - 1].
    final_states_out : Tensor, optional
        Where to put them.
    activation : str, optional
        silu or swish, the same; None: none.

    Returns
    -------
    Tensor
        [B, D, L] in the dtype of `x`; with `return_final_states` a pair.

    Raises
    ------
    UserError
        If the activation is another, or both `seq_idx` and states are given.

    Example
    -------
    >>> causal_conv1d_fn(torch.ones(1, 1, 4), torch.ones(1, 3))
    tensor([[[1., 2., 3., 3.]]])
    """
    _check(activation, seq_idx is not None and (initial_states is not None or return_final_states))
    if activation and seq_idx is None and initial_states is None and not return_final_states:
        taps = weight[:, None]  # [D, 1, K]
        bias = weight.new_zeros(weight.shape[0]) if bias is None else bias
        return conv_silu(x.transpose(1, 2).to(weight.dtype), taps, bias).transpose(1, 2).to(x.dtype)
    if seq_idx is not None:
        return _convolve_apart(x, weight, bias, seq_idx, activation)
    how = (initial_states, return_final_states, final_states_out, activation)
    return causal_conv1d_ref(x, weight, bias, *how)


def causal_conv1d_ref(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    initial_states: Tensor | None = None,
    return_final_states: bool = False,
    final_states_out: Tensor | None = None,
    activation: str | None = None,
) -> Any:
    """Convolve as `causal_conv1d_fn`, by PyTorch's own convolution; without `seq_idx`.

    Example
    -------
    >>> causal_conv1d_ref(torch.ones(1, 1, 2), torch.ones(1, 3), initial_states=torch.ones(1, 1, 2))
    tensor([[[3., 3.]]])
    """
    _check(activation)
    channels, width = weight.shape
    past = x.new_zeros(*x.shape[:2], width - 1) if initial_states is None else initial_states.to(x.dtype)
    long = torch.cat([past, x], -1)  # [B, D, K - 1 + L]
    y = F.conv1d(long.to(weight.dtype), weight[:, None], bias, groups=channels)  # [B, D, L]
    y = (F.silu(y) if activation else y).to(x.dtype)
    if not return_final_states:
        return y
    final = long[..., long.shape[-1] - (width - 1) :]
    return y, final if final_states_out is None else final_states_out.copy_(final)


def _convolve_apart(x: Tensor, weight: Tensor, bias: Tensor | None, seq_idx: Tensor, activation: str | None) -> Tensor:
    """Convolve sequences that lie one after the other in an item, tap by tap."""
    width, valid = weight.shape[1], seq_idx >= 0  # [B, L]
    y = x.new_zeros(x.shape, dtype=weight.dtype) if bias is None else bias[:, None].expand(x.shape)
    for back in range(width):
        same = valid & (seq_idx == F.pad(seq_idx, (back, 0), value=-1)[:, : seq_idx.shape[1]])
        past = F.pad(x, (back, 0))[..., : x.shape[-1]].to(weight.dtype)
        y = y + weight[:, width - 1 - back, None] * past.masked_fill(~same[:, None], 0)
    y = y.masked_fill(~valid[:, None], 0)
    return (F.silu(y) if activation else y).to(x.dtype)


def causal_conv1d_update(
    x: Tensor,
    conv_state: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    activation: str | None = None,
    cache_seqlens: Tensor | None = None,
    conv_state_indices: Tensor | None = None,
) -> Tensor:
    """Convolve the next step or steps as `causal_conv1d.causal_conv1d_update`, and put them into the memory.

    Arguments
    ---------
    x : Tensor
        Next steps [B, D] or [B, D, L].
    conv_state : Tensor
        Memory of past inputs [B, D, S], S >= K - 1, newest last; changed in place.
    weight, bias, activation
        As in `causal_conv1d_fn`.
    cache_seqlens : Tensor, optional
        Steps so far, int [B]: the memory is a ring, and step t lies at t % S.
    conv_state_indices : Tensor, optional
        Row of the memory that belongs to each item, int [B], where it has more rows than items.

    Returns
    -------
    Tensor
        In the shape and dtype of `x`.

    Example
    -------
    >>> memory = torch.zeros(1, 1, 3)
    >>> [causal_conv1d_update(torch.ones(1, 1), memory, torch.ones(1, 3)).item() for _ in range(4)]
    [1.0, 2.0, 3.0, 3.0]
    """
    _check(activation)
    new = x[..., None] if x.dim() == 2 else x  # [B, D, L]
    memory = conv_state if conv_state_indices is None else conv_state[conv_state_indices.long()]
    past, updated = _advance(memory, new.to(memory.dtype), weight.shape[1], cache_seqlens)
    with torch.no_grad():
        if conv_state_indices is None:
            conv_state.copy_(updated)
        else:
            conv_state[conv_state_indices.long()] = updated
    y = causal_conv1d_ref(new, weight, bias, past, activation=activation)
    return y[..., 0] if x.dim() == 2 else y


def _advance(memory: Tensor, new: Tensor, width: int, steps_so_far: Tensor | None) -> tuple[Tensor, Tensor]:
    """The K - 1 inputs before `new`, and the memory [B, D, S] after it."""
    size, count = memory.shape[-1], new.shape[-1]
    if steps_so_far is None:
        past = memory[..., size - (width - 1) :].clone()
        return past, torch.cat([memory, new], -1)[..., -size:]
    before, behind = torch.arange(1 - width, 0, device=new.device), torch.arange(count, device=new.device)
    places = [(steps_so_far.long()[:, None] + k) % size for k in (before, behind)]  # [B, K - 1], [B, L]
    read, write = (place[:, None].expand(-1, memory.shape[1], -1) for place in places)
    return memory.gather(2, read), memory.scatter(2, write, new)


def _check(activation: str | None, too_much: bool = False) -> None:
    if activation not in (None, "silu", "swish"):
        raise UserError(f"causal_conv1d: activation must be None, silu or swish, found {activation!r}.")
    if too_much:
        raise UserError("causal_conv1d_fn: seq_idx goes with neither initial_states nor return_final_states.")
