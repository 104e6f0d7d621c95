"""Every part of scripts/gpu_day.py in its dry form: Triton's interpreter, tiny shapes, a few steps."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lobes.errors import UserError
from lobes.scan.cuda import plan, triton_backend, tuning

ROOT = Path(__file__).resolve().parents[2]
pytest.importorskip("triton")  # there is none for macOS and Windows
pytestmark = pytest.mark.skipif(not triton_backend.interpreted(), reason="Triton compiles for the GPU here")


@pytest.fixture
def rows_of(load, tmp_path):
    """Number of a part and words -> its rows after a dry run."""

    def run(number, *words):
        rows = load("gpu_day_rows")
        file = rows.PartFile(rows.path_of(tmp_path, number))
        file.begin({"commit": "c0ffee", "machine": "a fast one", "command": "python scripts/gpu_day.py"}, True)
        code = rows.work_off(number, rows.Settings(tmp_path, dry=True), list(words), float("inf"), 9.0)
        found = rows.PartFile(file.path).rows
        assert code == rows.DONE and not [row for row in found.values() if "failed" in row], found
        return found

    return run


def test_part_0_compares_the_scan(rows_of):
    found = rows_of(0, "copy", "intra")
    assert set(found) == {"copy", "right intra"}
    errors = found["right intra"]["errors"]
    assert set(errors) == {"forward", "forward, lengths", "reverse", "reverse, lengths"}
    assert 0 < max(errors.values()) < 3e-6


def test_part_0_sees_what_a_kernel_leaves_out(load, tmp_path, monkeypatch):
    """A kernel that does not fill the outputs leaves NaN, and no zeros that were there by chance."""
    check, rows = load("gpu_day_check"), load("gpu_day_rows")
    from lobes.scan.cuda.launch import Launch

    monkeypatch.setattr(Launch, "forward", lambda *arguments: None)
    with pytest.raises(UserError, match="errors above 3e-06 at .*nan"):
        check.compare(rows.Settings(tmp_path, dry=True), (2, 3, 4, 2))


def test_part_0_runs_the_small_call_in_a_process(rows_of):
    row = rows_of(0, "sanitizer")["sanitizer"]
    assert (row["checker"], row["calls"]) == ("absent: the call alone", 2)


def test_part_1_measures_against_another_scan(rows_of):
    found = rows_of(1, "mamba_ssm", "intra")
    assert found["mamba_ssm"]["found"] and found["mamba_ssm"]["differs_by"] < 1e-5
    for name in ("triton", "mamba_ssm", "bridge"):
        times = found["intra"][name]
        assert 0 < times["forward"]["wall_ms"] < times["forward+backward"]["wall_ms"] * 10
        assert times["forward"]["device_ms"] is None


def test_part_1_says_why_the_other_scan_is_left_out(load, tmp_path, monkeypatch):
    part, rows = load("gpu_day_scan"), load("gpu_day_rows")
    settings = rows.Settings(tmp_path, dry=True)
    monkeypatch.setattr(part, "found_peer", lambda settings: "mamba_ssm is not installed")
    assert part.other(settings) == {"left_out": "mamba_ssm is not installed"}
    assert set(part.measure(settings, (1, 2, 3, 2))) == {"shape", "triton"}


def test_part_2_tries_constants_and_puts_those_of_the_code_back(rows_of):
    before = tuning.TUNED, dict(tuning.CHUNKS)
    found = rows_of(2, "intra", "together")
    assert len(found["intra"]["cut"]["variants"]) == 2 and found["intra"]["programs"] == 2
    assert found["together"]["choices"][-1]["below"] is None and found["together"]["times"]
    assert (tuning.TUNED, tuning.CHUNKS) == before and plan.plan(1, 9, 3, 2).tuning == before[0][-1]


def test_part_3_finds_the_tests_that_need_a_gpu(rows_of):
    found = rows_of(3, "tests/scan/test_agreement.py")
    assert found["tests/scan/test_agreement.py"]["tests"]["skipped"] == 12


def test_part_4_takes_steps(rows_of, load):
    found = rows_of(4, "convtasnet_tiny")
    assert set(found) == {"convtasnet_tiny bf16", "convtasnet_tiny fp32"}
    row = found["convtasnet_tiny bf16"]
    assert row["seconds"] == 0.1  # of audio
    assert row["step_seconds"] > 0 and row["megabytes"] > 1 and row["parameters"] > 1000
    full = load("gpu_day_steps").full_presets()
    assert {"spmamba_8k", "tf_gridnet", "mbs_net", "sepformer"} <= set(full) and "spmamba_mini" not in full


BARE = """
import sys
sys.modules.update(dict.fromkeys(("hyperpyyaml", "ruamel", "speechbrain", "torchaudio", "scipy", "soundfile", "numba")))
import gpu_day, gpu_day_rows
from _common import about
from pathlib import Path
settings = gpu_day_rows.Settings(Path(), True)
print(about()["commit"], [len(gpu_day_rows.part(number).rows(settings)) for number in range(4)])
"""


def test_parts_0_to_3_need_pytorch_alone():
    """A machine with a GPU may have no more, and no network."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "scripts")])}
    done = subprocess.run([sys.executable, "-c", BARE], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.search(r"\[12, 10, 3, \d+\]$", done.stdout.strip())


@pytest.fixture
def fake_training(load, tmp_path, monkeypatch):
    """The part of the trainings with a stand-in for train.py and without an export."""
    part = load("gpu_day_training")
    script = shutil.copy(ROOT / "tests" / "recipes" / "fake_train.py", tmp_path / "train.py")
    monkeypatch.setattr(part.realdata, "TRAIN_SCRIPT", Path(script))
    part.exported = []
    monkeypatch.setattr(part, "export_pretrained", lambda run, out: part.exported.append((run.name, out.name)))
    return part


def test_part_5_trains_and_exports(rows_of, fake_training, monkeypatch, tmp_path):
    (tmp_path / "runs" / "corpora" / "dry").mkdir(parents=True)
    found = rows_of(5, "convtasnet_tiny")
    row = found["SB convtasnet_tiny"]
    assert (row["steps"], row["training_seconds"], row["si_sdri"]) == (40, 12.0, 2.5)
    assert fake_training.exported == [("convtasnet_tiny_SB_seed1", "convtasnet_tiny_SB")]


def test_part_5_trains_four_networks_on_both_corpora(fake_training, load, tmp_path):
    settings = load("gpu_day_rows").Settings(tmp_path, dry=False, minutes=8.0)
    labels = list(fake_training.rows(settings))
    assert labels[:5] == ["SB corpus", "SB spmamba_8k", "SB tf_gridnet", "SB convtasnet", "SB dpmamba_s"]
    assert len(labels) == 10 and labels[5] == "ES corpus"
    # a run is that of realdata.py, with its budget, on the GPU
    options = fake_training.realdata.parse
    fake_training.realdata.parse = lambda words: options([w if w != "cuda" else "cpu" for w in words])
    run = fake_training.run_of(settings, tmp_path / "real_sb", "SB", "tf_gridnet")
    assert (
        run.options["max_minutes"] == 8.0
        and run.options["preset"] == "tf_gridnet"
        and run.hparams.endswith("/spmamba.yaml")
    )


@pytest.mark.slow
def test_all_parts_by_the_command(tmp_path):
    command = [sys.executable, ROOT / "scripts" / "gpu_day.py", "-o", tmp_path, "--dry"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert (tmp_path / "models" / "convtasnet_tiny_SB" / "masknet.ckpt").is_file()
    tables = [sys.executable, ROOT / "scripts" / "gpu_day_tables.py", tmp_path]
    done = subprocess.run(tables, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.count("A dry run on a CPU") == 6
