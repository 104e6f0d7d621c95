"""The cell of the mLSTM: step by step, and in chunks. B batch, H heads, L steps, P channels of a head."""

from __future__ import annotations

import torch
from torch import Tensor

from lobes.nnet.mixers.chunks import CHUNK, advance

State = tuple[Tensor, Tensor, Tensor]  # memory C [B, H, P, P], normaliser n [B, H, P], stabiliser m [B, H]


def mlstm_steps(
    query: Tensor, key: Tensor, value: Tensor, log_input: Tensor, log_forget: Tensor, state: State | None = None
) -> tuple[Tensor, State]:
    """Run the cell one step after another, slow and readable: what `mlstm` is tested against.

    With the gates i_t = exp(log_input_t) and f_t = exp(log_forget_t),
    C_t = f_t C_(t-1) + i_t k_t v_t^T, n_t = f_t n_(t-1) + i_t k_t, and h_t = q_t C_t / max(|q_t . n_t|, 1).
    C and n are kept divided by exp(m_t), m_t = max(log f_t + m_(t-1), log i_t), which no exponential can exceed.

    Source: Beck et al. 2024, arXiv:2405.04517, eq. 15 to 17 and 19 to 27; C is transposed here.

    Arguments
    ---------
    query, key, value : Tensor
        [B, H, L, P], the keys divided by sqrt(P).
    log_input, log_forget : Tensor
        Logarithms of the gates, [B, H, L].
    state : tuple of Tensor, optional
        C [B, H, P, P], n [B, H, P] and m [B, H] before the first step; an empty memory if not given.

    Returns
    -------
    h : Tensor
        [B, H, L, P].
    state : tuple of Tensor
        The same after the last step.

    Example
    -------
    >>> one, gates = torch.ones(1, 1, 3, 2), torch.zeros(1, 1, 3)
    >>> h, state = mlstm_steps(one, one, one, gates, gates)
    >>> h[0, 0, :, 0], state[1].flatten()
    (tensor([1., 1., 1.]), tensor([3., 3.]))
    """
    C, n, m = empty(value) if state is None else state
    outputs = []
    for step in range(query.shape[2]):
        q, k, v = query[:, :, step], key[:, :, step], value[:, :, step]  # [B, H, P]
        before, m = m, torch.maximum(log_forget[:, :, step] + m, log_input[:, :, step])
        f = torch.exp(log_forget[:, :, step] + before - m)[..., None]  # [B, H, 1]
        i = torch.exp(log_input[:, :, step] - m)[..., None]
        C = f[..., None] * C + (i * k)[..., None] * v[..., None, :]
        n = f * n + i * k
        outputs.append(_normalised((q[..., None] * C).sum(-2), (q * n).sum(-1), m))
    return torch.stack(outputs, 2), (C, n, m)


def mlstm(
    query: Tensor, key: Tensor, value: Tensor, log_input: Tensor, log_forget: Tensor, state: State | None = None
) -> tuple[Tensor, State]:
    """Compute what `mlstm_steps` does, whose arguments these are, a chunk of steps at a time.

    Within a chunk it is attention with gates, between chunks the state passes on: memory grows with L and not with its
    square, on any device. The normaliser is a further column of the memory.

    Example
    -------
    >>> x, gate = torch.randn(2, 3, 9, 4), torch.randn(2, 3, 9)
    >>> torch.allclose(mlstm(x, x, x, gate, -gate.abs())[0], mlstm_steps(x, x, x, gate, -gate.abs())[0], atol=1e-4)
    True
    """
    C, n, m = empty(value) if state is None else state
    memory, m = torch.cat((C, n[..., None]), -1), m[..., None]  # [B, H, P, P + 1], [B, H, 1]
    value = torch.cat((value, torch.ones_like(value[..., :1])), -1)
    outputs = []
    for start in range(0, query.shape[2], CHUNK):
        part = slice(start, start + CHUNK)
        forgotten = log_forget[..., part].cumsum(-1)
        source = log_input[..., part] - forgotten
        above = torch.maximum(source.cummax(-1).values, m)  # m_t without what was forgotten since the chunk's start
        q, k, v = (tensor[:, :, part] for tensor in (query, key, value))
        y, memory = advance(q, k, v, -above, source, m, memory)
        outputs.append(_normalised(y[..., :-1], y[..., -1], forgotten + above))
        m = (forgotten + above)[..., -1:]
    return torch.cat(outputs, 2), (memory[..., :-1], memory[..., -1], m[..., 0])


def empty(value: Tensor) -> State:
    """An empty memory for values [B, H, L, P].

    Example
    -------
    >>> [part.shape for part in empty(torch.rand(2, 3, 9, 4))]
    [torch.Size([2, 3, 4, 4]), torch.Size([2, 3, 4]), torch.Size([2, 3])]
    """
    shape = value.shape[0], value.shape[1], value.shape[3]
    C, n = value.new_zeros(*shape, shape[2]), value.new_zeros(shape)
    return C, n, value.new_full(shape[:2], float("-inf"))


def _normalised(y: Tensor, norm: Tensor, m: Tensor) -> Tensor:
    """Divide `y` [..., P] by max(|norm|, 1), where all are divided by exp(m)."""
    tiny = torch.finfo(y.dtype).tiny  # where exp(-m) is too small for a number, and a query is zero
    return y / torch.maximum(norm.abs(), torch.exp(-m)).clamp(min=tiny)[..., None]
