"""SpeechBrain's containers find their shapes on tensors without values, and build the same networks."""

from __future__ import annotations

import contextlib

import pytest
import torch
from speechbrain.nnet.containers import Sequential

from lobes.config import building, recipe
from lobes.models import get_model


@pytest.mark.parametrize("preset", ["convtasnet_tiny", "dprnn_tiny"])
def test_weights_and_random_numbers_are_those_of_speechbrain(preset, monkeypatch):
    built = []
    for patch in (building.shapes_without_values, lambda text: contextlib.nullcontext()):
        monkeypatch.setattr(recipe, "shapes_without_values", patch)
        torch.manual_seed(3)
        built.append((get_model(preset).state_dict(), torch.rand(3)))
    (ours, after), (theirs, expected) = built
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert torch.equal(after, expected)


def test_no_block_is_run_on_numbers_and_speechbrain_is_as_it_was(monkeypatch):
    original, seen = Sequential.get_output_shape, []
    conv1d = torch.nn.functional.conv1d
    monkeypatch.setattr(
        torch.nn.functional, "conv1d", lambda x, *rest, **more: seen.append(type(x)) or conv1d(x, *rest, **more)
    )
    with pytest.raises(TypeError, match="unexpected keyword"), building.shapes_without_values("speechbrain."):
        raise TypeError("unexpected keyword")
    assert Sequential.get_output_shape is original
    get_model("convtasnet_tiny")
    assert seen and torch.Tensor not in seen


class Counted(torch.nn.Linear):
    def __init__(self, width, seen):
        super().__init__(width, width)
        self.seen = seen

    def forward(self, x):
        self.seen.append(self)
        return super().forward(x)


def test_a_layer_is_run_once_however_many_follow():
    seen = []
    with building.shapes_without_values("speechbrain."):
        chain = Sequential(input_shape=[1, 2, 3])
        for _ in range(4):
            chain.append(Counted(3, seen))
            assert chain.get_output_shape() == (1, 2, 3)
    assert seen == list(chain.values())


def test_a_layer_that_has_grown_or_was_exchanged_is_run_again():
    with building.shapes_without_values("speechbrain."):
        chain = Sequential(Sequential(torch.nn.Linear(3, 5)), torch.nn.Identity(), input_shape=[1, 2, 3])
        assert chain.get_output_shape() == (1, 2, 5)
        chain["0"].append(torch.nn.Linear(5, 7))
        assert chain.get_output_shape() == (1, 2, 7)
        chain["1"] = torch.nn.Linear(7, 2)
        assert chain.get_output_shape() == (1, 2, 2)


def test_a_container_with_a_forward_pass_of_its_own_is_asked():
    class Doubled(Sequential):
        def forward(self, x):
            return torch.cat([super().forward(x)] * 2, -1)

    with building.shapes_without_values("speechbrain."):
        assert Doubled(torch.nn.Linear(3, 5), input_shape=[1, 2, 3]).get_output_shape() == (1, 2, 10)
