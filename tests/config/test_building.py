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
