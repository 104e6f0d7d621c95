"""Folders that users have made refer to these names: each must stay, and still be the thing that it names."""

import pytest

import lobes
from lobes import exported
from lobes.inference.export import NEEDED

NAMES = {
    "BiMambaStack", "Budget", "BudgetCosine", "EnhanceModel", "MambaMaskNet", "MambaTasNetMaskNet", "MappingMaskNet",
    "MetricGan", "MixAndOnes", "SafeCheckpointer", "SequenceFirst", "SharedBiMamba", "TakeEstimate", "describe_task",
    "load_strictly", "num_sources", "RNNBlock", "TransformerBlock",
}  # fmt: skip


def test_no_name_was_taken_away_and_a_new_one_is_listed_here():
    assert set(exported.__all__) == NAMES


@pytest.mark.parametrize("name", sorted(NAMES))
def test_each_name_is_that_of_the_object(name):
    assert getattr(exported, name).__name__ == name


def test_the_first_key_of_an_exported_folder_is_found_whatever_it_says_of_installing():
    assert getattr(exported, NEEDED) is getattr(exported, "Lobes (in other words)") is lobes
    assert "pip install path/to/clone" in NEEDED and "." not in NEEDED


def test_another_name_is_no_attribute():
    with pytest.raises(AttributeError, match="no name Bugdet; it has BiMambaStack, Budget"):
        exported.Bugdet  # noqa: B018
