"""Another project's model by the name of its factory: the same interface, checked shapes, errors that name it."""

import sys
import types

import pytest
import torch

from lobes.errors import UserError
from lobes.inference import Separator


class Halves:
    sample_rate, num_sources = 8000, 2

    def __call__(self, mix):
        return torch.stack([mix / 2, mix / 2])


class Wrong(Halves):
    def __call__(self, mix):
        return torch.stack([mix / 2, mix / 2], 1)


class Mute:
    sample_rate = 8000


@pytest.fixture(autouse=True)
def package(monkeypatch):
    module = types.ModuleType("other_project")
    module.halves, module.wrong, module.mute = Halves, Wrong, Mute
    monkeypatch.setitem(sys.modules, "other_project", module)


def test_it_separates_like_any_other_model():
    separator = Separator.from_hparams("other_project:halves")
    assert (separator.num_sources, separator.sample_rate) == (2, 8000)
    mix = torch.randn(3, 1000)
    assert torch.equal(separator.separate_batch(mix), torch.stack([mix / 2, mix / 2], -1))
    short = separator.separate_batch(mix, torch.tensor([1.0, 0.5, 0.1]))
    assert torch.equal(short[1, :500, 0], mix[1, :500] / 2) and not short[1, 500:].any()


@pytest.mark.parametrize(
    "name, message",
    [
        ("no_such_package:make", "no_such_package:make: cannot be imported: No module named"),
        ("other_project:halfs", "other_project:halfs: cannot be imported:.*halfs"),
        ("other_project:mute", "expected a factory of an object with sample_rate.*num_sources is missing"),
    ],
)
def test_what_cannot_be_made_is_named(name, message):
    with pytest.raises(UserError, match=message):
        Separator.from_hparams(name)


def test_a_wrong_shape_says_what_was_expected():
    separator = Separator.from_hparams("other_project:wrong")
    with pytest.raises(UserError, match=r"expected sources of shape \(2, 1000\).*got \(1000, 2\)"):
        separator.separate_batch(torch.randn(1, 1000))
