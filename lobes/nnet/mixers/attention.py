"""Self-attention as a mixer. B batch, H heads, L steps, P channels of a head, D channels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lobes.nnet.lengths import mask
from lobes.nnet.memory import Memory
from lobes.nnet.mixers.mixer import Mixer
from lobes.nnet.mixers.sizes import check_heads
from lobes.nnet.precision import at_least_fp32, no_autocast

BASE = 10000.0  # of the wavelengths of the rotations


class SelfAttention(Mixer):
    """Multi-head self-attention (Vaswani et al. 2017, arXiv:1706.03762) with rotary positions, between linear maps.

    Queries and keys are turned by angles that grow with the step (Su et al. 2021, arXiv:2104.09864, eq. 34), so that
    products know the distance of two steps and sequences may have any length.

    Arguments
    ---------
    d_model : int
        Channels D.
    width : int
        Inner channels H * P.
    heads : int
        Heads H.
    past_only : bool
        Each step attends to itself and to those before; False: to all valid steps of its item.

    Raises
    ------
    UserError
        If the heads do not divide the width.

    Example
    -------
    >>> SelfAttention(8, width=16)(torch.rand(2, 5, 8), torch.tensor([5, 3])).shape
    torch.Size([2, 5, 8])
    """

    def __init__(self, d_model: int, width: int, heads: int = 4, past_only: bool = False) -> None:
        super().__init__()
        check_heads("attention", width, heads)
        self.heads, self.past_only = heads, past_only
        self.in_proj = nn.Linear(d_model, 3 * width, bias=False)
        self.out_proj = nn.Linear(width, d_model, bias=False)
        nn.init.xavier_uniform_(self.in_proj.weight)

    def reset_parameters(self) -> None:
        """Initialise all weights again."""
        nn.init.xavier_uniform_(self.in_proj.weight)
        self.out_proj.reset_parameters()

    def mix(self, x: Tensor, steps: Tensor | None, memory: Memory | None) -> Tensor:
        """Run over `x` [B, L, D]; see `Mixer`. There is no stream: what attention keeps grows without bound."""
        if memory is not None:
            raise ValueError("SelfAttention: expected no memory; what it keeps of a stream would grow with its length")
        heads = self.in_proj(x).unflatten(-1, (3, self.heads, -1))  # [B, L, 3, H, P]
        query, key, value = heads.permute(2, 0, 3, 1, 4)  # [B, H, L, P]
        query, key = (turned(part).to(value.dtype) for part in (query, key))
        # what comes after an item's end is later than all of its steps: only those who see later ones need a mask
        keep = None if steps is None or self.past_only else mask(steps, x.shape[1])[:, None, None]  # [B, 1, 1, L]
        y = F.scaled_dot_product_attention(query, key, value, attn_mask=keep, is_causal=self.past_only)
        return self.out_proj(y.transpose(1, 2).flatten(2))


def turned(x: Tensor) -> Tensor:
    """Turn pairs of channels of `x` [B, H, L, P] by step times frequency; a last odd channel stays; at least fp32.

    Example
    -------
    >>> x = torch.rand(1, 1, 3, 4)
    >>> torch.equal(turned(x)[:, :, 0], x[:, :, 0]), torch.allclose(turned(x).norm(dim=-1), x.norm(dim=-1))
    (True, True)
    """
    x = at_least_fp32(x)
    half = x.shape[-1] // 2
    with no_autocast(x):
        frequencies = BASE ** (-torch.arange(half, device=x.device, dtype=x.dtype) / max(half, 1))
        angles = torch.arange(x.shape[-2], device=x.device, dtype=x.dtype)[:, None] * frequencies  # [L, P/2]
        cos, sin = angles.cos(), angles.sin()
        first, second, rest = x.split([half, half, x.shape[-1] - 2 * half], -1)
        return torch.cat((first * cos - second * sin, first * sin + second * cos, rest), -1)
