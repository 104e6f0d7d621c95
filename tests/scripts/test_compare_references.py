"""The column "compared" says what the command finds, for every preset."""

import importlib.util
import math
import re
from pathlib import Path

import pytest

from lobes.models import list_models
from lobes.models.registry import preset_meta

SCRIPT = Path(__file__).parents[2] / "scripts" / "compare_references.py"
_SPEC = importlib.util.spec_from_file_location("compare_references", SCRIPT)
command = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(command)

COMPARED = [preset for preset in list_models() if preset_meta(preset)["compared"].startswith("equal")]


@pytest.mark.parametrize("preset", [preset for preset in list_models() if preset not in COMPARED])
def test_what_is_not_compared(preset):
    assert preset_meta(preset)["compared"] == command.compared(preset)


@pytest.mark.parametrize("preset", ["convtasnet_tiny", "dprnn_tiny", "sepformer_tiny"])
def test_small_networks_of_speechbrain(preset):
    assert preset_meta(preset)["compared"] == command.compared(preset) == "equal to its reference (error 0)"


@pytest.mark.parametrize("preset", ["mamba_tasnet_s", "dpmamba_s"])
def test_a_small_recorded_network(preset):
    golden = next(command.goldens(command.KNOWN[preset]))
    stated = float(re.search(r"error below (\S+)\)", preset_meta(preset)["compared"])[1])
    assert 0 < command.error_of_golden(command.KNOWN[preset], golden) <= stated <= 1e-9
    assert not command.is_of(preset, golden)


@pytest.mark.slow
@pytest.mark.parametrize("preset", COMPARED)
def test_what_is_compared(preset):
    assert preset_meta(preset)["compared"] == command.compared(preset)


def test_bounds_are_powers_of_ten():
    assert [command.bound(error) for error in (0.0, 1e-17, 3e-9)] == ["0", "below 1e-14", "below 1e-08"]
    assert math.isclose(command.LEAST, 1e-14)


def test_a_network_that_differs_is_not_equal(monkeypatch):
    from lobes.nnet.bimamba import AveragedBiMamba

    golden = next(command.goldens("mamba_tasnet"))
    monkeypatch.setattr(AveragedBiMamba, "share", 1.0)
    assert command.error_of_golden("mamba_tasnet", golden) > 0.01


def test_writing_changes_one_line(tmp_path, monkeypatch):
    from lobes import config

    path = config.preset_path("mbs_net")
    copy = tmp_path / "mbs_net.yaml"
    copy.write_text(path.read_text(encoding="utf-8").replace("a design of ours", "nothing known"), encoding="utf-8")
    monkeypatch.setattr(config, "preset_path", lambda preset: copy)
    command.write("mbs_net", "a design of ours")
    assert copy.read_text(encoding="utf-8") == path.read_text(encoding="utf-8")
