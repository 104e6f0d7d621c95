"""DNSMOS equals the numbers of the package speechmos, which make_dnsmos_golden.py keeps; what it lacks is a status."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from lobes.data import audio
from lobes.metrics import dnsmos, onnx_models, score
from lobes.metrics.measures import MetricError

pytest.importorskip("onnxruntime")
pytest.importorskip("speechmos.plcmos")  # the package itself is there; its DNSMOS needs librosa
HERE = Path(__file__).parent
GOLDEN = json.loads((HERE / "golden_dnsmos.json").read_text(encoding="utf-8"))
SPEC = importlib.util.spec_from_file_location("make_dnsmos_golden", HERE / "make_dnsmos_golden.py")
maker = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(maker)
SLOW = ("long", *maker.REAL[2:])  # many stretches


def marked(names):
    return [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in names]


@pytest.mark.parametrize("name", marked(maker.SYNTHETIC))
def test_a_signal_made_again_has_the_packages_numbers(name):
    found = dnsmos.dnsmos(maker.signal(*maker.SYNTHETIC[name]), maker.RATE)
    assert found == pytest.approx(GOLDEN[name], abs=1e-4) and list(found) == list(GOLDEN[name])


@pytest.mark.parametrize("name", marked(maker.REAL))
def test_a_real_recording_has_the_packages_numbers(name, realdata):
    wave, rate = audio.read_mono_with_rate(realdata / name)
    assert dnsmos.dnsmos(wave, rate) == pytest.approx(GOLDEN[name], abs=1e-4)


def test_the_stretches_are_those_of_the_package():
    """Its own loop over hops, which drops a stretch whose end rounding puts a sample too early."""
    for seconds in (9.01, 9.5, 10.0, 11.3, 17.5, 30.0):
        samples, expected = int(seconds * 16000), []
        for hop in range(int(np.floor(samples / 16000) - 9.01) + 1):
            if len(range(samples)[int(hop * 16000) : int((hop + 9.01) * 16000)]) >= int(9.01 * 16000):
                expected.append(hop * 16000)
        assert dnsmos.starts(samples) == expected
    assert dnsmos.starts(int(17.5 * 16000)) == [hop * 16000 for hop in range(7)]


@pytest.fixture
def one_stretch(monkeypatch):
    """Networks that count their calls and answer with what they hear."""

    class Network:
        def __init__(self, path):
            self.path = path

        def run(self, _, inputs):
            heard.append(inputs["input_1"])
            return [np.full((1, 3), 2.0)] if "sig_bak" in self.path.name else [np.full((1, 1), 3.0)]

    heard = []
    monkeypatch.setattr(dnsmos, "session", Network)
    return heard


def test_a_short_signal_is_repeated_and_one_beyond_full_scale_is_scaled(one_stretch):
    wave = np.linspace(-4, 2, 80000, dtype=np.float32)
    found = dnsmos.dnsmos(wave, 16000)
    heard = one_stretch[0][0]
    assert heard.shape == (144160,) and np.allclose(heard[80000:], wave[:64160] / 4) and len(one_stretch) == 2
    assert found["dnsmos_p808"] == 3.0 and found["dnsmos_ovrl"] == pytest.approx(2.00630421)  # by the polynomial
    dnsmos.dnsmos(wave / 10, 16000)
    assert np.abs(one_stretch[2]).max() == pytest.approx(0.4)


def test_equal_stretches_are_heard_once_and_count_as_often_as_they_come(monkeypatch):
    """Two seconds make 16: seven stretches, from the first and the second second in turn."""

    class Network:
        def __init__(self, path):
            self.path = path

        def run(self, _, inputs):
            heard.append(inputs["input_1"][0, 0])
            return [np.full((1, 3), heard[-1])] if "sig_bak" in self.path.name else [np.zeros((1, 1))]

    heard = []
    monkeypatch.setattr(dnsmos, "session", Network)
    found = dnsmos.dnsmos(np.repeat([0.25, 0.5], 16000).astype(np.float32), 16000)
    first, second = (np.polyval(dnsmos.POLYNOMIALS["dnsmos_ovrl"], x) for x in (0.25, 0.5))
    assert len(heard) == 4 and found["dnsmos_ovrl"] == pytest.approx((4 * first + 3 * second) / 7)


def test_another_rate_is_resampled(one_stretch):
    tone = np.sin(2 * np.pi * 440 * np.arange(40000) / 8000).astype(np.float32)
    dnsmos.dnsmos(tone / 2, 8000)
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    assert np.abs(one_stretch[0][0][2000:14000] - expected[2000:14000]).max() < 1e-3


@pytest.mark.parametrize(("wave", "rate", "reason"), [(np.zeros(9), 16000, "silent"), (np.ones(9), 4000, "4000 Hz")])
def test_no_value(wave, rate, reason):
    with pytest.raises(MetricError, match=reason):
        dnsmos.dnsmos(wave, rate)


def test_one_session_in_a_process():
    path = onnx_models.file_of("speechmos", "dnsmos_models", "model_v8.onnx")
    assert onnx_models.session(path) is onnx_models.session(path)
    assert onnx_models.session(path).get_session_options().intra_op_num_threads == 1


@pytest.mark.parametrize("package", ["speechmos", "onnxruntime"])
def test_a_missing_package_is_a_status_and_the_other_metrics_go_on(monkeypatch, voice, package):
    onnx_models.session.cache_clear()
    monkeypatch.setitem(sys.modules, package, None)
    target = voice(1.5)[:, None]
    row = score(target + 0.01, target, target[:, 0], 8000, ["dnsmos", "si_sdr"], inputs={})
    assert (
        row["status"] == f'dnsmos: {package} is not installed, get it by pip install "path/to/clone[judges]" (source 1)'
    )
    assert row["si_sdr"] > 20 and np.isnan(row["dnsmos_ovrl"]) and np.isnan(row["dnsmos_ovrl_in"])


def test_input_and_output_stand_side_by_side(one_stretch, scene):
    estimates, targets, mix = scene(seconds=5)
    row = score(estimates, targets, mix, 8000, ["dnsmos"], inputs={})
    assert row["status"] == "ok" and row["dnsmos_p808"] == row["dnsmos_p808_in"] == 3.0
    assert len(one_stretch) == 6  # two networks; two estimates, and the mixture once for both


def test_a_file_that_is_gone_is_a_status():
    with pytest.raises(MetricError, match="this version of speechmos has no x.onnx"):
        onnx_models.file_of("speechmos", "dnsmos_models", "x.onnx")


def test_few_results_are_remembered():
    calls = []
    double = onnx_models.remembering(lambda x, rate: calls.append(1) or 2 * x[0])
    for number in [*range(100), 99, 0]:
        assert double(np.array([number]), 8000) == 2 * number
    assert len(calls) == 101
