"""Score one system, or several at once, on the same items. T samples, S sources.

Each item is loaded once and given to all systems. The mixture itself is scored once for all of them. A stopped
evaluation goes on: what a system has made of an item is neither made nor scored again as long as the system, the
signals and the questions are the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lobes.evaluation.candidates import NOISY, Asked, Candidate, UntouchedMixture
from lobes.evaluation.items import CheckedItems, LoadedItem
from lobes.evaluation.job import ScoreJob
from lobes.evaluation.journal import Journal, key_of
from lobes.evaluation.results import folder_name, write_item, write_results
from lobes.evaluation.scoring import score_many
from lobes.evaluation.untouched import known_numbers
from lobes.runs import names

SYSTEM = " system"  # the column of the label while rows are made; no column of a manifest begins with a blank

Rows = list[dict[str, Any]]


def evaluate_one(
    candidate: Candidate,
    items: CheckedItems,
    out: Path,
    asked: Asked,
    workers: int | None = None,
    audio_items: int = 0,
) -> dict[str, Any]:
    """Score a system and its input, and write `per_utterance.csv`, `summary.json` and `audio/` into a folder.

    Arguments
    ---------
    candidate : Candidate
    items : CheckedItems
    out : Path
    asked : Asked
    workers : int, optional
        Scoring processes, as in `lobes.evaluation.scoring.score_many`.
    audio_items : int
        So many items are written as audio.

    Returns
    -------
    dict
        The summary of `lobes.evaluation.summary.summarise`.

    Raises
    ------
    UserError
        What the system cannot do, before anything is scored where that can be known.
    """
    prepare([candidate], items)
    journal = Journal(out / names.SCORED)
    jobs = _Jobs(items, asked, journal, {candidate.label: out}, audio_items)
    rows = score_many(jobs.of([candidate], {}), workers, total=len(items), journal=journal)
    summary = write_results(_rows_of(rows, candidate.label), out, items.by, **asked.summary)
    if all(row.get(SYSTEM, candidate.label) == candidate.label for row in journal.known.values()):
        journal.remove()  # else it is that of several systems, which an evaluation of one alone leaves as it is
    return summary


def evaluate_several(
    candidates: Sequence[Candidate],
    items: CheckedItems,
    out: Path,
    asked: Asked,
    workers: int | None = None,
    audio_items: int = 0,
) -> dict[str, dict[str, Any]]:
    """Score several systems and the untouched mixture; each gets a folder OUT/LABEL as `evaluate_one` writes it.

    `OUT/scored.jsonl` keeps the rows, so that the same call with one more system does that one alone.

    Arguments
    ---------
    candidates : sequence of Candidate
        With different labels. The mixture is scored whether it is among them or not.
    items, out, asked, workers, audio_items
        As in `evaluate_one`.

    Returns
    -------
    dict of str to dict
        The summary of each system, in their order, and of `noisy`.
    """
    prepare(candidates, items)
    mixture = next((one for one in candidates if isinstance(one, UntouchedMixture)), UntouchedMixture())
    others = [one for one in candidates if one is not mixture]
    folders = {one.label: out / one.label for one in (*others, mixture)}
    journal = Journal(out / names.SCORED)
    jobs = _Jobs(items, asked, journal, folders, audio_items)
    found = score_many(jobs.of([mixture], {}), workers, total=len(items), journal=journal)
    known = {row["id"]: known_numbers(row) for row in found}
    found += score_many(jobs.of(others, known), workers, total=len(items) * len(others), journal=journal)
    order = list(dict.fromkeys([*(one.label for one in candidates), mixture.label]))
    summaries = {
        label: write_results(_rows_of(found, label), folders[label], items.by, **asked.summary) for label in order
    }
    journal.tidy()
    return summaries


def prepare(candidates: Sequence[Candidate], items: CheckedItems) -> None:
    """Let every system look at the whole of the test set before the first item is scored."""
    mixtures = {row["ID"]: (row["mix_wav"], items.headers[row["ID"]]) for row in items.rows}
    for candidate in candidates:
        candidate.prepare(mixtures, items.num_sources)


class _Jobs:
    """Makes the jobs of systems item by item, without what the journal knows."""

    def __init__(
        self, items: CheckedItems, asked: Asked, journal: Journal, folders: Mapping[str, Path], audio_items: int
    ) -> None:
        self.items, self.asked, self.journal = items, asked, journal
        self.folders, self.audio_items = folders, audio_items

    def of(self, candidates: Sequence[Candidate], known: Mapping[str, Mapping[str, float]]) -> Iterator[ScoreJob]:
        """The jobs of these systems; `known` are the numbers of mixtures by the ID."""
        for index, row in enumerate(self.items.rows):
            item = self.items.load(row)
            for candidate in candidates:
                job = self._question(item, candidate, known.get(item.id, {}))
                written = index < self.audio_items
                if job.key and not written and self.journal.take(job.key):
                    continue
                job = replace(job, estimates=candidate.estimates(item.id, item.mix, self.items.rate))
                if written:
                    write_item(job, self.folders[candidate.label] / names.AUDIO / folder_name(item.id))
                yield job

    def _question(self, item: LoadedItem, candidate: Candidate, known: Mapping[str, float]) -> ScoreJob:
        """The job before its estimates are made, with a key where these can be known without."""
        job = ScoreJob(
            item.id, item.targets, item.targets, item.mix, self.items.rate, self.asked.metrics, item.improvement,
            {SYSTEM: candidate.label, **item.conditions}, True, item.texts, self.asked.recogniser, self.asked.trust,
            untouched=isinstance(candidate, UntouchedMixture), known=known,
        )  # fmt: skip
        return replace(job, key=key_of(job, candidate.fingerprint) if candidate.fingerprint else "")


def _rows_of(rows: Rows, label: str) -> Rows:
    """The rows of one system, without its label."""
    return [{key: row[key] for key in row if key != SYSTEM} for row in rows if row[SYSTEM] == label]


def labels_taken() -> tuple[str, ...]:
    """Labels that no system but the mixture may have: names of other things that stand next to the systems' folders.

    Example
    -------
    >>> "audio" in labels_taken()
    True
    """
    return (NOISY, names.AUDIO, names.UTTERANCES, names.SUMMARY, names.SCORED)
