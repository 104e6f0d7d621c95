"""Causal networks one frame at a time, with all that they keep as tensors of fixed sizes.

B batch, n samples of a call, L frames, F bins, D channels, M sequences, S sources.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lobes.errors import UserError
from lobes.nnet.attention import CrossFrameAttention
from lobes.nnet.bimamba import MambaBlock
from lobes.nnet.causal_gridnet import CausalAlongFrames
from lobes.nnet.memory import Memory
from lobes.nnet.windows import split_windows

BODIES: dict[str, nn.Module] = {}  # what the operator `lobes::when` runs, by name
_INPUTS = "Tensor now, Tensor x, Tensor a, Tensor b, Tensor nothing, str name"


@torch.library.custom_op("lobes::when", mutates_args=(), schema=f"({_INPUTS}) -> (Tensor, Tensor, Tensor)")
def when(now: Tensor, x: Tensor, a: Tensor, b: Tensor, nothing: Tensor, name: str) -> tuple[Tensor, Tensor, Tensor]:
    """Run a body on x and two states where `now` is true; else give `nothing` and the states as they are."""
    y, a, b = BODIES[name](x, a, b) if bool(now) else (nothing, a, b)
    return y.clone(), a.clone(), b.clone()


class WindowBody(nn.Module):
    """What one window of frames [M, size, D] gives to its frames, and the two states of its Mamba."""

    def __init__(self, layer: CausalAlongFrames) -> None:
        super().__init__()
        self.sequence, self.merge = layer.sequence, layer.merge
        self.examples: tuple[Tensor, ...] = ()

    def forward(self, window: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """Run over a window; return [M, size, D] and the states."""
        mixer: Any = self.sequence.mixer
        memory = Memory(zip((mixer.conv1d, mixer), states, strict=True))
        z = self.sequence(split_windows(window, self.merge.size, self.merge.hop), None, memory)
        return self.merge.spread(z), memory[mixer.conv1d], memory[mixer]


class StepAlongFrames(CausalAlongFrames):
    """`CausalAlongFrames` for one frame: its Mamba runs when a window is complete, at each `hop`th frame."""

    def _windows(self, h: Tensor, memory: Memory | None) -> Tensor:
        assert memory is not None
        size, hop = self.merge.size, self.merge.hop
        mixer: Any = self.sequence.mixer
        nothing = h.new_zeros(h.shape[0], size - 1, h.shape[2])
        recent, sums, phase = memory.get(self) or (nothing, nothing, torch.zeros((), dtype=torch.int64))
        weight, rows = mixer.A_log, h.shape[0]
        conv = memory.get(mixer.conv1d, weight.new_zeros(rows, mixer.d_conv - 1, mixer.d_inner))
        state = memory.get(mixer, weight.new_zeros(rows, *weight.shape))
        window = torch.cat((recent, h), 1)  # [M, size, D]
        BODIES[str(id(self))].examples = window, conv, state  # type: ignore[assignment]
        z, memory[mixer.conv1d], memory[mixer] = torch.ops.lobes.when(
            phase == 0, window, conv, state, torch.zeros_like(window), str(id(self))
        )
        y = F.pad(sums, (0, 0, 0, 1)) + z
        memory[self] = window[:, 1:], y[:, 1:], (phase + 1) % hop
        return y[:, :1]


class StepAttention(CrossFrameAttention):
    """`CrossFrameAttention` for one frame, with places for all past frames of its window from the start."""

    def forward(self, x: Tensor, frames: Tensor | None = None, memory: Memory | None = None) -> Tensor:
        """Attend: x + attention, [B, 1, F, D]."""
        assert memory is not None
        query, key, value = self.query(x), self.key(x), self.value(x)  # [B, H, 1, E F]
        empty = [part.new_zeros(*part.shape[:2], self.before, part.shape[3]) for part in (key, value)]
        past_key, past_value, seen = memory.get(self) or (*empty, torch.zeros((), dtype=torch.int64))
        key, value = torch.cat((past_key, key), 2), torch.cat((past_value, value), 2)
        keep = torch.arange(self.before + 1) >= self.before - seen
        y = F.scaled_dot_product_attention(query, key, value, attn_mask=keep[None, None, None])
        memory[self] = key[:, :, 1:], value[:, :, 1:], (seen + 1).clamp(max=self.before)
        y = y.unflatten(-1, (-1, x.shape[2])).permute(0, 2, 4, 1, 3).flatten(3)  # [B, 1, F, D]
        return x + self.output(y)


STEPS = {CausalAlongFrames: StepAlongFrames, CrossFrameAttention: StepAttention}


def use_steps(model: nn.Module) -> None:
    """Let the layers of a network that look back in their own way do it for one frame at a time."""
    for layer in model.modules():
        if type(layer) in STEPS:
            if isinstance(layer, CausalAlongFrames) and not isinstance(layer.sequence, MambaBlock):
                raise UserError("a stream in ONNX needs mixer: mamba along the frames; export without --onnx")
            layer.__class__ = STEPS[type(layer)]  # type: ignore[index]
            if isinstance(layer, StepAlongFrames):
                BODIES[str(id(layer))] = WindowBody(layer)
