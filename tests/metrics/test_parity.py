"""On a real recording in noise, and on one that is made, each measure equals an implementation that is not ours."""

import numpy as np
import pytest

from lobes.data import audio
from lobes.data.rates import resample
from lobes.metrics import measures
from lobes.metrics.measures import MetricError


@pytest.fixture(scope="module", params=["real", "made"])
def pair(request, voice):
    """Noisy and clean speech [T] at 16 kHz."""
    if request.param == "made":
        return voice(2, rate=16000) + 0.3 * voice(2, 1, 16000), voice(2, rate=16000)
    realdata = request.getfixturevalue("realdata")
    return [
        audio.read_mono_with_rate(realdata / f"voicebank/{kind}/p287_001.wav")[0].astype(np.float64)
        for kind in ("noisy", "clean")
    ]


def by_torchmetrics(name, estimate, target):
    import torch
    from torchmetrics.functional import audio as functions

    return float(getattr(functions, name)(torch.from_numpy(estimate), torch.from_numpy(target)))


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("si_sdr", "scale_invariant_signal_noise_ratio"),
        ("sdr", "signal_distortion_ratio"),
        ("snr", "signal_noise_ratio"),
    ],
)
def test_ratios(pair, name, theirs):
    assert getattr(measures, name)(*pair) == pytest.approx(by_torchmetrics(theirs, *pair), abs=1e-4)


@pytest.mark.parametrize("extended", [False, True])
def test_stoi(pair, extended):
    import pystoi

    estimate, target = pair
    ours = (measures.estoi if extended else measures.stoi)(estimate, target, 16000)
    assert ours == pytest.approx(pystoi.stoi(target, estimate, 16000, extended), abs=1e-6)


@pytest.mark.parametrize(
    ("name", "rate", "mode"), [("pesq_nb", 8000, "nb"), ("pesq_nb", 16000, "nb"), ("pesq_wb", 16000, "wb")]
)
def test_pesq(pair, name, rate, mode):
    import pesq

    estimate, target = (resample(x, 16000, rate) for x in pair)
    ours = getattr(measures, name)(estimate, target, rate)
    assert ours == pytest.approx(pesq.pesq(rate, target, estimate, mode), abs=0.002)  # the levels differ
    if name != "pesq_nb" or rate == 8000:
        assert ours == measures.pesq(estimate, target, rate)


def test_pesq_where_it_is_not_defined(pair):
    for name, rate in (("pesq_wb", 8000), ("pesq_nb", 44100)):
        with pytest.raises(MetricError, match=f"not defined at {rate} Hz"):
            getattr(measures, name)(*pair, rate)


@pytest.mark.parametrize(("gain", "expected"), [(0.9, 20.0), (-1.0, -6.0206), (1.0, 100.0)])
def test_snr_counts_level_and_sign(pair, gain, expected):
    assert measures.snr(gain * pair[1], pair[1]) == pytest.approx(expected, abs=1e-4)
