"""The best checkpoint of a run, and its network."""

from __future__ import annotations

import itertools
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from lobes.errors import UserError
from lobes.inference import export_pretrained
from lobes.runs import folder as folder_module
from lobes.runs.checkpoints import read_meta, write_meta
from lobes.runs.fine_tune import weights_of
from lobes.runs.folder import best_checkpoint, read_run

MakeRun = Callable[..., Path]


@pytest.mark.parametrize("scores", list(itertools.permutations([-7.0, -5.0, math.nan])))
def test_highest_score_wins_and_nan_is_the_worst(make_run: MakeRun, scores: tuple[float, ...]):
    best = best_checkpoint(make_run(scores=scores))
    assert best.meta["si_sdri"] == -5.0
    assert best.folder.name == f"CKPT+{scores.index(-5.0) + 1}"


@pytest.mark.parametrize("other", [None, math.nan, -math.inf, math.inf])
def test_any_number_beats_none(make_run: MakeRun, other: float | None):
    assert best_checkpoint(make_run(scores=(other, -99.0, other))).meta["si_sdri"] == -99.0


def test_newest_among_equals_and_a_note_without_scores(make_run: MakeRun, caplog: pytest.LogCaptureFixture):
    run = make_run(scores=(None, None))
    for number, time in (("1", 200.0), ("2", 100.0)):
        (run / "save" / f"CKPT+{number}" / "CKPT.yaml").write_text(f"unixtime: {time}\n")
    assert best_checkpoint(run).folder.name == "CKPT+1"
    assert "no checkpoint has a validation si_sdri" in caplog.text


@pytest.mark.parametrize("damage", ["meta empty", "meta half", "no weights", "no meta"])
def test_a_write_that_was_cut_off_is_left_out(make_run: MakeRun, damage: str):
    run = make_run(scores=(1.0, 9.0))
    broken = run / "save" / "CKPT+2"
    if damage == "meta empty":
        (broken / "CKPT.yaml").write_text("")
    elif damage == "meta half":
        (broken / "CKPT.yaml").write_text("unixti")
    elif damage == "no weights":
        (broken / "separator.ckpt").unlink()
    else:
        (broken / "CKPT.yaml").unlink()
    assert best_checkpoint(run).folder.name == "CKPT+1"


def test_no_checkpoint_is_an_error(make_run: MakeRun):
    with pytest.raises(UserError, match="save: no usable checkpoint"):
        best_checkpoint(make_run(scores=()))


def test_network_has_the_best_weights_and_evaluates(make_run: MakeRun):
    run = read_run(make_run(scores=(1.0, 3.0, 2.0)))
    expected = torch.load(run.checkpoint.folder / "separator.ckpt", weights_only=True)
    assert run.checkpoint.folder.name == "CKPT+2"
    assert torch.equal(run.model.conv.weight, expected["conv.weight"])
    assert not run.model.training and not any(p.requires_grad for p in run.model.parameters())
    assert (run.num_sources, run.sample_rate) == (2, 8000)


@pytest.mark.parametrize("when", ["fault_of", "load_strictly"])
def test_a_best_checkpoint_that_a_training_replaces_while_it_is_read_is_no_error(when, make_run, monkeypatch):
    run = make_run(scores=(1.0, 2.0))
    function = getattr(folder_module, when)

    def replaced_first(*words, **options):
        shutil.rmtree(run / "save" / "CKPT+2", ignore_errors=True)
        return function(*words, **options)

    monkeypatch.setattr(folder_module, when, replaced_first)
    assert read_run(run).checkpoint.meta["si_sdri"] == 1.0


def test_only_the_separator_is_made(make_run: MakeRun):
    """The rest of the file would run code: data sets, loggers, here a folder."""
    run = make_run()
    path = run / "hyperparams.yaml"
    path.write_text(path.read_text() + f"other: !apply:os.mkdir ['{run / 'canary'}']\n")
    read_run(run)
    assert not (run / "canary").exists()


def test_shared_parts_tuples_names_and_arguments_survive(make_run: MakeRun):
    separator = """!new:lobes_test_stand_in.Tiny
        num_sources: !ref <num_spks>
        kernel: (5, 7)
        activation: !name:torch.nn.Hardtanh {min_val: -0.5}
        inner: [!ref <shared>, !new:torch.nn.ReLU , !ref <shared>]  # one object twice, made elsewhere"""
    model = read_run(make_run(separator)).model
    assert model.conv.kernel_size == (5,)
    assert isinstance(model.activation, nn.Hardtanh) and model.activation.min_val == -0.5
    assert model.inner[0] is model.inner[2] and isinstance(model.inner[1], nn.ReLU)


def test_yaml_of_the_network_carries_no_foreign_comment(make_run: MakeRun):
    separator = "!new:lobes_test_stand_in.Tiny\n        num_sources: 2  # both speakers\n        kernel: (3, 4)"
    run = make_run(separator)
    assert "# ---- optimiser" in (run / "hyperparams.yaml").read_text()
    assert "#" not in read_run(run).model_yaml


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Tiny {", "Tyni {", "it wants to run lobes_test_stand_in.Tyni"),
        ("num_sources", "num_scources", "the separator cannot be made.*num_scources"),
        ("separator: *", "generator: *", "no `modules: separator:`"),
        ("seed: 7", "seed: [7", "no valid YAML"),
    ],
)
def test_a_wrong_file_is_named(run: Path, old: str, new: str, message: str):
    path = run / "hyperparams.yaml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(UserError, match=rf"hyperparams.yaml(, line \d+)?: {message}"):
        read_run(run)


def test_folder_without_hyperparams(tmp_path: Path):
    with pytest.raises(UserError, match="no hyperparams.yaml, so no run folder"):
        read_run(tmp_path)


def test_weights_that_are_not_finite_are_refused(run: Path):
    path = run / "save" / "CKPT+1" / "separator.ckpt"
    state = torch.load(path, weights_only=True)
    state["conv.weight"][0, 0, 0] = torch.nan
    torch.save(state, path)
    with pytest.raises(UserError, match="1 tensors are not finite, the first is conv.weight"):
        read_run(run)


@pytest.mark.parametrize("way", ["bit", "cut"])
def test_F12_weights_that_are_not_as_they_were_written_are_refused_by_name(way: str, make_run: MakeRun, tmp_path: Path):
    run = make_run(scores=(1.0, 3.0))
    best = run / "save" / "CKPT+2"
    write_meta(best, read_meta(best))
    assert read_run(run).checkpoint.folder == best
    content = (best / "separator.ckpt").read_bytes()
    place = len(content) - 300
    flipped = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
    (best / "separator.ckpt").write_bytes(flipped if way == "bit" else content[:-1])
    for call in (lambda: read_run(run), lambda: export_pretrained(run, tmp_path / "out"), lambda: weights_of(run)):
        with pytest.raises(UserError, match=r"CKPT\+2: separator.ckpt is not as it was written"):
            call()
    assert not (tmp_path / "out").exists()
