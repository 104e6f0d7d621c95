"""A run that goes on: what changes does so and is recorded, what cannot is refused before anything is touched."""

import csv
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from ruamel.yaml import YAML

from lobes import cli
from lobes.errors import UserError
from lobes.inference import export_pretrained
from lobes.runs.continuation import ADDED, admit
from lobes.runs.folder import read_run

TINY = {
    "preset": "convtasnet_tiny", "device": "cpu", "precision": "fp32", "num_workers": 0, "warmup_steps": 0,
    "test_metrics": "[si_sdr]", "n_audio_to_save": 0, "batch_size": 1, "training_signal_len": 4000, "lr": 0.001,
    "N_epochs": 1,
}  # fmt: skip


def bytes_of(folder):
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def curve(run):
    with (run / "learning_curve.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def starts(run):
    return [json.loads(line) for line in (run / "starts.jsonl").read_text().splitlines()]


def value_of(run, key):
    return YAML().load((run / "hyperparams.yaml").read_text())[key]


@pytest.fixture
def go(train, smallest_data):
    """go(run, lr=0.1): the recipe for mixtures of one's own with an option set otherwise, or None not typed."""

    def call(run, *flags, recipe="custom", hparams="spmamba", **options):
        options = {"data_folder": smallest_data[recipe], "output_folder": run, **TINY, **options}
        words = [word for key, value in options.items() if value is not None for word in (f"--{key}", value)]
        train(recipe, f"hparams/{hparams}.yaml", *words, "--noprogressbar", *flags)

    return call


@pytest.fixture(scope="session")
def kept(tmp_path_factory):
    return tmp_path_factory.mktemp("finished") / "run"


@pytest.fixture
def run(go, kept, tmp_path):
    """A finished run of two steps, in a copy of its own."""
    if not kept.is_dir():
        go(kept)
    shutil.copytree(kept, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def refused(go, capsys):
    """refused(run, *flags, **options): the one line with which a command ends that leaves every byte as it was."""

    def call(run, *flags, **options):
        before = bytes_of(run)
        with pytest.raises(SystemExit) as stop:
            go(run, *flags, **options)
        assert stop.value.code == 2 and bytes_of(run) == before
        [line] = capsys.readouterr().err.strip().splitlines()
        return line

    return call


@pytest.mark.parametrize("batch_size, epochs, steps", [(2, 3, 3), pytest.param(1, 2, 2, marks=pytest.mark.slow)])
def test_t2_61_fewer_batches_than_a_window_train_and_are_tested(go, tmp_path, batch_size, epochs, steps):
    go(tmp_path / "run", batch_size=batch_size, grad_accumulation_factor=4, N_epochs=epochs, max_steps=5)
    assert [int(row["step"]) for row in curve(tmp_path / "run")] == list(range(1, steps + 1))
    assert all(float(row["grad_norm"]) > 0 for row in curve(tmp_path / "run"))
    assert value_of(tmp_path / "run", "grad_accumulation_factor") == 4


def test_t2_62_another_learning_rate_is_used_and_recorded(go, run, capsys):
    go(run, lr=0.05, N_epochs=3, batch_size=2)
    assert [(row["step"], float(row["lr"])) for row in curve(run)] == [("2", 0.001), ("3", 0.05), ("4", 0.05)]
    assert value_of(run, "lr") == 0.05 and value_of(run, "batch_size") == 2
    first, second = starts(run)
    assert (first["step"], first["changed"]) == (0, {}) and second["step"] == 2
    assert second["changed"]["lr"] == [0.001, 0.05] and second["changed"]["N_epochs"] == [1, 3]
    assert "--lr 0.05" in second["command"] and second["recipe"] == "custom"
    assert "from here on with lr: 0.05 (0.001 before)" in capsys.readouterr().out


OTHER_RUNS = {
    "sources": ({"num_spks": 1}, "num_spks: 2 there, 1 now"),
    "network": ({"preset": "dprnn_tiny"}, "preset: convtasnet_tiny there, dprnn_tiny now"),
    "a size of the network": ({"X": 3}, "X: 6 there, 3 now"),
    "rate": ({"sample_rate": 16000}, "sample_rate: 8000 there, 16000 now"),
    "seed": ({"seed": 2}, "seed: 1234 there, 2 now"),
    "loss": ({"clamp_db": 20.0}, "clamp_db: 30.0 there, 20.0 now"),
    "clips": ({"training_signal_len": 2000}, "training_signal_len: 4000 there, 2000 now"),
}


@pytest.mark.parametrize("name", OTHER_RUNS)
def test_t2_63_F23_another_run_is_refused_before_anything_is_touched(name, refused, run):
    options, words = OTHER_RUNS[name]
    line = refused(run, N_epochs=2, **options)
    assert words in line and str(run) in line


@pytest.mark.parametrize(
    "options, words",
    [({"lr": 0.1}, "lr: 0.001 there, 0.1 now"), ({"max_steps": 1}, "max_steps: null there, 1 now")],
)
def test_an_option_that_no_step_would_use_is_refused(refused, run, options, words):
    assert words in refused(run, **options)


def test_t2_63_the_run_still_separates_after_the_refusal(refused, run, smallest_data, tmp_path, monkeypatch):
    refused(run, num_spks=1)
    mix = next((smallest_data["custom"] / "test" / "mix").iterdir())
    monkeypatch.setattr("sys.argv", ["lobes", "separate", str(run), str(mix), "-o", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert not stop.value.code
    assert len(list((tmp_path / "out").iterdir())) == 2


@pytest.mark.parametrize("key, value", [*ADDED.items(), ("pretrained_revision", "null")])
def test_a_key_that_an_earlier_version_lacked_is_no_other_run(key, value, tmp_path):
    base = f"output_folder: {tmp_path}\nsave_folder: {tmp_path}/save\n"
    (tmp_path / "hyperparams.yaml").write_text(f"# command: x\n{base}")
    (tmp_path / "summary.json").write_text("{}")
    assert not admit(f"{base}{key}: {value}\n", "recipes/custom/train.py").changed
    with pytest.raises(UserError, match=f"{key}: absent there, 0.5 now"):
        admit(f"{base}{key}: 0.5\n", "recipes/custom/train.py")


def test_blocks_that_speechbrain_gave_are_no_other_network(tmp_path):
    base, sizes = f"output_folder: {tmp_path}\nsave_folder: {tmp_path}/save\nblock: ", "input_size: 8, dropout: 0"
    old = "!new:speechbrain.lobes.models.dual_path.SBRNNBlock"
    (tmp_path / "hyperparams.yaml").write_text(f"# command: x\n{base}{old} {{{sizes}}}\n")
    (tmp_path / "summary.json").write_text("{}")

    def go_on(mixer):
        return admit(f"{base}!new:lobes.exported.RNNBlock {{{sizes}, mixer: {mixer}}}\n", "recipes/custom/train.py")

    assert not go_on("null").changed
    with pytest.raises(UserError, match="mixer: absent there, xlstm now"):
        go_on("xlstm")


def test_a_sepformer_that_was_trained_before_dropout_was_an_option_goes_on(go, tmp_path):
    run, options = tmp_path / "run", {"preset": "sepformer_tiny", "N": 16, "d_ffn": 32, "K": 50}
    go(run, **options)
    path = run / "hyperparams.yaml"
    before = path.read_text()
    path.write_text("".join(line for line in before.splitlines(True) if not line.startswith("dropout:")))
    assert path.read_text() != before
    go(run, **options, N_epochs=2)
    assert starts(run)[-1]["changed"] == {"N_epochs": [1, 2]}


def test_other_data_and_another_recipe_are_refused(refused, run, smallest_data, tmp_path):
    shutil.copytree(smallest_data["custom"], tmp_path / "other")
    line = refused(run, data_folder=tmp_path / "other")
    assert f"data_folder: {smallest_data['custom']} there, {tmp_path / 'other'} now" in line
    assert "recipes/custom" in refused(run, recipe="WSJ0Mix") and value_of(run, "preset") == "convtasnet_tiny"


@pytest.mark.slow
def test_the_same_data_by_another_name_are_no_other_data(go, run, smallest_data, tmp_path):
    (tmp_path / "link").symlink_to(smallest_data["custom"])
    go(run, data_folder=tmp_path / "link")


def test_a_test_alone_takes_the_options_of_the_training_but_for_those_of_the_test(go, refused, run):
    assert "lr: 0.001 there, 0.1 now" in refused(run, "--test_only", lr=0.1)
    before = (run / "hyperparams.yaml").read_text().splitlines()
    go(run, "--test_only", test_metrics="[si_sdr,sdr]", lr=None, N_epochs=None, batch_size=None)
    assert (run / "hyperparams.yaml").read_text().splitlines()[:3] == before[:3]  # the command of the training
    values = [value_of(run, key) for key in ("lr", "N_epochs", "batch_size", "test_metrics", "output_folder")]
    assert values == [0.001, 1, 1, ["si_sdr", "sdr"], str(run)]


def test_debug_writes_into_a_folder_of_its_own(go, run, capsys):
    before = bytes_of(run)
    go(run, "--debug", lr=0.1, num_spks=2, N_epochs=9)
    assert bytes_of(run) == before
    said = capsys.readouterr().out
    folder = Path(said.rpartition("debug: what was written is in ")[2].partition(";")[0])
    assert len(curve(folder)) == 2 and "min of training left" not in said
    shutil.rmtree(folder)


def test_a_finished_run_called_again_is_only_tested(go, run):
    before = {name: (run / name).read_bytes() for name in ("learning_curve.csv", "train_time.json", "summary.json")}
    go(run)
    assert before == {name: (run / name).read_bytes() for name in before}
    assert [start["trains"] for start in starts(run)] == [True, False]


def test_a_copied_run_goes_on_in_its_own_place(go, run, kept):
    before = bytes_of(kept)
    go(run, N_epochs=2)
    assert [row["step"] for row in curve(run)] == ["2", "4"]
    assert value_of(run, "output_folder") == str(run) and bytes_of(kept) == before
    read_run(run)


def test_a_run_that_was_stopped_before_its_first_checkpoint_may_start_with_other_options(go, run):
    for path in (*run.glob("save/CKPT*"), *run.glob("*.json"), run / "per_utterance.csv"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    go(run, seed=2)
    assert value_of(run, "seed") == 2 and [row["step"] for row in curve(run)] == ["2"]


def test_folders_of_something_else_are_not_written_to(refused, run, tmp_path):
    export_pretrained(run, tmp_path / "exported")
    assert "hyperparams.yaml" in refused(tmp_path / "exported")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "train.py").write_text("print('my own')")
    assert "train.py" in refused(tmp_path / "mine")
    line = refused(run, output_folder=tmp_path / "new", save_folder=run / "save")
    assert "CKPT" in line and not (tmp_path / "new").exists()


def test_a_test_of_nothing_leaves_no_folder(refused, run, tmp_path):
    assert "no checkpoint" in refused(run, "--test_only", output_folder=tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_no_step_is_one_line_and_no_random_weights_are_tested(go, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        go(tmp_path / "run", max_minutes=1e-9)
    assert stop.value.code == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    assert "without a step" in line and "max_minutes" in line
    assert not (tmp_path / "run" / "summary.json").exists() and not list(tmp_path.glob("run/save/CKPT*"))


def test_the_last_lines_say_where_the_results_are_and_what_comes_next(go, tmp_path, capsys):
    go(tmp_path / "my run")
    lines = capsys.readouterr().out.splitlines()[-4:]
    quoted = f"'{tmp_path / 'my run'}'"
    assert lines[0] == f"results in {quoted}: summary.json, per_utterance.csv, learning_curve.csv"
    assert lines[2].split(maxsplit=2) == ["lobes", "separate", f"{quoted} FILE -o out"]
    assert lines[3].split(maxsplit=2) == ["lobes", "export", f"{quoted} exported"]


def test_the_epoch_that_had_begun_starts_again_with_batches_of_another_size(go, run, monkeypatch):
    from lobes.training.brain import SeparationBrain

    class Stopped(Exception):
        pass

    def stop(brain, *_):
        brain.checkpointer.save_checkpoint(end_of_epoch=False)
        raise Stopped

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(SeparationBrain, "on_fit_batch_end", stop)
        go(run, N_epochs=2)
    go(run, N_epochs=2, batch_size=2)
    assert [(row["epoch"], row["step"]) for row in curve(run)] == [("1", "2"), ("2", "4")]


def test_speechbrains_lstms_train_in_bf16_on_any_processor(go, tmp_path, monkeypatch):
    monkeypatch.setattr("lobes.nnet.lstm.runs_in_bf16", lambda: False)
    seen = set()
    forward = torch.nn.LSTM.forward

    def watched(lstm, x, hx=None):
        seen.add((type(lstm).__name__, x.dtype, torch.is_autocast_enabled("cpu")))
        return forward(lstm, x, hx)

    monkeypatch.setattr(torch.nn.LSTM, "forward", watched)
    go(tmp_path / "run", preset="dprnn_tiny", precision="bf16")
    assert seen == {("LSTM", torch.float32, False)}


@pytest.fixture
def other_training(run):
    """A process that trains in the folder, as far as its lock goes."""
    code = (
        "import sys; from lobes.runs.lock import hold; lock = hold(sys.argv[1]); print(1, flush=True); sys.stdin.read()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", code, str(run)], **pipes)
    process.stdout.readline()
    yield process
    process.kill()
    process.communicate()


def test_FX3_a_second_training_is_refused_before_anything_is_touched(refused, run, other_training):
    assert f"{run}: another training runs in this folder" in refused(run, N_epochs=2)
    assert "another training" in refused(run)
    read_run(run)


@pytest.mark.slow
def test_FX3_a_test_reads_next_to_a_training_and_a_killed_one_is_no_obstacle(go, run, other_training):
    go(run, "--test_only", lr=None, N_epochs=None, batch_size=None)
    other_training.kill()
    other_training.wait()
    go(run, N_epochs=2)
    assert [row["step"] for row in curve(run)] == ["2", "4"]


@pytest.mark.parametrize("what", ["CKPT.yaml", "separator.ckpt", "counter.ckpt"])
def test_F13_a_run_without_a_usable_checkpoint_is_refused_before_anything_is_touched(what, refused, run):
    for path in run.glob(f"save/CKPT*/{what}"):
        path.unlink()
    for options in ({"N_epochs": 2}, {}):
        line = refused(run, **options)
        assert "no checkpoint can be used" in line and f"{what} is missing" in line
    assert "no checkpoint can be used" in refused(run, "--test_only", lr=None, N_epochs=None, batch_size=None)


@pytest.mark.slow
def test_F12_a_damaged_newest_checkpoint_is_set_aside_and_the_older_one_goes_on(go, run, tmp_path, capsys):
    [first] = run.glob("save/CKPT+*")
    shutil.copytree(first, tmp_path / "first")
    go(run, N_epochs=2)
    newest = max(run.glob("save/CKPT+*"), key=lambda path: int((path / "counter.ckpt").read_text()))
    if not first.exists():
        shutil.copytree(tmp_path / "first", first)
    expected = (newest / "separator.ckpt").read_bytes()
    (newest / "dataloader-TRAIN.ckpt").unlink()
    capsys.readouterr()
    go(run, N_epochs=2)
    said = capsys.readouterr().out
    assert "dataloader-TRAIN.ckpt is missing" in said and f"{first.name} of step 2 is used instead" in said
    assert [row["step"] for row in curve(run)] == ["2", "4"] and (run / "save" / f"BAD+{newest.name}").is_dir()
    assert expected in [(path / "separator.ckpt").read_bytes() for path in run.glob("save/CKPT+*")]
