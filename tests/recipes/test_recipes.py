"""Every recipe file loads, trains two steps, validates, tests, exports and loads again: a row of recipes.csv each.

And the keys: what a file sets is read by somebody, what a script reads is set.
"""

import csv
import json
import re
from pathlib import Path

import pytest
import torch

from lobes.config import load, read_layers, read_preset, resolve
from lobes.inference import Separator, export_pretrained
from lobes.models import list_models
from lobes.runs.folder import read_run

ROOT = Path(__file__).parents[2]
with (ROOT / "tests" / "recipes.csv").open(newline="") as file:
    ROWS = list(csv.DictReader(file))
FILES = [ROOT / "recipes" / row["recipe"] / "hparams" / row["hparams"] for row in ROWS]
# What a run of two steps on a second of audio needs, beside the data.
SHORT = {
    "PolSESS": ["--task", "SB", "--training_signal_len", 800],
    **dict.fromkeys(("LibriMix", "WSJ0Mix", "custom"), ["--training_signal_len", 800]),
    "VoiceBank": ["--valid_speakers", "[p226]", "--training_signal_len", 2000, "--metric_start", "null"],
}
COMMON = (
    "--device cpu --noprogressbar --max_steps 2 --N_epochs 9 --batch_size 1 --num_workers 0 --precision fp32 "
    "--test_metrics [si_sdr] --n_audio_to_save 0 --scoring_workers 0"
).split()
# Options of SpeechBrain's Brain, which it takes from hparams by itself.
OF_THE_BRAIN = {"noprogressbar", "precision", "eval_precision", "max_grad_norm", "grad_accumulation_factor"}
OF_THE_BRAIN |= {"nonfinite_patience", "ckpt_interval_minutes"}

# Forms for comparisons, and a size for 16 kHz.
NOT_TRAINED = {f"bs_bimamba_abl{number}_published" for number in (1, 2, 3)}
NOT_TRAINED |= {"mbs_net_causal", "mbs_net_dual", "spmamba_16k"}


def chosen(path):
    """The preset that a file names, itself or through its bases."""
    return [layer.keys["preset"] for layer in read_layers(path) if "preset" in layer.keys][-1]


def names(rows):
    return ["-".join([row["recipe"], row["hparams"].removesuffix(".yaml"), row["preset"]]).rstrip("-") for row in rows]


def marked(row):
    return pytest.param(row, marks=[pytest.mark.slow] if row["speed"] == "slow" else [])


def test_the_table_has_a_row_for_every_file():
    found = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("recipes/*/hparams/*.yaml"))
    assert sorted({path.relative_to(ROOT).as_posix() for path in FILES}) == found


def test_every_preset_is_trained_by_some_row():
    trained = {row["preset"] or chosen(path) for row, path in zip(ROWS, FILES, strict=True)}
    assert trained == set(list_models()) - NOT_TRAINED


@pytest.mark.parametrize("row", [marked(row) for row in ROWS], ids=names(ROWS))
def test_two_steps_then_export(row, train, smallest_data, tmp_path):
    recipe, run = row["recipe"], tmp_path / "run"
    data = ["--data_folder", smallest_data[recipe], "--output_folder", run]
    preset = ["--preset", row["preset"]] if row["preset"] else []
    train(recipe, f"hparams/{row['hparams']}", *data, *SHORT[recipe], *COMMON, *preset)
    assert json.loads((run / "train_time.json").read_text())["steps"] == 2
    assert json.loads((run / "summary.json").read_text())["n"] == 1
    exported = export_pretrained(run, tmp_path / "exported")
    mix = torch.randn(1, 1500, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(Separator.from_hparams(exported).separate_batch(mix), read_run(run).model(mix))


@pytest.mark.parametrize("path", sorted(set(FILES)), ids=lambda path: f"{path.parents[1].name}-{path.stem}")
def test_a_file_keeps_to_its_script(path, tmp_path):
    """Keys agree both ways."""
    text = resolve(path, f"data_folder: x\noutput_folder: {tmp_path}")
    keys = set(re.findall(r"^(\w+):", text, flags=re.MULTILINE))
    script = (path.parents[1] / "train.py").read_text()
    script += (ROOT / "lobes" / "training" / "mixtures.py").read_text()
    wanted = set(re.findall(r"hparams\[[\"'](\w+)[\"']\]|self\.hparams\.(\w+)", script))
    wanted = {name for pair in wanted for name in pair if name}
    if path.parents[1].name == "VoiceBank":  # it has a Brain and datasets of its own
        wanted -= {"clamp_db", "num_spks"}
    assert wanted <= keys, f"train.py reads {wanted - keys}, which {path.name} does not set"
    readers = script + "".join(p.read_text() for p in (ROOT / "lobes" / "training").glob("*.py"))
    files = "".join(p.read_text() for p in [*path.parent.glob("*.yaml"), *(ROOT / "hparams_shared").glob("*.yaml")])
    network = read_preset(chosen(path)).options
    unread = {
        key for key in keys - wanted - OF_THE_BRAIN - {*network} if f"<{key}>" not in files and key not in readers
    }
    assert not unread - {"__set_seed"}, f"nobody reads {unread}"


@pytest.mark.parametrize("row", ROWS, ids=names(ROWS))
def test_the_mambas_start_as_they_should(row, tmp_path):
    path = ROOT / "recipes" / row["recipe"] / "hparams" / row["hparams"]
    preset = row["preset"] or chosen(path)
    text = resolve(path, f"data_folder: x\noutput_folder: {tmp_path}\npreset: {preset}")
    model = load(text)["modules"]["separator"]
    steps = [torch.nn.functional.softplus(p) for name, p in model.named_parameters() if name.endswith("dt_proj.bias")]
    assert all(bool((step >= 0.99e-3).all() and (step <= 1.01e-1).all()) for step in steps)
    assert bool(steps) == any(word in preset for word in ("mamba", "mbs_net"))
