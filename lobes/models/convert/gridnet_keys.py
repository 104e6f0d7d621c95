"""State-dict keys of SPMamba and TF-GridNet: the published ones, which were also those of earlier versions, and ours.

The published code has one small network for each head of the attention, with tensors of its own; ours are stacked. H
heads, E channels of a head, D channels, F bins.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from lobes.errors import UserError
from lobes.nnet.mixers import Directions

_PUBLISHED, _OURS = "blocks.0.attn_concat_proj.0.weight", "blocks.0.attention.output.linear.weight"
# beginnings of keys, published -> ours, outside and inside a block; the first that fits is taken
_OUTSIDE = {"conv.0.": "conv.", "conv.1.": "norm."}
_INSIDE = {
    "intra_norm.": "along_bins.norm.",
    "intra_mamba.forward_blocks.0.": "along_bins.sequence.forward_block.",
    "intra_mamba.backward_blocks.0.": "along_bins.sequence.backward_block.",
    "intra_rnn.": "along_bins.sequence.",
    "intra_linear.": "along_bins.merge.",
    "inter_norm.": "along_frames.norm.",
    "inter_mamba.forward_blocks.0.": "along_frames.sequence.forward_block.",
    "inter_mamba.backward_blocks.0.": "along_frames.sequence.backward_block.",
    "inter_rnn.": "along_frames.sequence.",
    "inter_linear.": "along_frames.merge.",
    "attn_concat_proj.0.": "attention.output.linear.",
    "attn_concat_proj.1.": "attention.output.activation.",
    "attn_concat_proj.2.": "attention.output.norm.",
}
_KINDS = {"Q": "query", "K": "key", "V": "value"}
# tensors of a head, published -> ours, and the dimensions of size 1 that ours lack
_TENSORS = {
    "0.weight": ("weight", (2, 3)),  # [E, D, 1, 1] -> [H E, D]
    "0.bias": ("bias", ()),  # [E] -> [H E]
    "1.weight": ("slope", ()),  # [1] -> [H]
    "2.gamma": ("gamma", (2,)),  # [1, E, 1, F] -> [H, E, F]
    "2.beta": ("beta", (2,)),
}
_BLOCK = re.compile(r"(blocks\.\d+\.)?(.+)")
_PUBLISHED_HEAD = re.compile(rf"attn_conv_([QKV])_(\d+)\.({'|'.join(map(re.escape, _TENSORS))})")
_OUR_HEADS = re.compile(r"attention\.(query|key|value)\.(\w+)")


def from_published(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Turn published keys and shapes into ours.

    Example
    -------
    >>> heads = {f"blocks.0.attn_conv_Q_{head}.0.weight": torch.rand(4, 16, 1, 1) for head in range(2)}
    >>> {key: value.shape for key, value in from_published(heads).items()}
    {'blocks.0.attention.query.weight': torch.Size([8, 16])}
    """
    state: dict[str, Tensor] = {}
    heads: dict[str, dict[int, Tensor]] = defaultdict(dict)
    for key, value in weights.items():
        block, name = _split(key)
        if block and (found := _PUBLISHED_HEAD.fullmatch(name)):
            tensor, ones = _TENSORS[found[3]]
            heads[f"{block}attention.{_KINDS[found[1]]}.{tensor}"][int(found[2])] = value.squeeze(ones)
        else:
            ours = _renamed(name, _INSIDE if block else _OUTSIDE)
            state[block + ours] = value.flatten(1) if ours == "attention.output.linear.weight" else value
    return state | {key: torch.cat([parts[head] for head in sorted(parts)]) for key, parts in heads.items()}


def to_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Turn our keys and shapes into the published ones.

    Example
    -------
    >>> ours = {"blocks.0.attention.key.slope": torch.rand(4), "blocks.0.attention.key.bias": torch.rand(8)}
    >>> list(to_published(ours))[:5]  # one slope a head
    ['blocks.0.attn_conv_K_0.1.weight', 'blocks.0.attn_conv_K_1.1.weight', 'blocks.0.attn_conv_K_2.1.weight',
     'blocks.0.attn_conv_K_3.1.weight', 'blocks.0.attn_conv_K_0.0.bias']
    """
    inside, outside = ({ours: published for published, ours in names.items()} for names in (_INSIDE, _OUTSIDE))
    kinds = {ours: published for published, ours in _KINDS.items()}
    tensors = {ours: (published, ones) for published, (ours, ones) in _TENSORS.items()}
    weights: dict[str, Tensor] = {}
    for key, value in state.items():
        block, name = _split(key)
        if block and (found := _OUR_HEADS.fullmatch(name)):
            n_heads, (tensor, ones) = len(state[f"{block}attention.{found[1]}.slope"]), tensors[found[2]]
            for head, part in enumerate(value.chunk(n_heads)):
                for dim in ones:
                    part = part.unsqueeze(dim)
                weights[f"{block}attn_conv_{kinds[found[1]]}_{head}.{tensor}"] = part.clone()
        else:
            published = _renamed(name, inside if block else outside)
            is_map = published == "attn_concat_proj.0.weight"
            weights[block + published] = value[:, :, None, None] if is_map else value  # [D, D, 1, 1]
    return weights


def to_upstream(model: nn.Module) -> dict[str, Tensor]:
    """Weights of an SPMamba or TF-GridNet under the keys, and in the shapes, of its published code.

    Arguments
    ---------
    model : nn.Module
        An `SPMamba` or a `TFGridNet`.

    Returns
    -------
    dict of str: Tensor
        A state dict of the reference implementation; `SPMamba.from_upstream` reads it back from a file.

    Raises
    ------
    UserError
        For other models, and for mixers and directions that were not published.

    Example
    -------
    >>> from lobes.models.spmamba import SPMamba
    >>> weights = to_upstream(SPMamba(n_layers=1, emb_dim=4, emb_ks=4, n_heads=2, approx_qk_dim=129, expand=1))
    >>> weights["blocks.0.attn_conv_V_1.0.weight"].shape
    torch.Size([2, 4, 1, 1])
    """
    state = model.state_dict()
    if _OURS not in state:
        raise UserError(f"to_upstream: expected an SPMamba or a TFGridNet, got a {type(model).__name__}")
    another = any(isinstance(part, Directions) for part in model.modules())
    if another or (model.direction == "forward" and not model.causal):
        form = f"mixer: {model.mixer}, direction: {model.direction}"
        raise UserError(f"to_upstream: no such network was published: {form}")
    return to_published(state)


def current_keys(model: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Turn a state dict of an earlier version into one with today's keys; leave others as they are.

    Earlier versions of SPMamba and TF-GridNet had the published keys. Such networks may lie anywhere in `model`, since
    keys may have a prefix, and `state` may be incomplete.

    Example
    -------
    >>> from lobes.models.spmamba import SPMamba
    >>> model = SPMamba(n_layers=1, emb_dim=4, emb_ks=4, n_heads=2, approx_qk_dim=129, expand=1)
    >>> current_keys(model, to_upstream(model)).keys() == model.state_dict().keys()
    True
    """
    own, state = model.state_dict().keys(), dict(state)
    marks = [key for key in state if f".{key}".endswith(f".{_PUBLISHED}") and key not in own]
    for prefix in (mark.removesuffix(_PUBLISHED) for mark in marks):
        network = {key.removeprefix(prefix): state.pop(key) for key in list(state) if key.startswith(prefix)}
        state |= {prefix + key: value for key, value in from_published(network).items()}
    return state


def _split(key: str) -> tuple[str, str]:
    """`blocks.3.` and the rest of a key in a block; an empty string and the key outside."""
    found = _BLOCK.fullmatch(key)
    return (found[1] or "", found[2]) if found else ("", key)


def _renamed(name: str, beginnings: Mapping[str, str]) -> str:
    for old, new in beginnings.items():
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name
