"""One audio file from reading to writing. T samples, S sources, C channels, K output files."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from lobes.data import audio
from lobes.data.containers.whole import printable
from lobes.data.rates import resample, resample_blocks
from lobes.errors import UserError, is_out_of_memory
from lobes.inference import writing
from lobes.inference.chunks import ChunkPlan
from lobes.inference.files import stretched
from lobes.inference.long_mixture import LongMixture, NotFiniteError, consistent
from lobes.inference.options import Options
from lobes.inference.sources import channel_blocks, channel_numbers
from lobes.inference.strength import applied

Blocks = Callable[[], Iterator[np.ndarray]]  # what can be gone through again
ENVELOPE_S = 0.02  # of the loudness by which sources of two channels are matched


class FileNetwork(Protocol):
    """What a separator offers for files."""

    level: str

    @property
    def sample_rate(self) -> int:
        """In Hz."""

    @property
    def num_sources(self) -> int:
        """S."""

    def separate_batch(self, mix: Any, lengths: Tensor | None = None) -> Tensor:
        """[B,T] to [B,T,S] at their level."""

    def outputs(self, mix: np.ndarray) -> np.ndarray:
        """[T] to [T,S] as the network gives them."""

    def plan(self, samples: int, chunk_s: float | None) -> ChunkPlan:
        """How a mixture of so many samples is cut."""

    def say_rate(self, rate: int) -> None:
        """Say that files have another rate than the model."""


@contextlib.contextmanager
def file_estimates(network: FileNetwork, path: str | os.PathLike[str], options: Options) -> Iterator[Blocks]:
    """Separate a file; yield what gives its estimates, [n,S,C] in blocks, at the file's rate and of its length.

    A file that is cut lies on disk meanwhile, until the context ends. With a strength below 1, the rest is the input.

    Raises
    ------
    UserError
        If the file cannot be read, the network gives samples that are not finite, or memory does not suffice; and for
        a strength with several sources.
    """
    check_strength(network, options)
    info = audio.probe(path)
    network.say_rate(info.sample_rate)
    numbers = channel_numbers(path, info.channels, options.channels)
    with contextlib.ExitStack() as stack:
        try:
            parts = [
                _one_signal(network, channel_blocks(path, number), info.frames, info.sample_rate, options, stack)
                for number in numbers
            ]
        except NotFiniteError as error:
            raise UserError(f"{printable(path)}: {error}") from error
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            reason = "out of memory. Give shorter chunks, such as --chunk_s 10, or fewer --workers"
            raise UserError(f"{printable(path)}: {reason}.") from error
        estimates = _side_by_side(parts, info.sample_rate)

        def blocks() -> Iterator[np.ndarray]:
            inputs = [channel_blocks(path, number, "float64") for number in numbers]
            return applied(estimates(), inputs, options.share)

        yield blocks


def check_strength(network: FileNetwork, options: Options) -> None:
    """Raise UserError where only a part of an enhancement is wanted, and the model gives several sources."""
    if options.share < 1 and network.num_sources > 1:
        raise UserError(
            f"--strength, --max_attenuation_db: are for models of one source, this one gives {network.num_sources}."
        )


def wave_estimates(network: FileNetwork, wave: np.ndarray, rate: int, options: Options) -> np.ndarray:
    """Separate samples [T] at any rate as if they were a file's; give float32 [T,S] at the same rate.

    Raises
    ------
    UserError
        If the network gives samples that are not finite, for a rate outside 1 to 768 kHz, and as `check_strength`.
    """
    check_strength(network, options)
    network.say_rate(rate)
    with contextlib.ExitStack() as stack:
        try:
            blocks = _one_signal(network, iter([wave]), len(wave), rate, options, stack)
        except NotFiniteError as error:
            raise UserError(str(error)) from error
        shares = applied((block[..., None] for block in blocks()), [iter([wave])], options.share)  # [n,S,1]
        return np.concatenate(list(shares))[..., 0].astype(np.float32)


def _one_signal(
    network: FileNetwork,
    read: Iterator[np.ndarray],
    frames: int,
    own: int,
    options: Options,
    stack: contextlib.ExitStack,
) -> Blocks:
    """The estimates of a signal of so many samples at its own rate, which comes in blocks; [n,S] in blocks."""
    rate = network.sample_rate
    samples = math.ceil(frames * rate / own)
    plan = network.plan(samples, options.chunk_s)
    if not plan.cuts(samples):
        estimates = _whole(network, np.concatenate(list(read)), own, options)
        return lambda: iter([estimates])
    long = LongMixture(plan, samples, network.num_sources, rate, options.recogniser())
    stack.enter_context(long)
    long.separate(network.outputs, resample_blocks(read, own, rate))

    def blocks() -> Iterator[np.ndarray]:
        at_model_rate = long.blocks(network.level, options.mixture_consistency)
        return first(resample_blocks(at_model_rate, rate, own), frames)

    return blocks


def _whole(network: FileNetwork, mix: np.ndarray, own: int, options: Options) -> np.ndarray:
    """Separate [T] at any rate to float32 [T,S] at the same rate."""
    if not mix.any():  # whatever the network makes of silence
        return np.zeros((len(mix), network.num_sources), np.float32)
    at_model_rate = resample(mix, own, network.sample_rate)  # [T']
    estimates = network.separate_batch(at_model_rate).float().cpu()  # [1,T',S]
    if not torch.isfinite(estimates).all():
        raise NotFiniteError("the model gave NaN or infinite samples; nothing was written.")
    fitted = estimates[0].numpy()
    fitted = consistent(fitted, at_model_rate) if options.mixture_consistency else fitted
    return resample(fitted, network.sample_rate, own)[: len(mix)]  # [T,S]


def first(blocks: Iterator[np.ndarray], count: int) -> Iterator[np.ndarray]:
    """The first so many samples of a stream.

    Example
    -------
    >>> [block.tolist() for block in first(iter([np.arange(3), np.arange(3)]), 4)]
    [[0, 1, 2], [0]]
    """
    for block in blocks:
        if count <= 0:
            return
        yield block[:count]
        count -= len(block)


def _side_by_side(channels: Sequence[Blocks], rate: int) -> Blocks:
    """Blocks [n,S] of several channels as blocks [n,S,C], with one order of the sources."""
    orders = [_matched(channels[0], blocks, rate) for blocks in channels[1:]]

    def blocks() -> Iterator[np.ndarray]:
        for one, *others in zip(*(channel() for channel in channels), strict=True):
            yield np.stack([one, *(block[:, order] for block, order in zip(others, orders, strict=True))], 2)

    return blocks


def _matched(one: Blocks, other: Blocks, rate: int) -> np.ndarray:
    """For each source of a channel, its column in another one: where it is loud at the same times."""
    from scipy.optimize import linear_sum_assignment

    size = max(round(ENVELOPE_S * rate), 1)
    shared: Any = 0.0
    powers: list[Any] = [0.0, 0.0]
    for pair in zip(one(), other(), strict=True):
        envelopes = [_envelope(block, size) for block in pair]  # [M,S]
        shared = shared + envelopes[0].T @ envelopes[1]
        powers = [power + np.square(x).sum(0) for power, x in zip(powers, envelopes, strict=True)]
    alike = shared / np.sqrt(np.maximum(np.outer(*powers), 1e-300))
    return linear_sum_assignment(alike, maximize=True)[1]


def _envelope(x: np.ndarray, size: int) -> np.ndarray:
    """Loudness [M,S] of [n,S] in frames."""
    padded = np.pad(x.astype(np.float64), ((0, -len(x) % size), (0, 0)))
    return np.sqrt(np.square(padded).reshape(-1, size, x.shape[1]).mean(1))


def write_separated(
    network: FileNetwork, path: str | os.PathLike[str], targets: Sequence[Path], options: Options
) -> None:
    """Separate a file and write each source to a file of its own. Raises as `file_estimates`."""
    _check_targets(path, targets, options)
    with file_estimates(network, path, options) as estimates:
        write_blocks(estimates, path, targets, options)


def write_enhanced(
    network: FileNetwork, path: str | os.PathLike[str], targets: Sequence[Path], options: Options, pcs: bool = False
) -> None:
    """Enhance a file and write it; with `pcs` also with stretched contrast, for which the file is held in memory."""
    _check_targets(path, targets, options)
    with file_estimates(network, path, options) as estimates:
        if not pcs:
            write_blocks(estimates, path, targets, options)
            return
        enhanced = np.concatenate(list(estimates()))  # [T,1,C]
        both = np.concatenate([enhanced, stretched(enhanced[:, 0], audio.probe(path).sample_rate)[:, None]], 1)
        write_blocks(lambda: iter([both]), path, targets, options)


def _check_targets(path: str | os.PathLike[str], targets: Sequence[Path], options: Options) -> None:
    """Refuse, before the work, outputs that cannot be written."""
    info = audio.probe(path)
    writing.ending_of(options.format, path)
    channels = len(channel_numbers(path, info.channels, options.channels))
    writing.refuse_unwritable(targets[0], info.sample_rate, channels, options.subtype)


def write_blocks(blocks: Blocks, path: str | os.PathLike[str], targets: Sequence[Path], options: Options) -> None:
    """Write blocks [n,K,C] to K files, in one sample format that holds their peak, and the input's digits in a part."""
    info = audio.probe(path)
    ending = targets[0].suffix[1:]
    shapes = [(np.abs(block).max(initial=0.0), block.shape[2]) for block in blocks()]
    peak, channels = float(max(value for value, _ in shapes)), shapes[0][1]
    kept = writing.as_exact(ending, info.subtype, peak) if options.share < 1 else None
    wanted = options.subtype or kept
    chosen = writing.subtype_for(ending, peak, wanted)
    writing.say_what_is_odd(targets[0], peak, chosen, wanted)
    with writing.opened_for_writing(targets, info.sample_rate, channels, ending, chosen, info.frames) as files:
        for block in blocks():
            for file, column in zip(files, block.swapaxes(0, 1), strict=True):
                file.write(writing.encoded(column, chosen))
