"""`lobes evaluate` on a run's own test set gives, item by item, what the recipe's test gave."""

import math
import sys

import pytest

from lobes import cli
from lobes.errors import exit_on_user_error
from lobes.runs.table import read_per_utterance

METRICS = ("si_sdr", "sdr", "pesq", "stoi")
SMALL = (
    "--device cpu --noprogressbar --batch_size 1 --max_steps 2 --num_workers 0 --precision fp32 --n_audio_to_save 1 "
    f"--scoring_workers 0 --training_signal_len 800 --test_metrics [{','.join(METRICS)}]"
).split()
TINY = "--preset convtasnet_tiny"
VOICEBANK = "--preset bs_bimamba_abl1_small --valid_speakers [p226] --metric_start null"
CASES = [
    ("PolSESS", "spmamba_tiny.yaml", f"{TINY} --task ES"),
    ("PolSESS", "spmamba_tiny.yaml", "--task EB"),
    ("PolSESS", "spmamba_tiny.yaml", f"{TINY} --task SB"),
    ("custom", "spmamba.yaml", TINY),
    ("LibriMix", "spmamba.yaml", TINY),
    ("WSJ0Mix", "spmamba.yaml", TINY),
    pytest.param("VoiceBank", "bsrnn_mini.yaml", VOICEBANK, marks=pytest.mark.slow),
]


@pytest.fixture
def evaluate(monkeypatch):
    """evaluate(*words): the command `lobes evaluate`, in this process."""

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["lobes", "evaluate", *map(str, words)])
        with exit_on_user_error(), pytest.raises(SystemExit) as stop:
            cli.main()
        return stop.value.code

    return call


@pytest.mark.parametrize("recipe, hparams, flags", CASES)
def test_the_command_gives_the_numbers_of_the_recipes_test(
    recipe, hparams, flags, train, evaluate, corpus, smallest_data, tmp_path
):
    data = corpus if recipe == "PolSESS" else smallest_data[recipe]
    run, out = tmp_path / "run", tmp_path / "out"
    folders = ("--data_folder", data, "--output_folder", run)
    train(recipe, f"hparams/{hparams}", *folders, *SMALL, *flags.split())
    words = [f"--metric={name}" for name in METRICS]
    manifest = run / "save" / "test.csv"
    assert evaluate(run, "--data", manifest, "--data-root", data, "-o", out, "--workers", 0, "--no-report", *words) == 0
    expected, got = (read_per_utterance(folder / "per_utterance.csv") for folder in (run, out))
    assert [row["id"] for row in got] == [row["id"] for row in expected] and expected
    for mine, theirs in zip(got, expected, strict=True):
        assert mine.keys() == theirs.keys()
        for name, value in theirs.items():
            same = mine[name] == value or (isinstance(value, float) and math.isnan(value) and math.isnan(mine[name]))
            assert same or abs(mine[name] - value) <= 1e-6, (name, mine[name], value)
