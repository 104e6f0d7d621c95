"""Every row of recipes.csv trains, validates, tests, exports and loads again; some rows must also have learnt.

Columns: recipe, hparams, preset (empty: that of the file), speed (slow rows run in .ci/run and `make test-slow`), flags
of the command line, expected files of the run folder, learns: the SI-SDRi in dB that the test must exceed.
"""

import csv
import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from lobes import config
from lobes.inference import Separator, export_pretrained
from lobes.models import list_models
from lobes.nnet.level import fit_level
from lobes.runs.folder import read_run

ROOT = Path(__file__).parents[2]
with (ROOT / "tests" / "recipes.csv").open(newline="") as file:
    ROWS = list(csv.DictReader(file))
SHORT = [row for row in ROWS if not row["learns"]]
LEARNING = [row for row in ROWS if row["learns"]]
COMMON = (
    "--device cpu --noprogressbar --N_epochs 99 --batch_size 1 --num_workers 0 --precision fp32 "
    "--test_metrics [si_sdr] --n_audio_to_save 0 --scoring_workers 0"
).split()

# Forms for comparisons, and a size for 16 kHz.
NOT_TRAINED = {f"bs_bimamba_abl{number}_published" for number in (1, 2, 3)}
NOT_TRAINED |= {"bsrnn_causal", "mbs_net_causal", "mbs_net_dual", "spmamba_16k"}
# Read for the objective `compressed` alone; or not read from the file where the command line sets them.
CONDITIONAL = {"loss_weights", "noprogressbar", "precision", "pretrained_revision"}


def path_of(row):
    return ROOT / "recipes" / row["recipe"] / "hparams" / row["hparams"]


def chosen(row):
    """The preset of a row: its own, or that of the file and its bases."""
    named = [layer.keys["preset"] for layer in config.read_layers(path_of(row)) if "preset" in layer.keys]
    return row["preset"] or named[-1]


def cases(rows):
    name = lambda row: "-".join([row["recipe"], Path(row["hparams"]).stem, row["preset"]]).rstrip("-")  # noqa: E731
    marks = {"slow": [pytest.mark.slow], "fast": []}
    return [pytest.param(row, marks=marks[row["speed"]], id=name(row)) for row in rows]


def arguments(row, data, run):
    preset = ["--preset", row["preset"]] if row["preset"] else []
    folders = ["--data_folder", data, "--output_folder", run]
    return [f"hparams/{row['hparams']}", *folders, *COMMON, *row["flags"].split(), *preset]


def test_the_table_has_a_row_for_every_file():
    found = sorted(ROOT.glob("recipes/*/hparams/*.yaml"))
    assert sorted({path_of(row) for row in ROWS}) == found


def test_every_preset_is_trained_by_some_row():
    assert {chosen(row) for row in ROWS} == set(list_models()) - NOT_TRAINED


@pytest.fixture
def reads(monkeypatch):
    """The keys of hparams that are read during a run, by the recipe, the Brain and SpeechBrain."""
    names = set()

    class Hparams(dict):
        def __getitem__(self, name):
            names.add(name)
            return super().__getitem__(name)

    class Namespace(SimpleNamespace):
        def __getattribute__(self, name):
            names.add(name)
            return super().__getattribute__(name)

    load = config.load
    monkeypatch.setattr(config, "load", lambda text: Hparams(load(text)))
    monkeypatch.setattr("speechbrain.core.SimpleNamespace", Namespace)
    return names


def unread(row, reads, run):
    """Keys of a run's file that neither code reads nor another key refers to."""
    keys = set(re.findall(r"^(\w+):", (run / "hyperparams.yaml").read_text(), flags=re.MULTILINE))
    layers = config.read_layers(path_of(row))
    referred = set(re.findall(r"<(\w+)[>\[]", "".join(layer.path.read_text() for layer in layers)))
    return keys - reads - referred - set(config.read_preset(chosen(row)).options) - CONDITIONAL - {"__set_seed"}


# A model's card takes these from the file.
OF_THE_CARD = {"task_description", "limits"}


@pytest.mark.parametrize("row", cases(SHORT))
def test_two_steps_then_export(row, train, smallest_data, tmp_path, reads):
    run = tmp_path / "run"
    train(row["recipe"], *arguments(row, smallest_data[row["recipe"]], run))
    assert not unread(row, reads, run) - OF_THE_CARD, "a key that nobody reads"
    missing = [name for name in row["expected"].split() if not (run / name).is_file()]
    assert not missing
    assert json.loads((run / "train_time.json").read_text())["steps"] == 2
    assert json.loads((run / "summary.json").read_text())["n"] == 1
    exported = export_pretrained(run, tmp_path / "exported")
    mix = torch.randn(1, 1500, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():  # all of it: some processors have another LSTM where gradients may be wanted
        expected = read_run(run).model(mix)
        assert torch.equal(Separator.from_hparams(exported, level="model").separate_batch(mix), expected)
        assert torch.equal(Separator.from_hparams(exported).separate_batch(mix), fit_level(expected, mix))


@pytest.mark.parametrize("row", cases(LEARNING))
def test_a_short_training_learns(row, train, learnable, tmp_path):
    run = tmp_path / "run"
    train(row["recipe"], *arguments(row, learnable[row["recipe"]], run))
    gain = json.loads((run / "summary.json").read_text())["mean"]["si_sdri"]
    assert gain > float(row["learns"])


@pytest.mark.parametrize("row", cases(SHORT))
def test_the_mambas_start_as_they_should(row, tmp_path):
    preset = chosen(row)
    text = config.resolve(path_of(row), {"data_folder": "x", "output_folder": str(tmp_path), "preset": preset})
    model = config.load(text)["modules"]["separator"]
    steps = [torch.nn.functional.softplus(p) for name, p in model.named_parameters() if name.endswith("dt_proj.bias")]
    assert all(bool((step >= 0.99e-3).all() and (step <= 1.01e-1).all()) for step in steps)
    assert bool(steps) == any(word in preset for word in ("mamba", "mbs_net"))
