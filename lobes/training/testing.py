"""From batches to the jobs that are scored, and the rows of a test that was stopped. B batch, T samples, S sources."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from lobes.data.manifest import speaker_condition, texts_of
from lobes.evaluation.conditions import signal_conditions
from lobes.evaluation.job import ScoreJob
from lobes.evaluation.journal import Journal
from lobes.nnet.lengths import to_samples
from lobes.runs import names


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


def passed_on(jobs: Iterable[ScoreJob], heard: list[ScoreJob], number: int) -> Iterator[ScoreJob]:
    """Pass jobs on, and keep the first so many, which are written as audio later."""
    for job in jobs:
        if len(heard) < number:
            heard.append(job)
        yield job


def journal_of(folder: Path, rank: int) -> Journal:
    """The rows that this rank writes while it scores; those that any rank has left there before count, too."""
    mine = folder / names.of(names.SCORED, f"rank{rank}" if rank else "")
    return Journal(mine, *(path for path in _journals(folder) if path != mine))


def forget_journals(folder: Path) -> None:
    """Remove the journals of all ranks: the results are written.

    Example
    -------
    >>> from tempfile import mkdtemp
    >>> folder = Path(mkdtemp())
    >>> list(journal_of(folder, 0).keep([])), list(journal_of(folder, 1).keep([]))
    ([], [])
    >>> forget_journals(folder)
    >>> list(folder.iterdir())
    []
    """
    for path in _journals(folder):
        path.unlink(missing_ok=True)


def _journals(folder: Path) -> list[Path]:
    stem, dot, ending = names.SCORED.rpartition(".")
    return sorted(folder.glob(f"{stem}*{dot}{ending}"))
