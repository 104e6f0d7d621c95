"""Shares and ensembles of models are what a reader expects of them."""

import numpy as np
import pytest
import torch

from lobes.errors import UserError
from lobes.evaluation.candidates import UntouchedMixture
from lobes.inference.separator import Separator
from lobes.inference.speechbrain_adapter import adapt
from lobes.inference.systems import Ensemble, SeparatorSystem, SharedModel, Weakened
from lobes.metrics.measures import si_sdr

RNG = np.random.default_rng(0)
SOURCES = RNG.standard_normal((4000, 2)).astype(np.float32)
MIX = SOURCES.sum(1)


class Given(torch.nn.Module):
    """Gives the sources with noise, a gain and an order of its own, whatever it is given."""

    def __init__(self, gain, order, noise, count=2):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(float(gain)))
        noisy = SOURCES + noise * np.random.default_rng(100 + order[0]).standard_normal(SOURCES.shape)
        self.register_buffer("sources", torch.from_numpy(noisy[:, order].astype(np.float32)))
        self.count, self.calls = count, 0

    def forward(self, mix, lengths=None):
        self.calls += 1
        return self.weight * self.sources[None, : mix.shape[1], : self.count].repeat(len(mix), 1, 1)


def system(gain=1.0, order=(0, 1), noise=0.0, label="m", count=2):
    network = Given(gain, list(order), noise, count)
    separator = Separator(adapt(network), {"num_spks": count, "sample_rate": 4000}, level="model")  # as evaluations do
    return SeparatorSystem(label, SharedModel(separator))


def test_an_ensemble_aligns_levels_and_sources_and_averages():
    one, two = system(30.0, (0, 1), 0.3), system(-0.01, (1, 0), 0.3)
    found = Ensemble("both", [one, two]).estimates("a", MIX, 4000)
    alone = [si_sdr(one.estimates("a", MIX, 4000)[:, s].astype(float), SOURCES[:, s].astype(float)) for s in (0, 1)]
    both = [si_sdr(found[:, s].astype(float), SOURCES[:, s].astype(float)) for s in (0, 1)]
    assert np.all(np.array(both) > np.array(alone) + 2), "independent errors are averaged: 3 dB less of them"
    assert np.abs(found.sum(1) - MIX).max() < 2, "at the level of the mixture"


def test_an_ensemble_of_a_system_with_itself_is_the_system():
    one = system(5.0, (1, 0))
    np.testing.assert_allclose(Ensemble("x", [one, one]).estimates("a", MIX, 4000), SOURCES[:, ::-1], atol=1e-5)


def test_an_ensemble_with_what_is_not_finite_is_not_finite():
    broken = system(np.nan)
    assert np.isnan(Ensemble("x", [system(), broken]).estimates("a", MIX, 4000)).all()


def test_a_strength_is_the_share_of_the_enhancement_at_the_level_of_the_mixture():
    """0 is the mixture and 1 the model, both bit for bit."""
    model = system(7.0, count=1)
    full = model.estimates("a", MIX, 4000)
    assert np.array_equal(Weakened("x", model, 1.0).estimates("a", MIX, 4000), full)
    assert np.array_equal(Weakened("x", model, 0.0).estimates("a", MIX, 4000)[:, 0], MIX)
    gain = float(MIX @ full[:, 0] / (full[:, 0] @ full[:, 0]))
    expected = 0.25 * gain * full[:, 0] + 0.75 * MIX
    np.testing.assert_allclose(Weakened("x", model, 0.25).estimates("a", MIX, 4000)[:, 0], expected, atol=1e-5)


def test_a_strength_is_for_one_source_and_systems_give_one_number_of_them():
    with pytest.raises(UserError, match="x: a strength is for enhancement, one source; there are 2"):
        Weakened("x", system(), 0.5)
    with pytest.raises(UserError, match="give one number of sources: a gives 2, b gives 1"):
        Ensemble("x", [system(label="a"), system(label="b", count=1)])
    with pytest.raises(UserError, match="a strength is for enhancement"):
        Weakened("x", UntouchedMixture(), 0.5).prepare({}, 2)


def test_a_model_is_asked_once_for_each_mixture():
    model = system(count=1)
    network = model.model.separator.mods["masknet"].model
    for one in (model, Weakened("x", model, 0.5), Ensemble("y", [model, UntouchedMixture()])):
        one.estimates("a", MIX, 4000)
    assert network.calls == 1
    model.estimates("b", MIX.copy(), 4000)
    assert network.calls == 2


def test_another_rate_is_resampled_to_the_models_and_back():
    found = system().estimates("a", np.repeat(MIX, 2)[:7999], 8000)
    assert found.shape == (7999, 2) and found.dtype == np.float32


def test_a_fingerprint_is_that_of_weights_and_of_outputs():
    assert system().fingerprint == system().fingerprint
    others = [system(1.0 + 1e-6), system(order=(1, 0)), Weakened("x", system(count=1), 0.5), UntouchedMixture()]
    assert len({one.fingerprint for one in [system(), *others]}) == 5
    assert Weakened("x", system(count=1), 0.5).fingerprint != Weakened("x", system(count=1), 0.25).fingerprint
