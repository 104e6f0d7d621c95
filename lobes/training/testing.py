"""From batches to the jobs that are scored. B batch, T samples, S sources."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

from lobes.data.manifest import speaker_condition, texts_of
from lobes.evaluation.conditions import signal_conditions
from lobes.evaluation.job import ScoreJob
from lobes.nnet.lengths import to_samples


def jobs_of(
    batch: Any,
    estimates: Tensor,
    improves: Sequence[bool],
    conditions: Sequence[Mapping[str, str]],
    sample_rate: int,
    metrics: Sequence[str],
    rows: Mapping[str, Mapping[str, str]],
    recogniser: str,
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
    rows : mapping
        ID -> the texts of an item, as `lobes.data.manifest.texts_of` takes them.
    recogniser : str
        As in `ScoreJob`.

    Yields
    ------
    ScoreJob
    """
    mix, lengths = batch.mix_sig
    outputs, mixtures, targets = (x.detach().float().cpu().numpy() for x in (estimates, mix, batch.sources_sig.data))
    samples = to_samples(lengths, mix.shape[1], len(mix)).tolist()
    items = zip(batch.id, improves, conditions, samples, strict=True)
    for i, (ID, improvement, of, n) in enumerate(items):
        signals = outputs[i, :n], targets[i, :n], mixtures[i, :n]
        row = rows.get(ID, {})
        of = {**of, **signal_conditions(mixtures[i, :n], targets[i, :n], sample_rate, row)}
        texts = texts_of(row, targets.shape[2])
        yield ScoreJob(ID, *signals, sample_rate, metrics, improvement, of, texts=texts, recogniser=recogniser)


def conditions_of(batch: Any, group_by: str | None, rows: Mapping[str, Mapping[str, Any]]) -> list[dict[str, str]]:
    """What the table says of each item of a batch: its group, and who speaks where the rows of the test say it.

    Example
    -------
    >>> from types import SimpleNamespace
    >>> batch = SimpleNamespace(id=["a", "b"], variant=["SE", "C"])
    >>> conditions_of(batch, "variant", {"a": {"speaker": "anna+jan"}, "b": {"speaker": ""}})
    [{'variant': 'SE', 'speaker': 'anna+jan'}, {'variant': 'C'}]
    """
    groups = [{group_by: group} for group in getattr(batch, group_by)] if group_by else [{}] * len(batch.id)
    return [group | speaker_condition(rows.get(ID, {})) for ID, group in zip(batch.id, groups, strict=True)]
