"""Two ranks on the CPU: after three steps both hold the same parameters, one model of each kind; tests are shared."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
KINDS = {
    "grid": ("PolSESS", "spmamba_tiny", ["--task", "SB", "--training_signal_len", 800]),
    "masking, a window longer than an epoch": (
        "PolSESS",
        "spmamba_mini",
        ["--preset", "dprnn_tiny", "--task", "SB", "--training_signal_len", 800, "--grad_accumulation_factor", 3],
    ),
    "mamba masking": (
        "PolSESS",
        "spmamba_mini",
        ["--preset", "mamba_tasnet_tiny", "--task", "SB", "--training_signal_len", 800],
    ),
    "bands, with a discriminator": (
        "VoiceBank",
        "bsrnn_mini",
        [
            "--preset",
            "bs_bimamba_abl1_small",
            "--valid_speakers",
            "[p226]",
            "--training_signal_len",
            8000,
            "--metric_start",
            1,
            "--pesq_workers",
            1,
        ],
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_ranks_stay_equal(kind, smallest_data, tmp_path):
    recipe, name, options = KINDS[kind]
    words = ["--data_folder", smallest_data[recipe], "--output_folder", tmp_path / "run", *options]
    words += "--device cpu --distributed_backend gloo --noprogressbar --batch_size 1 --num_workers 0".split()
    words += ["--max_steps", 3, "--N_epochs", 9, "--scoring_workers", 0]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command = [*launch, Path(__file__).with_name("ddp_train.py"), ROOT / "recipes" / recipe, tmp_path]
    done = subprocess.run(
        [str(word) for word in (*command, f"hparams/{name}.yaml", *words)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    one, two = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1))
    assert one["steps"] == two["steps"] == 3
    different = [key for key in one["state"] if not torch.equal(one["state"][key], two["state"][key])]
    assert not different, different[:5]


@pytest.mark.slow
def test_the_table_of_a_test_under_torchrun_is_that_of_one_process(train, learnable, tmp_path):
    """Six items in batches of two: one rank takes two batches, the other one."""
    words = ["--preset", "convtasnet_tiny", "--data_folder", learnable["custom"], "--training_signal_len", 2000]
    words += "--device cpu --distributed_backend gloo --noprogressbar --precision fp32 --max_steps 2".split()
    words += "--batch_size 1 --valid_batch_size 2 --num_workers 0 --scoring_workers 0 --n_audio_to_save 3".split()
    words = ["hparams/spmamba.yaml", *map(str, words), "--test_metrics", "[si_sdr, stoi]"]
    train("custom", *words, "--output_folder", tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    for path in (tmp_path / "two" / "per_utterance.csv", tmp_path / "two" / "summary.json"):
        path.unlink()
    shutil.rmtree(tmp_path / "two" / "audio")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "train.py"]
    done = subprocess.run(
        [*launch, *words, "--output_folder", str(tmp_path / "two"), "--test_only"],
        cwd=ROOT / "recipes" / "custom",
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    one, two = ([(tmp_path / run / name).read_text() for name in ("per_utterance.csv", "summary.json")]
                for run in ("one", "two"))  # fmt: skip
    assert one == two and one[0].count("\n") == 7
    heard = [sorted(path.name for path in (tmp_path / run / "audio").iterdir()) for run in ("one", "two")]
    assert heard[0] == heard[1] and len(heard[0]) == 3
