"""The adapter is exact: SpeechBrain's formula gives the model's output bit for bit."""

from __future__ import annotations

import torch
from speechbrain.inference.separation import SepformerSeparation
from torch import nn

from lobes.inference.speechbrain_adapter import MappingMaskNet, adapt


class Nonlinear(nn.Module):
    """Three sources with values of any size, as they come."""

    def forward(self, mix):
        return torch.stack([mix.sin() * 1e-30, mix.exp() * 1e7, -mix / 3], dim=-1)


def through_speechbrain(mix: torch.Tensor) -> torch.Tensor:
    interface = SepformerSeparation(adapt(Nonlinear()), {"num_spks": 3}, run_opts={"device": "cpu"})
    return interface.separate_batch(mix)


def test_stock_interface_equals_the_model_bit_for_bit():
    mix = torch.randn(3, 8001, generator=torch.Generator().manual_seed(0))
    assert torch.equal(through_speechbrain(mix), Nonlinear()(mix))


def test_double_precision_stays():
    mix = torch.randn(2, 77, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(through_speechbrain(mix), Nonlinear()(mix))


def test_a_bad_item_leaves_the_others_alone():
    mix = torch.ones(2, 50)
    mix[0, 3] = torch.nan
    assert torch.equal(through_speechbrain(mix)[1], Nonlinear()(mix)[1])


def test_only_the_masknet_has_weights_under_model():
    modules = adapt(nn.Linear(2, 2))
    assert list(modules["masknet"].state_dict()) == ["model.weight", "model.bias"]
    assert not modules["encoder"].state_dict() and not modules["decoder"].state_dict()
    assert isinstance(modules["masknet"], MappingMaskNet)
