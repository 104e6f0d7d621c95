#!/usr/bin/env python3
"""Two nodes on one machine, each under its own torchrun: one is killed in the middle of an epoch and comes back.

> python scripts/rehearse_nodes.py [--network namespaces|loopback] [--folder DIR]

The nodes are network namespaces with a cable between them, which needs root and `ip`, or two addresses of the loopback
device. They train from shards. The run has to end with the steps, the learning curve and the table of a run that
nothing has disturbed.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from lobes.data import arguments
from lobes.errors import UserError, exit_on_user_error

ROOT = Path(__file__).resolve().parents[1]
RECIPE = ROOT / "recipes" / "custom"
PATIENT = "read_timeout=600,keep_alive_max_attempt=12"  # 60 s: on a busy machine nodes answer late
PORT, PATIENCE = 29417, 900.0  # seconds for one run
ITEMS, EPOCHS, RATE = {"train": 24, "valid": 3, "test": 5}, 3, 8000
OPTIONS = (
    f"hparams/spmamba.yaml --preset convtasnet_tiny --data_format shards --training_signal_len 2000 --batch_size 1 "
    f"--N_epochs {EPOCHS} --ckpt_interval_minutes 0 --ckpt_interval_steps 2 --valid_batch_size 1 --warmup_steps 0 "
    "--num_workers 0 --device cpu --distributed_backend gloo --precision fp32 --test_metrics [si_sdr] "
    "--scoring_workers 0 --n_audio_to_save 1 --noprogressbar"
).split()


@dataclass
class Node:
    """A machine of the rehearsal."""

    address: str
    enter: list[str] = field(default_factory=list)  # the words that run a command on it
    device: str = "lo"  # of its network


def main() -> None:
    """Rehearse, and say how it went."""
    parser = arguments.Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", choices=("namespaces", "loopback"), default="namespaces")
    parser.add_argument(
        "--folder", type=Path, help="where all is kept; by default a temporary folder, removed at the end"
    )
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="lobes_nodes_"))
    try:
        with NETWORKS[options.network]() as nodes:
            rehearse(folder.absolute(), nodes)
    finally:
        if options.folder is None:
            shutil.rmtree(folder, ignore_errors=True)


def rehearse(folder: Path, nodes: list[Node]) -> None:
    """Train undisturbed, then with a kill, and compare."""
    make_shards(folder)
    run(folder, "whole", nodes)
    step = run(folder, "killed", nodes, kill=True)
    whole, killed = (end_of(folder / name) for name in ("whole", "killed"))
    if other := [part for part in whole if whole[part] != killed[part]]:
        raise UserError(f"the runs have another {' and '.join(other)}. Look into {folder}.")
    print(f"{len(nodes)} nodes, one killed after step {step} and back: {whole['steps']} steps in both runs,")
    print("learning curve and table are those of the undisturbed run")


# ---- the data


def make_shards(folder: Path) -> None:
    """Mixtures of two noises, and the shards of them."""
    from lobes.data.audio import write
    from lobes.data.manifest import write_manifest
    from lobes.data.shards.writing import write_shards

    rng = np.random.default_rng(0)
    for split, items in ITEMS.items():
        rows: list[dict[str, Any]] = []
        for number in range(items):
            sources = 0.1 * rng.standard_normal((2, RATE // 2))
            signals = {"mix": sources.sum(0), "s1": sources[0], "s2": sources[1]}
            for part, signal in signals.items():
                write(folder / "data" / split / f"{number:02d}_{part}.wav", signal, RATE)
            paths = {f"{part}_wav": f"$data_root/{split}/{number:02d}_{part}.wav" for part in signals}
            rows.append({"ID": f"{split}{number:02d}", "duration": 0.5, **paths})
        write_manifest(folder / "data" / f"{split}.csv", rows)
        write_shards(folder / "data" / f"{split}.csv", folder / "shards", megabytes=0.1, progress=False)


# ---- the networks


@contextmanager
def namespaces() -> Iterator[list[Node]]:
    """Two network namespaces with a cable between them."""
    tag = f"lobes{os.getpid() % 10000}"
    names, cables, addresses = [f"{tag}a", f"{tag}b"], [f"{tag}x", f"{tag}y"], ["10.77.7.1", "10.77.7.2"]
    try:
        for name in names:
            ip("netns", "add", name)
        ip("link", "add", cables[0], "type", "veth", "peer", "name", cables[1])
        for name, cable, address in zip(names, cables, addresses, strict=True):
            ip("link", "set", cable, "netns", name)
            ip("-n", name, "addr", "add", f"{address}/24", "dev", cable)
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "link", "set", cable, "up")
        yield [
            Node(address, ["ip", "netns", "exec", name], cable)
            for name, cable, address in zip(names, cables, addresses, strict=True)
        ]
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


@contextmanager
def loopback() -> Iterator[list[Node]]:
    """Two addresses of this machine."""
    yield [Node("127.0.0.1"), Node("127.0.0.2")]


NETWORKS = {"namespaces": namespaces, "loopback": loopback}


def ip(*words: str) -> None:
    """Call `ip`; where it is not allowed, say what to do."""
    try:
        done = subprocess.run(["ip", *words], capture_output=True, text=True, encoding="utf-8")
    except FileNotFoundError as error:
        raise UserError("namespaces need the program ip. Install iproute2, or give --network loopback.") from error
    if done.returncode:
        reason = " ".join(done.stderr.split())
        raise UserError(f"ip {' '.join(words)}: {reason}. Namespaces need root; without it give --network loopback.")


# ---- the runs


def run(folder: Path, name: str, nodes: list[Node], kill: bool = False) -> int:
    """One training on all nodes; with `kill` the last node dies in an epoch, after the step that is returned."""
    step = 0
    started = [start(folder, name, node, nodes[0]) for node in nodes]
    try:
        if kill:
            step = wait_for_step(folder / name, started)
            end_now(started[-1])
            time.sleep(1.0)
            started[-1] = start(folder, name, nodes[-1], nodes[0])
        codes = [process.wait(PATIENCE) for process in started]
    finally:
        for process in started:
            end_now(process)
    if any(codes):
        raise UserError(f"the nodes ended with the codes {codes}. Look into {folder / name}.*.txt")
    return step


def start(folder: Path, name: str, node: Node, first: Node) -> subprocess.Popen[bytes]:
    """torchrun on a node; its output goes to a file of its own."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc_per_node=1", "--max-restarts=5"]
    launch += ["--rdzv_backend=c10d", f"--rdzv_endpoint={first.address}:{PORT}", f"--rdzv_id={name}"]
    launch += [f"--local_addr={node.address}", f"--rdzv_conf=is_host={int(node is first)},{PATIENT}"]
    places = ["--data_folder", str(folder / "shards"), "--output_folder", str(folder / name)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "GLOO_SOCKET_IFNAME": node.device}
    environment["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"  # or a node that comes back never meets the others
    with (folder / f"{name}.{node.address}.txt").open("ab") as console:
        return subprocess.Popen(
            [*node.enter, *launch, "train.py", *OPTIONS, *places],
            cwd=RECIPE, env=environment, stdout=console, stderr=console,
        )  # fmt: skip


def wait_for_step(run_folder: Path, started: list[subprocess.Popen[bytes]]) -> int:
    """Wait for a checkpoint within the second epoch; returns its step."""
    first = ITEMS["train"] // 2 + 2
    last = time.monotonic() + PATIENCE
    while time.monotonic() < last and all(process.poll() is None for process in started):
        step = step_of(run_folder / "save")
        if step >= first:
            return step
        time.sleep(0.02)
    raise UserError(f"no checkpoint of step {first} in {run_folder}. Look into {run_folder}.*.txt")


def step_of(folder: Path) -> int:
    """The newest step in a folder of checkpoints."""
    from ruamel.yaml import YAML

    steps = [0]
    for path in folder.glob("CKPT+*/CKPT.yaml"):
        with suppress(OSError):
            steps.append(int(YAML().load(path.read_text(encoding="utf-8"))["step"]))
    return max(steps)


def end_now(process: subprocess.Popen[bytes]) -> None:
    """Kill a node: torchrun and all that it has started."""
    with suppress(psutil.NoSuchProcess):
        for one in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
            with suppress(psutil.NoSuchProcess):
                one.kill()
    process.wait()


def end_of(run_folder: Path) -> dict[str, Any]:
    """What a run has come to, without times and memory."""
    with (run_folder / "learning_curve.csv").open(newline="", encoding="utf-8") as file:
        curve = [
            {k: v for k, v in row.items() if k not in ("seconds", "peak_megabytes")} for row in csv.DictReader(file)
        ]
    steps = json.loads((run_folder / "train_time.json").read_text(encoding="utf-8"))["steps"]
    table = (run_folder / "per_utterance.csv").read_text(encoding="utf-8")
    return {"steps": steps, "curve": curve, "table": table}


if __name__ == "__main__":
    with exit_on_user_error():
        main()
