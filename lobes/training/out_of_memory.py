"""Too little memory for a batch: one line that names the batch and what to lower."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import speechbrain as sb

from lobes.errors import UserError, is_out_of_memory

WORDS = {sb.Stage.TRAIN: "training", sb.Stage.VALID: "validation", sb.Stage.TEST: "the test"}


@contextmanager
def naming_the_batch(batch: Any, stage: sb.Stage, brain: Any) -> Iterator[None]:
    """Turn a lack of memory, on a GPU or a CPU, into one line.

    The training stops there: a step of a smaller batch would be another training. The same command goes on from the
    last checkpoint, with other values of the options that the line names.

    Arguments
    ---------
    batch : PaddedBatch
        With `id` and `mix_sig` [B,T].
    stage : speechbrain.Stage
    brain : speechbrain.Brain
        Its `hparams` say what can be lowered.

    Raises
    ------
    UserError
        With the stage, the size of the batch, its longest item and what to lower.

    Example
    -------
    >>> try:
    ...     with naming_the_batch([0], sb.Stage.TEST, None):
    ...         raise MemoryError("no room")
    ... except UserError as error:
    ...     print(error)
    out of memory in the test: no room. Lower valid_batch_size.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        hparams = getattr(brain, "hparams", None)
        reason = (str(error).splitlines() or ["no reason given"])[0].rstrip(".")
        raise UserError(
            f"out of memory in {WORDS[stage]}{_size(batch, hparams)}: {reason}. {_advice(stage, hparams)}"
        ) from error


def _size(batch: Any, hparams: Any) -> str:
    """How many items a batch has, and how long the longest is."""
    ids, (mix, _) = getattr(batch, "id", None), getattr(batch, "mix_sig", (None, None))
    if ids is None or mix is None:
        return ""
    samples, rate = mix.shape[1], getattr(hparams, "sample_rate", None)
    length = f"{samples / rate:.2f} s" if rate else f"{samples} samples"
    items = "1 item" if len(ids) == 1 else f"{len(ids)} items"
    return f", batch of {items}, the longest of {length}"


def _advice(stage: sb.Stage, hparams: Any) -> str:
    """What to lower, of what the recipe has and has not lowered yet."""
    of = vars(hparams) if hparams is not None else {}
    if stage != sb.Stage.TRAIN:
        ways = ["lower valid_batch_size"] if of.get("valid_batch_size") != 1 else ["shorten the longest files"]
        ways += ["give --eval_precision bf16"] if of.get("eval_precision") == "fp32" else []
    else:
        ways = ["lower batch_size (and raise grad_accumulation_factor as much)"] if of.get("batch_size") != 1 else []
        ways += ["give --gradient_checkpointing true"] if of.get("gradient_checkpointing") is False else []
        ways += ["give --precision bf16"] if of.get("precision") == "fp32" else []
        ways += ["lower training_signal_len, which begins a new run"] if of.get("training_signal_len") else []
    text = ", or ".join(ways) or "Choose a smaller preset"
    return f"{text[0].upper()}{text[1:]}."
