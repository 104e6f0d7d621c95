#!/usr/bin/env python3
"""The first result, in about half a minute: train a small network, and separate a mixture of two voices with it.

> python hello.py [--output results/hello] [--steps 140]

espeak-ng speaks Polish sentences in two voices. A Mamba-TasNet with 98,000 parameters hears 1-second cuts of them,
added up, for some seconds. Then it separates a mixture of sentences that it has not heard. It knows these two voices
and nothing else: a demonstration of the tools, and no model to use. `make demo` trains for minutes, on noisy speech and
with speakers of the test that the training does not have.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING

import numpy as np

from lobes.data import arguments, audio
from lobes.data.rates import resample
from lobes.errors import exit_on_user_error
from lobes.polsess.corpus.espeak import Utterance, speak
from lobes.polsess.corpus.made_speech import MEN, WOMEN
from lobes.polsess.corpus.sentences import sentences_of

if TYPE_CHECKING:
    from torch import nn

NETWORK = "mamba_tasnet_tiny"
VOICES = (WOMEN[2], MEN[3])
RATE = 8000
SENTENCES = {"train": 30, "test": 1}  # of each voice
LEVEL = 0.05  # root mean square of a voice
BATCH, SECONDS = 4, 1.0
LR, WARMUP = 0.005, 10


def main(argv: Sequence[str] | None = None) -> None:
    """Make the voices, train, separate, write the files, and say what was done."""
    options = parse(argv)
    begin = time.monotonic()
    say("Hello. A small network learns to separate two voices, in about half a minute on a processor.")
    heard, unheard = make_voices("train"), make_voices("test")
    say(f"  1. speech: {sum(map(len, heard)) / RATE:.0f} s of two voices of espeak-ng, to train on")
    trained = time.monotonic()
    model = train(heard, options.steps)
    trained = time.monotonic() - trained
    say(f"  2. training: {NETWORK}, {options.steps} steps in {trained:.0f} s")
    length = min(map(len, unheard))
    sources = np.stack([voice[:length] for voice in unheard], -1)  # [T,S]
    estimates = separate(model, sources.sum(-1))
    gained = write(options.output, sources, estimates)
    say(f"  3. separation of {length / RATE:.1f} s of sentences that it has not heard; SI-SDR in dB, higher is better:")
    for number, (before, after) in enumerate(gained, 1):
        say(f"       voice {number}: {before:5.1f} in the mixture, {after:5.1f} after separation")
    say(f"Listen to mixture.wav and to the separated and true voices next to it in {options.output}/")
    say(f"It took {time.monotonic() - begin:.0f} s. The network knows these two voices only. Next: {command()} --help")


def command() -> str:
    """What calls `lobes` in this shell: the name alone, or the path of the program next to this Python."""
    program = Path(sys.executable).with_name("lobes")
    return "lobes" if which("lobes") or not program.exists() else os.path.relpath(program)


def say(text: str) -> None:
    """Print at once."""
    print(text, flush=True)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = arguments.Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("results", "hello"), help="default: %(default)s")
    parser.add_argument("--steps", type=arguments.count, default=140, help="of training (default: %(default)s)")
    return parser.parse_args(argv)


def make_voices(split: str) -> list[np.ndarray]:
    """What each voice says, one sentence after the other: two signals [T] at 8 kHz and at one level."""
    lines = sentences_of(split)[: SENTENCES[split]]
    utterances = [
        Utterance(line, f"pl+{voice.variant}", voice.speed, voice.pitch, voice.pitch_range)
        for voice in VOICES
        for line in lines
    ]
    waves, rate = speak(utterances)
    waves = [resample(wave / 32768, rate, RATE) for wave in waves]
    levelled = [wave * (LEVEL / np.sqrt(np.square(wave).mean())) for wave in waves]
    return [np.concatenate(levelled[: len(lines)]), np.concatenate(levelled[len(lines) :])]


def train(voices: Sequence[np.ndarray], steps: int) -> nn.Module:
    """Train the network on the sums of random cuts of the voices."""
    import torch

    from lobes.models import get_model
    from lobes.objectives.separation import separation_loss

    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    model = get_model(NETWORK, num_sources=len(voices))
    optimizer = torch.optim.AdamW(model.parameters(), LR)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = LR * min(1, (step + 1) / WARMUP) * (0.51 + 0.49 * np.cos(np.pi * step / steps))
        sources = torch.from_numpy(draw(voices, rng))  # [B,T,S]
        loss = separation_loss(model(sources.sum(-1)), sources).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return model.eval()


def draw(voices: Sequence[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """A batch of cuts, each voice up to 3 dB louder or softer than it is. -> [B,T,S]"""
    samples = int(SECONDS * RATE)
    batch = np.empty((BATCH, samples, len(voices)), np.float32)
    for item in batch:
        for number, voice in enumerate(voices):
            start = rng.integers(len(voice) - samples)
            item[:, number] = voice[start : start + samples] * 10 ** (rng.uniform(-3, 3) / 20)
    return batch


def separate(model: nn.Module, mix: np.ndarray) -> np.ndarray:
    """The estimates of a mixture [T], at the level that fits it. -> [T,S]"""
    import torch

    from lobes.nnet.level import fit_level

    batch = torch.from_numpy(mix)[None].float()  # [1,T]
    with torch.no_grad():
        return fit_level(model(batch), batch)[0].numpy()


def write(folder: Path, sources: np.ndarray, estimates: np.ndarray) -> list[tuple[float, float]]:
    """Write the mixture, the estimates and the voices; SI-SDR of each voice in the mixture, and of its estimate."""
    from lobes.metrics.measures import si_sdr

    mix = sources.sum(-1)
    scores = np.array([[si_sdr(estimate, source) for estimate in estimates.T] for source in sources.T])
    order = (0, 1) if np.trace(scores) >= np.trace(scores[:, ::-1]) else (1, 0)
    audio.write(folder / "mixture.wav", mix, RATE)
    for number, (source, estimate) in enumerate(zip(sources.T, estimates.T[list(order)], strict=True), 1):
        audio.write(folder / f"voice{number}_separated.wav", estimate, RATE)
        audio.write(folder / f"voice{number}_true.wav", source, RATE)
    return [(round(si_sdr(mix, source), 1) + 0.0, scores[n, order[n]]) for n, source in enumerate(sources.T)]


if __name__ == "__main__":
    os.environ.setdefault(
        "OMP_NUM_THREADS", "1"
    )  # so small a network gains nothing from more, and next to others loses
    with exit_on_user_error():
        main(sys.argv[1:])
