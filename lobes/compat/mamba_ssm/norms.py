"""Norms that also add the residual, by the signatures of mamba_ssm. D channels (last axis).

Example
-------
>>> x = torch.rand(2, 5, 8)
>>> y, residual = FusedRMSNorm(8)(x, residual=x, prenorm=True)
>>> y.shape, torch.equal(residual, 2 * x)
(torch.Size([2, 5, 8]), True)
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lobes.compat.mamba_ssm.named import named
from lobes.errors import UserError
from lobes.nnet.precision import at_least_fp32, no_autocast


def layer_norm_fn(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    residual: Tensor | None = None,
    *,
    eps: float = 1e-6,
    dropout_p: float = 0.0,
    prenorm: bool = False,
    residual_in_fp32: bool = False,
    zero_centered_weight: bool = False,
    is_rms_norm: bool = False,
    **others: Any,
) -> Any:
    """Norm of dropout(x) + residual, as `layer_norm_fn` of mamba_ssm: computed in float32 or better.

    What follows `residual` goes by name, because its order differs between the versions of mamba_ssm.

    Arguments
    ---------
    x : Tensor
        [..., D].
    weight, bias : Tensor
        [D]; the bias may be None.
    residual : Tensor, optional
        [..., D]; added before the norm.
    eps : float
        Added to the variance or the mean square.
    dropout_p : float
        Share of `x` that is left out.
    prenorm : bool
        Also return the sum, for the next residual.
    residual_in_fp32 : bool
        Keep the sum in float32 where there is no residual yet; else it has the residual's dtype.
    zero_centered_weight : bool
        The weight is a difference from 1.
    is_rms_norm : bool
        Root mean square norm, without the mean.
    others
        `x1`, `weight1`, `bias1`, `rowscale` and `return_dropout_mask` of version 2, if they ask for nothing.

    Returns
    -------
    y : Tensor
        [..., D] in the dtype of `x`; with `prenorm` the pair of it and the sum.

    Raises
    ------
    UserError
        If one of `others` asks for something.

    Example
    -------
    >>> layer_norm_fn(torch.tensor([[1.0, 3.0]]), torch.ones(2), None).round(decimals=3)
    tensor([[-1.,  1.]])
    """
    asked = [name for name, value in others.items() if value is not None and value is not False]
    if asked:
        raise UserError(f"layer_norm_fn: {asked[0]} is not offered by lobes.compat.mamba_ssm; leave it out.")
    with no_autocast(x):
        total = F.dropout(at_least_fp32(x), dropout_p) if dropout_p else at_least_fp32(x)
        total = total if residual is None else total + at_least_fp32(residual)
        scale = at_least_fp32(weight) + 1 if zero_centered_weight else at_least_fp32(weight)
        shift = None if bias is None else at_least_fp32(bias)
        if is_rms_norm:
            y = F.rms_norm(total, weight.shape, scale, eps)
            y = y if shift is None else y + shift
        else:
            y = F.layer_norm(total, weight.shape, scale, shift, eps)
    if not prenorm:
        return y.to(x.dtype)
    kept = torch.float32 if residual_in_fp32 else x.dtype
    return y.to(x.dtype), total.to(kept if residual is None else residual.dtype)


def rms_norm_fn(x: Tensor, weight: Tensor, bias: Tensor | None, residual: Tensor | None = None, **how: Any) -> Any:
    """Root mean square norm of dropout(x) + residual; arguments and results are those of `layer_norm_fn`.

    Example
    -------
    >>> rms_norm_fn(torch.tensor([[1.0, 7.0]]), torch.ones(2), None).round(decimals=3)
    tensor([[0.2000, 1.4000]])
    """
    return layer_norm_fn(x, weight, bias, residual, is_rms_norm=True, **how)


@named("mamba_ssm.ops.triton.layer_norm", "RMSNorm")
class FusedRMSNorm(nn.Module):
    """Root mean square norm (Zhang and Sennrich 2019, eq. 4) with mamba_ssm's arguments and state dict.

    Arguments
    ---------
    hidden_size : int
        Channels D.
    eps : float
        Added to the mean square.
    dropout_p : float
        Share of the input that is left out in training.
    zero_centered_weight : bool
        The weight is a difference from 1.
    device, dtype
        Of the weight.
    """

    dropout_p, zero_centered_weight = 0.0, False  # objects that were pickled by version 1 have no such attributes

    def __init__(
        self,
        hidden_size: int,
        eps: float = 1e-5,
        dropout_p: float = 0.0,
        zero_centered_weight: bool = False,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.eps, self.dropout_p, self.zero_centered_weight = eps, dropout_p, zero_centered_weight
        self.weight = nn.Parameter(torch.empty(hidden_size, device=device, dtype=dtype))
        self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Let the norm scale by 1."""
        nn.init.constant_(self.weight, 0.0 if self.zero_centered_weight else 1.0)

    def forward(
        self, x: Tensor, residual: Tensor | None = None, prenorm: bool = False, residual_in_fp32: bool = False
    ) -> Any:
        """Normalise `x` [..., D] plus the residual; with `prenorm` also return the sum."""
        return rms_norm_fn(
            x,
            self.weight,
            None,
            residual,
            eps=self.eps,
            dropout_p=self.dropout_p if self.training else 0.0,
            prenorm=prenorm,
            residual_in_fp32=residual_in_fp32,
            zero_centered_weight=self.zero_centered_weight,
        )
