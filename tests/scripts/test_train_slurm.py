"""The template for SLURM: it hands on the exit code, and after SLURM's signal the job goes into the queue again."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "train.slurm"
pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
FAKES = {
    "scontrol": '[ "$1" = show ] && printf "node1\\nnode2\\n" || echo "$@" >> "$NOTES"',
    "srun": 'echo "srun $*" >> "$NOTES"\ntrap "echo saved >> $NOTES; exit 143" TERM\n'
    "for i in $(seq $STEPS); do sleep 0.1; done\nexit $CODE",
}


@pytest.fixture
def job(tmp_path):
    """job(steps, code): the script as SLURM starts it, with stand-ins for SLURM's commands, and what these noted."""
    (tmp_path / "recipes" / "custom").mkdir(parents=True)
    for name, text in FAKES.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    notes = tmp_path / "notes"

    def start(steps, code):
        environment = {
            **os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "NOTES": str(notes), "STEPS": str(steps),
            "CODE": str(code), "SLURM_SUBMIT_DIR": str(tmp_path), "SLURM_NNODES": "2", "SLURM_GPUS_ON_NODE": "4",
            "SLURM_JOB_NODELIST": "node[1-2]", "SLURM_JOB_ID": "7", "SLURM_CPUS_PER_TASK": "32",
        }  # fmt: skip
        words = ["bash", str(SCRIPT), "custom", "hparams/spmamba.yaml", "--data_folder", "my data"]
        return subprocess.Popen(words, env=environment), notes

    return start


def test_its_syntax_is_right():
    subprocess.run(["bash", "-n", SCRIPT], check=True)


@pytest.mark.parametrize("code", [0, 1])
def test_the_exit_code_of_the_training_is_that_of_the_job(job, code):
    process, notes = job(0, code)
    assert process.wait(60) == code
    (line,) = notes.read_text().splitlines()
    assert "--nnodes=2 --nproc_per_node=4" in line and "--rdzv_endpoint=node1:20007" in line
    assert line.endswith("train.py hparams/spmamba.yaml --data_folder my data")


def test_after_a_signal_the_ranks_save_and_the_job_waits_for_its_turn(job):
    process, notes = job(600, 0)
    while not (notes.exists() and "srun" in notes.read_text()):
        time.sleep(0.02)
    time.sleep(0.2)  # until the stand-in has set its trap
    process.send_signal(signal.SIGUSR1)
    assert process.wait(60) == 0
    assert notes.read_text().splitlines()[1:] == ["saved", "requeue 7"]
