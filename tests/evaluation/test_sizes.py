"""Widths that match: within 2 % for small networks of all frames, and mistakes in one line."""

from __future__ import annotations

import pytest

from lobes.errors import UserError
from lobes.evaluation.complexity import count, parameters_of
from lobes.evaluation.sizes import WITHIN, matching_size, nearest_width
from lobes.models import get_model
from lobes.nnet.mixers import MIXERS

TINY = ["tf_gridnet_mini", "dpmamba_tiny", "dprnn_tiny", "sepformer_tiny", "mamba_tasnet_tiny", "bsrnn_8k_tiny"]
MATCHES = [("spmamba_tiny", mixer) for mixer in MIXERS]  # the coarsest steps; each other frame with two mixers
MATCHES += [(preset, mixer) for preset in [*TINY, "mbs_net_causal_small"] for mixer in ("lstm", "xlstm")]


@pytest.mark.parametrize("preset, mixer", MATCHES)
def test_parameters_match_within_two_percent(preset, mixer):
    match = matching_size(preset, mixer)
    assert abs(match.difference) <= WITHIN
    assert match.wanted == parameters_of(get_model(preset))
    assert match.found == parameters_of(get_model(preset, **match.options))


def test_multiply_accumulates_match_within_two_percent():
    match = matching_size("dpmamba_tiny", "lstm", "macs", n_layers=1)
    assert match.options["n_layers"] == 1 and abs(match.difference) <= WITHIN
    assert match.found == count(get_model("dpmamba_tiny", **match.options)).total


@pytest.mark.parametrize("wanted, expected", [(30_507, 100), (30_508, 100), (1, 1), (10**9, 18_257)])
def test_the_nearest_width_of_a_parabola(wanted, expected):
    def counted(width):
        return 3 * width**2 + 5 * width + 7

    assert nearest_width(counted, wanted) == (expected, counted(expected))


def test_steps_that_are_not_quite_a_parabola():
    def counted(width):
        return 100 * width + (width % 4) * 30

    assert nearest_width(counted, 5_600) == (56, 5_600)
    assert nearest_width(counted, 5_600, step=8) == (56, 5_600)


def test_what_cannot_be_matched_is_said():
    with pytest.raises(UserError, match="convtasnet_tiny: its sequence model cannot be exchanged"):
        matching_size("convtasnet_tiny", "lstm")
    with pytest.raises(UserError, match="match: expected parameters or macs, got 'parameter'. Did you mean"):
        matching_size("dprnn_tiny", "lstm", "parameter")
    with pytest.raises(UserError, match="mixer: expected one of"):
        matching_size("dprnn_tiny", "gru")
    with pytest.raises(UserError, match="mixer_width: this is what is sought"):
        matching_size("dprnn_tiny", "lstm", mixer_width=3)
    with pytest.raises(UserError, match="no width of mixer: xlstm comes within 2%"):
        matching_size("dprnn_tiny", "xlstm", N=16, K=20, n_units=1, n_layers=1)
