"""One batch of a recipe: a training step and a validation batch of the longest items, their time and their memory.

Everything is taken from the recipe's Brain as its training would have it, but the items: a batch of the longest ones
needs the most memory.
"""

from __future__ import annotations

import math
import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lobes.data.manifest import read_manifest
from lobes.doctor.finding import FAIL, OK, WARN, Finding, in_bytes
from lobes.doctor.machine import SHARED_FOLDER, available_memory, existing, shared_memory

SECONDS, STEPS = 3.0, 5  # steps are timed until one of them is reached
TIGHT = 0.9  # share of the memory from which on it is a warning
KEPT = 3  # checkpoints that lie on the disk at a time: the best, the newest, and the one that is being written
AHEAD = 2  # batches that a loader worker holds ready
Durations = Mapping[str, float]  # ID -> seconds


def measure(
    brain: Any, datasets: Mapping[str, Any], clock: Any, output_folder: str, at: Callable[[str], None]
) -> Iterator[Finding]:
    """Take steps with a recipe's Brain, whose run folder is a temporary one, and say what a training would take.

    Arguments
    ---------
    brain : SeparationBrain
        As the recipe makes it, not yet trained.
    datasets : mapping
        Split -> DynamicItemDataset.
    clock : torch.Tensor
        [1], the epoch.
    output_folder : str
        Where the training would write.
    at : callable
        Is given what is about to be done, for the case that it never ends.

    Yields
    ------
    Finding
    """
    import speechbrain as sb

    h = brain.hparams
    seconds = {split: durations_of(h, split) for split in datasets}
    brain.epoch_clock, brain.grad_accumulation_factor = clock, 1
    batch, reading = _longest(brain, datasets["train"], seconds["train"], h.batch_size, sb.Stage.TRAIN)
    at(f"training step (a batch of {h.batch_size} items of {_length(batch)} samples)")
    first, step, loss = _train(brain, batch)
    yield _network(brain)
    yield _step(brain, first, step, loss)
    yield _reading(reading, step, h.num_workers)
    at(f"validation (a batch of {h.valid_batch_size} whole items)")
    other = max(("valid", "test"), key=lambda split: max(seconds[split].values(), default=0.0))
    whole, _ = _longest(brain, datasets[other], seconds[other], h.valid_batch_size, sb.Stage.VALID)
    share = _length(whole) / h.sample_rate * len(whole.id)
    validation = _validate(brain, whole) / share * sum(seconds["valid"].values())
    batches = math.ceil(len(datasets["train"].data_ids) / h.batch_size)
    yield _time(h, batches, step, validation)
    yield _memory(brain)
    if h.num_workers and Path(SHARED_FOLDER).is_dir():
        yield _shared(batch, h.num_workers)
    at("checkpoint")
    yield _checkpoint(brain, output_folder)


def durations_of(h: Any, split: str) -> Durations:
    """Seconds of each row of a split's manifest, by its ID; `h` holds the settings of the recipe."""
    rows = read_manifest(Path(h.save_folder, f"{split}.csv"), h.data_folder, needed=("ID", "duration"))
    return {row["ID"]: row["duration"] for row in rows}


def _longest(brain: Any, dataset: Any, seconds: Durations, size: int, stage: Any) -> tuple[Any, float]:
    """A batch of the longest items, and the seconds that one process needs to read it."""
    from speechbrain.dataio.dataset import FilteredSortedDynamicItemDataset

    IDs = sorted(dataset.data_ids, key=lambda ID: -seconds.get(ID, 0.0))[:size]
    brain.epoch_clock.fill_(1)
    items = FilteredSortedDynamicItemDataset(dataset, IDs)
    loader = brain.make_dataloader(items, stage, ckpt_prefix=None, batch_size=size, num_workers=0)
    begin = time.perf_counter()
    return next(iter(loader)), time.perf_counter() - begin


def _length(batch: Any) -> int:
    """Samples of a batch [B,T]."""
    return int(batch.mix_sig.data.shape[1])


def _train(brain: Any, batch: Any) -> tuple[float, float, float]:
    """Seconds of the first step and of the following ones, and the loss of the last."""
    import speechbrain as sb

    brain.on_fit_start()
    brain.on_stage_start(sb.Stage.TRAIN, 1)
    brain.modules.train()
    taken: list[float] = []
    loss = math.nan
    while len(taken) <= STEPS and sum(taken[1:]) < SECONDS:
        brain.step += 1
        begin = time.perf_counter()
        loss = float(brain.fit_batch(batch))  # waits for a GPU
        taken.append(time.perf_counter() - begin)
    return taken[0], statistics.median(taken[1:]), loss


def _validate(brain: Any, batch: Any) -> float:
    """Seconds of a batch in evaluation, without scoring."""
    import speechbrain as sb
    import torch

    brain.on_stage_start(sb.Stage.VALID, 1)
    brain.modules.eval()
    begin = time.perf_counter()
    with torch.no_grad():
        brain.evaluate_batch(batch, sb.Stage.VALID)
    return time.perf_counter() - begin


def _network(brain: Any) -> Finding:
    parameters = sum(p.numel() for p in brain.modules.parameters())
    return Finding(OK, "network", f"preset {getattr(brain.hparams, 'preset', '?')}, {parameters:,} parameters")


def _step(brain: Any, first: float, step: float, loss: float) -> Finding:
    text = f"{step:.2f} s a batch on {brain.device}, after a first one of {first:.1f} s; loss {loss:.2f}"
    if brain.counts.skipped or not math.isfinite(loss):
        return Finding(FAIL, "training step", f"{text}: not finite. Train with --precision fp32, or look at the data.")
    return Finding(OK, "training step", text)


def _reading(reading: float, step: float, workers: int) -> Finding:
    share = reading / max(1, workers)
    text = f"{reading:.3f} s a batch in one process, num_workers is {workers}"
    if share > step:
        return Finding(WARN, "reading", f"{text}: steps of {step:.2f} s wait for data. Raise --num_workers.")
    return Finding(OK, "reading", text)


def _time(h: Any, batches: int, step: float, validation: float) -> Finding:
    """Hours of an epoch and of the whole budget, by what ends first."""
    epoch = batches * step
    text = f"an epoch of {batches:,} batches takes about {hours(epoch)}, its validation {hours(validation)} and scoring"
    epochs = float(h.N_epochs)
    if h.max_steps is not None:
        epochs = min(epochs, h.max_steps * h.grad_accumulation_factor / batches)
    if h.max_minutes is not None:
        epochs = min(epochs, 60 * h.max_minutes / epoch)
    whole = epochs * epoch + math.floor(epochs) * validation
    text += f"; the budget is {epochs:.3g} epochs, {hours(whole)}, if patience does not end it before"
    if epochs < 1:
        return Finding(WARN, "time", f"{text}. It ends within the first epoch: not all of the data are seen.")
    return Finding(OK, "time", text)


def hours(seconds: float) -> str:
    """A time in words.

    Example
    -------
    >>> hours(30), hours(5400), hours(9e5)
    ('30 s', '1.5 h', '250 h (10 days)')
    """
    if seconds < 600:
        return f"{seconds:.0f} s"
    days = f" ({seconds / 86400:.0f} days)" if seconds > 4 * 86400 else ""
    return f"{seconds / 3600:.3g} h{days}"


def _memory(brain: Any) -> Finding:
    """The most memory so far, against what there is."""
    import torch

    from lobes.training.memory import peak_megabytes

    peak = peak_megabytes(brain.device) * 2**20
    if torch.device(brain.device).type == "cuda":
        free, total = torch.cuda.mem_get_info(brain.device)
        free += torch.cuda.memory_reserved(brain.device)
    else:
        free, total = available_memory()
        free = min(total, free + int(peak))  # what this process holds is free again for the training
    text = f"peak of {in_bytes(peak)} on {brain.device}, with {in_bytes(free)} of {in_bytes(total)} to be had"
    if peak > TIGHT * free:
        advice = "Lower --batch_size or --training_signal_len, or choose a smaller --preset."
        return Finding(FAIL if peak > free else WARN, "memory", f"{text}. {advice}")
    return Finding(OK, "memory", text)


def _shared(batch: Any, workers: int) -> Finding:
    tensors = [value.data for value in (batch.mix_sig, batch.sources_sig)]
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    return shared_memory(AHEAD * workers * size, f"{workers} loader workers hold {AHEAD} batches each there")


def _checkpoint(brain: Any, output_folder: str) -> Finding:
    """The size of a checkpoint, against the room in the folder of the runs."""
    saved = Path(brain.checkpointer.save_checkpoint().path)
    size = sum(path.stat().st_size for path in saved.rglob("*") if path.is_file())
    free = shutil.disk_usage(existing(output_folder)).free
    text = f"{in_bytes(size)} each, {in_bytes(free)} free for {output_folder}"
    if KEPT * size > free:
        return Finding(
            FAIL, "checkpoints", f"{text}: {KEPT} must fit. Free some space, or give another --output_folder."
        )
    return Finding(OK, "checkpoints", text)
