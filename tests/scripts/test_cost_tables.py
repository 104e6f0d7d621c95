"""What a training costs: the tables of docs/costs.md are those of the command, and follow from the page's formulas."""

import importlib
import json
import sys
from pathlib import Path

import pytest

from lobes.config.recipe_folders import all_recipes, recipe_files
from lobes.models import list_models

ROOT = Path(__file__).parents[2]


@pytest.fixture
def command(monkeypatch):
    """The script, and the modules that lie next to it."""
    monkeypatch.syspath_prepend(ROOT / "scripts")
    for name in ("cost_tables", "model_cards", "model_tables", "flow_pictures"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module("cost_tables")


@pytest.fixture
def costs(command):
    """Of two networks: 10 and 2 GMAC for a second of audio, 2^26 parameters each; `small` has steps of a processor."""
    models = {name: {"GMAC/s": gmacs, "Parameters": f"{2**26:,}"} for name, gmacs in (("large", "10"), ("small", "2"))}
    models[command.KNOWN] = {"GMAC/s": "50", "Parameters": "1"}
    common = {"preset": "small", "precision": "fp32", "checkpointing": False}
    rows = [
        {**common, "seconds": 1.0, "wall_median": 0.5, "peak_megabytes": 1024.0},
        {**common, "seconds": 4.0, "wall_median": 1.5, "peak_megabytes": 4096.0},
        {**common, "seconds": 4.0, "wall_median": 9.0, "peak_megabytes": 9.0, "checkpointing": True},
        {**common, "preset": "large", "seconds": 1.0, "wall_median": 2.0, "peak_megabytes": 2048.0},
        {**common, "preset": "large", "seconds": 4.0, "failed": "killed: out of memory?"},
    ]
    return command.Costs(models, {"rows": rows})


def test_the_tables_are_what_the_command_writes(command):
    costs = command.Costs(command.model_rows(), json.loads(command.STEPS.read_text(encoding="utf-8")))
    page = command.PAGE.read_text(encoding="utf-8")
    for name, text in (("recipe-costs", costs.of_recipes()), ("preset-costs", costs.of_presets())):
        shown = page.split(f"<!-- {name}:begin -->\n")[1].split(f"\n<!-- {name}:end -->")[0]
        assert shown == text, "write it again: python scripts/cost_tables.py"
    assert f"**{costs.rate / 1e12:.1f} TMAC in a second**" in page
    assert f"3 x {costs.gmacs[command.KNOWN]:g} GMAC/s x 108,000 s = {7200 * costs.rate / 1e15:.1f} PMAC" in page


def test_every_recipe_file_and_every_preset_has_a_row(command):
    page = command.PAGE.read_text(encoding="utf-8")
    files = [f"{name}/{path.name}" for name, folder in all_recipes().items() for path in recipe_files(folder)]
    assert len(files) > 10 and all(f"\n| `{file}` |" in page for file in files)
    assert all(f"\n| `{preset}` |" in page for preset in list_models())


def test_predictions_follow_from_the_formulas_of_the_page(command, costs):
    """Two examples of 3 s at once, four in a step: 3 x 2 GMAC/s x 3 s x 4; 1 GB of parameters and 1 GB a second."""
    one = command.Training("small", batch=4, at_once=2, seconds=3.0, precision="fp32", epochs=1)
    assert costs.macs(one) == 72e9 and costs.gigabytes(one) == 1 + 6.0
    assert costs.rate == 3 * 50e9 * 15 and costs.steps_a_second(one) == command.MOST_STEPS
    assert costs.steps_a_second(one._replace(preset="large", batch=40)) == costs.rate / (3 * 10e9 * 3 * 40)


def test_what_was_not_measured_is_not_predicted(command, costs):
    large = command.Training("large", 1, 1, 4.0, "bf16", 1)
    assert costs.gigabytes(large) is None and costs.predicted(large)[1] == "not predicted"
    assert costs.measured("large", "fp32").wall == {1.0: 2.0}
    assert costs.measured("small", "bf16").precision == "fp32"  # the one that is known


def test_whole_mixtures_are_as_long_as_those_of_the_set(command):
    path = ROOT / "recipes" / "WSJ0Mix" / "hparams" / "sepformer_dm.yaml"
    assert command.training_of(path, None, "WSJ0Mix").seconds == pytest.approx(5.4)
    assert command.training_of(path.with_name("spmamba.yaml"), "dprnn", "WSJ0Mix")[:3] == ("dprnn", 2, 2)
