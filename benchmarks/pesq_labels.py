#!/usr/bin/env python3
"""What do the discriminator's PESQ labels cost a training step of the BSRNN recipe?

> python benchmarks/pesq_labels.py [--workers 2] [--batch 6] [--seconds 2] [--device cpu]

The step is that of recipes/VoiceBank with hparams/bsrnn.yaml and the metric discriminator, on synthetic voices in
noise. Two forms take turns in blocks of steps: with labels from the worker processes, and with labels that cost
nothing. The first step of a block, which has nothing to wait for, is left out.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from types import SimpleNamespace
from typing import Any

from lobes.training.launch import announce

announce()  # before PyTorch, as train.py does: it sets how long idle threads wait actively

import numpy as np  # noqa: E402
import torch  # noqa: E402
from _common import RESULTS, ROOT, about, known_device, result_file, timed, write  # noqa: E402

from lobes.data import arguments  # noqa: E402
from lobes.errors import exit_on_user_error  # noqa: E402

LIMIT = 15.0  # per cent of a step
RECIPE = ROOT / "recipes" / "VoiceBank"
SEED = 1234


class Free:
    """Labels at no cost."""

    def __init__(self, batch: int) -> None:
        self.batch = batch

    def ask(self, estimates: torch.Tensor, targets: torch.Tensor) -> None:
        """Nothing to do."""

    def collect(self) -> torch.Tensor:
        """The same label for all."""
        return torch.full((self.batch,), 2.5)


def main() -> None:
    """Measure, print, write the JSON file."""
    options = parse()
    from lobes.training.pesq_labels import PesqLabels

    brain, batch = recipe_step(options)
    labels = {"processes": PesqLabels(options.workers, 16000), "free": Free(options.batch)}
    times: dict[str, list[float]] = {name: [] for name in labels}
    for source in labels.values():
        block(brain, batch, source, options)  # compiles, fills caches, starts the processes
    for _ in range(options.rounds):
        for name, source in labels.items():
            times[name] += block(brain, batch, source, options)
    labels["processes"].close()
    medians = {name: statistics.median(values) for name, values in times.items()}
    cost = 100 * (medians["processes"] / medians["free"] - 1)
    steps = {name: round(value, 4) for name, value in medians.items()}
    print(f"step {steps['processes']} s with labels, {steps['free']} s without: {cost:.1f} % (at most {LIMIT:g} %)")
    settings = {name: value for name, value in vars(options).items() if name != "output"}
    write({**about(seed=SEED, **settings), "step": steps, "cost_percent": round(cost, 2)}, options.output)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = arguments.Parser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--workers", type=arguments.from_zero, default=2)
    add("--batch", type=arguments.count, default=6)
    add("--seconds", type=arguments.positive, default=2.0, help="of audio")
    add("--steps", type=arguments.count, default=4, help="in a block")
    add("--rounds", type=arguments.count, default=3)
    add("--device", type=known_device, default="cpu")
    add("--output", type=result_file, default=RESULTS / "pesq_labels.json")
    return parser.parse_args()


def recipe_step(options: argparse.Namespace) -> tuple[Any, Any]:
    """The recipe's Brain, ready to train, and a batch."""
    sys.path.insert(0, str(RECIPE))
    import train
    from speechbrain.core import Stage
    from speechbrain.dataio.batch import PaddedBatch

    from lobes.config import load, resolve

    precision = "bf16" if options.device.startswith("cuda") else "fp32"
    overrides = {"data_folder": "none", "output_folder": tempfile.mkdtemp(), "metric_start": 1, "precision": precision}
    overrides["pesq_workers"] = options.workers
    texts = {key: str(value) for key, value in overrides.items()}
    hparams = load(resolve(RECIPE / "hparams" / "bsrnn.yaml", texts))
    run_opts = {"device": options.device, "noprogressbar": True, "precision": precision}
    brain = train.Enhancement(hparams["modules"], hparams["opt_class"], hparams, run_opts, hparams["checkpointer"])
    brain.on_fit_start()
    hparams["epoch_counter"].current = 1
    brain.on_stage_start(Stage.TRAIN, 1)
    brain.modules.train()
    rng = np.random.default_rng(SEED)
    items = [item(rng, int(options.seconds * 16000), str(number)) for number in range(options.batch)]
    return brain, PaddedBatch(items)


def item(rng: np.random.Generator, samples: int, name: str) -> dict[str, Any]:
    """Bursts of harmonics in noise."""
    time = np.arange(samples) / 16000
    envelope = np.clip(np.sin(2 * np.pi * (2 + rng.random()) * time), 0, 1)
    clean = 0.1 * envelope * sum(np.sin(2 * np.pi * k * (100 + 60 * rng.random()) * time) / k for k in range(1, 20))
    noisy = clean + 0.02 * rng.standard_normal(samples)
    signals = {"mix_sig": torch.from_numpy(noisy).float(), "sources_sig": torch.from_numpy(clean[:, None]).float()}
    return {"id": name, "variant": "all", **signals}


def block(brain: Any, batch: Any, labels: Any, options: argparse.Namespace) -> list[float]:
    """Seconds of the steps of a block, the first left out."""
    gan = brain.hparams.metric_gan
    gan.labels, gan._asked = labels, None

    def step() -> None:
        loss = brain.fit_batch(batch)
        brain.on_fit_batch_end(batch, SimpleNamespace(), loss, True)

    seconds = [timed(step, options.device)["wall"] for _ in range(options.steps)]
    labels.collect()  # so that nothing of this block goes on in the next
    return seconds[1:]


if __name__ == "__main__":
    with exit_on_user_error():
        main()
