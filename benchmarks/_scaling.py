"""The measurements of scaling.py, each in a process of its own: `python _scaling.py KIND JSON` prints a row as JSON."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

ROOT = Path(__file__).resolve().parents[1]
RATE, SOURCES = 8000, 2
RANKS = (2, 7, 8)  # among which the large epoch is dealt out
MIB = 2**20
TRAINING = (
    "hparams/spmamba.yaml --training_signal_len 1000000 --batch_size 1 --N_epochs 3 --ckpt_interval_minutes 0 "
    "--warmup_steps 0 --num_workers 0 --device cpu --distributed_backend gloo --precision fp32 --test_metrics [si_sdr] "
    "--scoring_workers 0 --n_audio_to_save 0 --noprogressbar --check_files none --sample_checks []"
).split()


# ---- data


def make_data(folder: Path, examples: int, seconds: float, shards: bool = False) -> None:
    """Mixtures of voice-like sounds in the layout of a custom set, and perhaps the shards of them."""
    from lobes.data.audio import write
    from lobes.data.manifest import write_manifest
    from lobes.data.shards.writing import write_shards

    rng = np.random.default_rng(0)
    for split, items in (("train", examples), ("valid", 1), ("test", 1)):
        rows = []
        for number in range(items):
            signals = {f"s{source + 1}": voice(rng, round(seconds * RATE)) for source in range(SOURCES)}
            signals = {"mix": sum(signals.values()), **signals}
            for part, signal in signals.items():
                write(folder / split / part / f"{number:06d}.wav", signal, RATE)
            paths = {f"{part}_wav": f"$data_root/{split}/{part}/{number:06d}.wav" for part in signals}
            rows.append({"ID": f"{number:06d}", "duration": seconds, **paths})
        write_manifest(folder / f"{split}.csv", rows)
        if shards:
            write_shards(folder / f"{split}.csv", folder / "shards", megabytes=50, progress=False)


def voice(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Bursts of harmonics in a little noise [T]: FLAC halves it as it halves speech."""
    time_s, pitch = np.arange(samples) / RATE, 90 + 120 * rng.random()
    envelope = np.clip(np.sin(2 * np.pi * (2 + rng.random()) * time_s), 0, 1)
    tone = sum(np.sin(2 * np.pi * k * pitch * time_s) / k for k in range(1, 12))
    return np.asarray(0.05 * envelope * tone + 0.001 * rng.standard_normal(samples))


# ---- a training


def steps(folder: str, preset: str, examples: int, seconds: float, ranks: int) -> dict[str, Any]:
    """Seconds of a step and of an epoch, from the last epoch of a training of three on one thread a rank."""
    data, run = Path(folder, "data"), Path(folder, "run")
    make_data(data, examples, seconds)
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}"] if ranks > 1 else []
    places = ["--preset", preset, "--data_folder", str(data), "--output_folder", str(run)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *launch, "train.py", *TRAINING, *places],
        cwd=ROOT / "recipes" / "custom", env=environment, capture_output=True, text=True, encoding="utf-8",
    )  # fmt: skip
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or ["no reason given"])[-1][:200]}
    with (run / "learning_curve.csv").open(newline="", encoding="utf-8") as file:
        before, last = list(csv.DictReader(file))[-2:]
    taken = int(last["step"]) - int(before["step"])
    epoch = float(last["seconds"]) - float(before["seconds"])
    return {"steps": taken, "step_s": round(epoch / taken, 5), "epoch_s": round(epoch, 3)}


# ---- reading


def reading(folder: str, form: str, workers: int, examples: int, seconds: float) -> dict[str, Any]:
    """Examples per second of two epochs of reading in a random order, without a network; the first fetches shards."""
    data = Path(folder, "data")
    make_data(data, examples, seconds, shards=form != "files")
    with served(data / "shards") if form == "http" else contextlib.nullcontext("") as url:
        rows = rows_to_read(form, data, Path(folder, "fetched"), url)
        found = [epoch_of(rows, workers, epoch) for epoch in (1, 2)]
    rates = [round(len(ids) / taken, 1) for ids, taken in found]
    size = sum(path.stat().st_size for path in data.rglob("*.wav" if form == "files" else "*.tar"))
    return {"first_per_s": rates[0], "then_per_s": rates[1], "megabytes": round(size / 1e6, 3)}


def rows_to_read(form: str, data: Path, fetched: Path, url: str) -> list[dict[str, Any]]:
    """The rows of the training set, of files or of shards."""
    from lobes.data.manifest import read_manifest
    from lobes.data.shards.fetching import fetch_index

    if form == "files":
        return read_manifest(data / "train.csv", data)
    if form == "shards":
        return read_manifest(data / "shards" / "train" / "manifest.csv", data / "shards")
    fetch_index(url, "train", fetched)
    return read_manifest(fetched / "train" / "manifest.csv", fetched)


def epoch_of(rows: Sequence[dict[str, Any]], workers: int, epoch: int) -> tuple[list[str], float]:
    """The IDs of an epoch in the order of a training, and its seconds."""
    from speechbrain.dataio.batch import PaddedBatch
    from speechbrain.dataio.dataloader import SaveableDataLoader
    from speechbrain.dataio.sampler import ReproducibleRandomSampler

    from lobes.data.datasets import mixtures

    dataset = mixtures(rows, SOURCES, RATE)
    order = ReproducibleRandomSampler(dataset, seed=1)
    order.set_epoch(epoch)
    loader = SaveableDataLoader(dataset, sampler=order, batch_size=4, num_workers=workers, collate_fn=PaddedBatch)
    begin = time.perf_counter()
    return [ID for batch in loader for ID in batch.id], time.perf_counter() - begin


def dealt(items: int, ranks: int) -> tuple[int, int]:
    """How many of so many items no rank gets in an epoch, and how many are there once more."""
    from speechbrain.dataio.sampler import DistributedSamplerWrapper, ReproducibleRandomSampler

    counts: Counter[int] = Counter()
    for rank in range(ranks):
        order = ReproducibleRandomSampler(range(items), seed=1)
        share = DistributedSamplerWrapper(order, num_replicas=ranks, rank=rank, shuffle=False)
        share.set_epoch(1)
        counts.update(iter(share))
    return items - len(counts), sum(counts.values()) - len(counts)


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """A web server on this machine."""
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(folder)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, encoding="utf-8"
    ) as server:
        try:
            assert server.stdout is not None
            port = server.stdout.readline().split(" port ")[1].split()[0]
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


# ---- a large epoch


def epoch(folder: str, examples: int, stored: int, workers: int) -> dict[str, Any]:
    """Read an epoch of very many short examples from shards, and count what is lost or repeated.

    Only so many examples are stored, and each stands for several rows: IDs, order, memory and reads are those of all.
    """
    from lobes.data.manifest import read_manifest, write_manifest

    data = Path(folder, "data")
    make_data(data, stored, 0.1, shards=True)
    rows = read_manifest(data / "shards" / "train" / "manifest.csv", data / "shards")
    many = ({**rows[number % stored], "ID": f"{number:08d}"} for number in range(examples))
    write_manifest(data / "many.csv", list(many))
    before, begin = memory(), time.perf_counter()
    read = read_manifest(data / "many.csv", data)
    manifest_s, kept = time.perf_counter() - begin, memory() - before
    ids, taken = epoch_of(read, workers, 1)
    counts = Counter(ids)
    shares = {f"lost_and_repeated_by_{ranks}_ranks": list(dealt(examples, ranks)) for ranks in RANKS}
    return {
        "lost": examples - len(counts), "repeated": sum(counts.values()) - len(counts), **shares,
        "manifest_s": round(manifest_s, 2), "manifest_mb": round(kept / MIB, 1),
        "manifest_bytes_per_row": round(kept / examples), "csv_mb": round((data / "many.csv").stat().st_size / 1e6, 1),
        "epoch_s": round(taken, 1), "per_s": round(examples / taken, 1), "peak_mb": peak_mb(),
    }  # fmt: skip


def memory() -> int:
    """Bytes that this process holds now."""
    import psutil

    return int(psutil.Process().memory_info().rss)


def peak_mb() -> float | None:
    """The most memory that this process, or one of its workers, has held; None on Windows."""
    if resource is None:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    most = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return round(unit * most / MIB, 1)


KINDS = {"steps": steps, "reading": reading, "epoch": epoch}

if __name__ == "__main__":
    print(json.dumps(KINDS[sys.argv[1]](**json.loads(sys.argv[2]))))
