"""From batches to the jobs that are scored. B batch, T samples, S sources."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

from lobes.evaluation.job import ScoreJob
from lobes.nnet.lengths import to_samples


def jobs_of(
    batch: Any,
    estimates: Tensor,
    improves: Sequence[bool],
    conditions: Sequence[Mapping[str, str]],
    sample_rate: int,
    metrics: Sequence[str],
) -> Iterator[ScoreJob]:
    """The items of a batch as jobs, without the padding.

    Arguments
    ---------
    batch : PaddedBatch
        With `id`, `mix_sig` [B,T] and `sources_sig` [B,T,S].
    estimates : Tensor [B,T,S]
    improves : sequence of bool
        Whether each item's improvement over the input means something.
    conditions : sequence of mapping
        What each item can be grouped by, as in `ScoreJob`.
    sample_rate : int
        In Hz.
    metrics : sequence of str
        As in `lobes.metrics.score`.

    Yields
    ------
    ScoreJob
    """
    mix, lengths = batch.mix_sig
    outputs, mixtures, targets = (x.detach().float().cpu().numpy() for x in (estimates, mix, batch.sources_sig.data))
    samples = to_samples(lengths, mix.shape[1], len(mix)).tolist()
    items = zip(batch.id, improves, conditions, samples, strict=True)
    for i, (ID, improvement, of, n) in enumerate(items):
        yield ScoreJob(ID, outputs[i, :n], targets[i, :n], mixtures[i, :n], sample_rate, metrics, improvement, of)


def conditions_of(batch: Any, group_by: str | None) -> list[dict[str, str]]:
    """What the table says of each item of a batch: its group, and who speaks where that is known.

    Example
    -------
    >>> from types import SimpleNamespace
    >>> batch = SimpleNamespace(id=["a", "b"], variant=["SE", "C"], speaker=["anna+jan", ""])
    >>> conditions_of(batch, "variant")
    [{'variant': 'SE', 'speaker': 'anna+jan'}, {'variant': 'C'}]
    """
    columns = {name: getattr(batch, name, ()) for name in (group_by, "speaker") if name}
    rows = [{name: values[i] for name, values in columns.items() if i < len(values)} for i in range(len(batch.id))]
    return [{name: value for name, value in row.items() if value} for row in rows]
