"""What `lobes evaluate` does: from the words of a command line to tables, a page and a report."""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lobes.commands import result_tables
from lobes.commands.examples import audio_examples
from lobes.commands.system_words import open_systems
from lobes.data import audio
from lobes.data.files import write_whole
from lobes.errors import UserError, visible
from lobes.evaluation.candidates import NOISY, Asked, Candidate, UntouchedMixture
from lobes.evaluation.comparison import GAINS, PairedDifference, compare, measures_of, several_speakers
from lobes.evaluation.intervals import MeasureMeans, means_of
from lobes.evaluation.items import CheckedItems, Manifest, filled_columns, sources_of
from lobes.evaluation.manifest import open_manifest
from lobes.evaluation.results import write_json
from lobes.evaluation.score_tables import System, read_scores, speakers_of
from lobes.evaluation.several import evaluate_one, evaluate_several
from lobes.evaluation.summary import format_table
from lobes.evaluation.untouched import mixture_of
from lobes.inference.by_name import load_separator
from lobes.inference.separator import Separator
from lobes.inference.systems import common
from lobes.polsess import variants
from lobes.polsess.fixed import PARTS, layout_of
from lobes.reports import differences as difference_page
from lobes.runs import names
from lobes.runs.provenance import commit, machine
from lobes.training.checks import refuse_unwritable

RESULTS, LATEX, REPORT = "results.md", "results.tex", "report.html"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EvaluationRequest:
    """The command line of `lobes evaluate`; see its options."""

    words: Sequence[str]
    data: Path
    out: Path
    asked: Asked
    data_root: Path | None = None
    task: str | None = None
    rate: int | None = None
    workers: int | None = None
    save_audio: int = 0
    group_by: str | None = None
    device: str | None = None
    revision: str | None = None
    trust: bool = False
    report: bool = True


@dataclass(frozen=True)
class Judgement:
    """What came out: tables of all systems with the untouched mixture, their means and their differences."""

    systems: Sequence[System]
    means: Sequence[MeasureMeans]
    differences: Sequence[PairedDifference]
    speakers: bool  # whether the intervals are by speakers, not by utterances


def evaluate(request: EvaluationRequest) -> None:
    """Score the systems, write all files, and print the table.

    Raises
    ------
    UserError
        For whatever cannot be evaluated, before the first item is scored where that can be known.
    """
    refuse_unwritable(request.out, "--out")
    manifest = open_manifest(request.data, request.data_root)  # before the models are loaded
    tasks: dict[str, str] = {}
    candidates = open_systems(request.words, _loader(request, tasks))
    items = _items(request, manifest, candidates, sorted(set(tasks.values())))
    how = (items, request.out, request.asked, request.workers, request.save_audio)
    if len(candidates) == 1:
        print(visible(format_table(evaluate_one(candidates[0], *how)), keep="\n"))
        tables = _with_mixture(_tables_of([candidates[0].label], [request.out]), candidates[0])
    else:
        summaries = evaluate_several(candidates, *how)
        tables = _tables_of(list(summaries), [request.out / label for label in summaries])
    judgement = judge(tables, _mixture_among(candidates), items.by)
    if len(candidates) > 1:
        write_json(request.out / names.SUMMARY, _in_short(request, items, summaries, judgement))
        if judgement is not None:
            print(visible(result_tables.as_lines(judgement.means, _failed(judgement), judgement.differences), "\n"))
    _write(request, items, candidates, judgement)
    print(f"wrote {request.out}")


def judge(systems: Sequence[System], mixture: str, group_by: str | None) -> Judgement | None:
    """Means of systems, and their differences from the mixture and from the first of them.

    None where no measure has a number in all of them.
    """
    try:
        measures = measures_of([system.tables[0] for system in systems]) if systems else []
    except UserError:
        return None
    if not measures:
        return None
    scores = {gain: name for name, gain in GAINS.items()}  # the mixture's own line is a score; its gain is zero
    measures = [scores.get(name, name) for name in measures]
    first = systems[0].tables[0]
    known = group_by if group_by in first.words else None
    against = dict.fromkeys((mixture, systems[0].label))
    found = compare(systems, measures, None, known, against=list(against)) if len(systems) > 1 else []
    return Judgement(systems, means_of(systems, measures, known), found, several_speakers(speakers_of(first)))


def _loader(request: EvaluationRequest, tasks: dict[str, str]) -> Callable[[str], Separator]:
    def load(word: str) -> Separator:
        # scores are taken at their own level, and those that no level moves are equal to the recipe's to the last digit
        separator = load_separator(word, request.device, request.revision, request.trust, level="model")
        if separator.task:
            tasks[word] = separator.task
        return separator

    return load


def _items(
    request: EvaluationRequest, manifest: Manifest, candidates: Sequence[Candidate], tasks: Sequence[str]
) -> CheckedItems:
    """The test set at the number of sources and the rate of the systems, or its own where they have none."""
    if len(tasks) > 1 and not request.task:
        raise UserError(f"the models were trained on {' and '.join(tasks)}. Add --task {' or '.join(tasks)}.")
    filled = filled_columns(manifest.rows)
    trained = tasks[0] if tasks else manifest.task
    count = common(candidates)
    if count is None:
        count = len(sources_of(filled))
        if all(filled.get(column) for column in PARTS):
            task = request.task or trained
            if task is None:
                raise UserError(f"{manifest.path}: a manifest of PolSESS. Add --task {' or '.join(variants.TASKS)}.")
            count = variants.num_sources(task)
    sources = count
    return CheckedItems(
        manifest, sources, _rate(request, manifest, candidates), request.asked.metrics, request.group_by,
        lambda row: layout_of(row, sources, request.task, trained),
    )  # fmt: skip


def _rate(request: EvaluationRequest, manifest: Manifest, candidates: Sequence[Candidate]) -> int:
    """The rate that was asked for, else the lowest of the models, else that of the first mixture."""
    rates = {one.label: one.sample_rate for one in candidates if one.sample_rate}
    rate = request.rate or min(rates.values(), default=0) or audio.probe(manifest.rows[0]["mix_wav"]).sample_rate
    for label, own in rates.items():
        if own != rate:
            logger.warning("%s: works at %d Hz; its outputs are scored at %d Hz", label, own, rate)
    return rate


def _tables_of(labels: Sequence[str], folders: Sequence[Path]) -> list[System]:
    """The tables that were written; none where one of them has not a single number."""
    try:
        return [System(label, [read_scores(folder)]) for label, folder in zip(labels, folders, strict=True)]
    except UserError:
        return []


def _mixture_among(candidates: Sequence[Candidate]) -> str:
    """The label of the untouched mixture."""
    return next((one.label for one in candidates if isinstance(one, UntouchedMixture)), NOISY)


def _with_mixture(systems: list[System], candidate: Candidate) -> list[System]:
    """A system alone, and the untouched mixture by the same table."""
    if not systems or isinstance(candidate, UntouchedMixture):
        return systems
    return [*systems, System(NOISY, [mixture_of(systems[0].tables[0])])]


def _write(
    request: EvaluationRequest, items: CheckedItems, candidates: Sequence[Candidate], judgement: Judgement | None
) -> None:
    """Write the page, the table for LaTeX and the report; nothing where nothing could be measured."""
    if judgement is None:
        logger.warning("%s: no measure has a number in every system, so there is nothing to compare", request.out)
        return
    title = f"Evaluation on {'/'.join(Path(request.data).resolve().parts[-2:])}"
    page = result_tables.as_page(title, judgement.means, _failed(judgement), judgement.differences, judgement.speakers)
    write_whole(request.out / RESULTS, page)
    write_whole(request.out / LATEX, result_tables.as_latex(judgement.means, judgement.differences))
    if request.report:
        _write_report(request.out / REPORT, title, items, candidates, judgement)


def _write_report(
    path: Path, title: str, items: CheckedItems, candidates: Sequence[Candidate], judgement: Judgement
) -> None:
    from lobes.reports.evaluation_page import chosen_examples, write_evaluation_page

    shown = _mixture_among(candidates) if len(judgement.systems) > 1 else None  # alone, it is like any other
    chosen = chosen_examples(judgement.systems, judgement.means[0].measure, reference=shown)
    facts = {
        "command": shlex.join(["lobes", *sys.argv[1:]]), "commit": commit(), "machine": machine(),
        "data": str(items.manifest.path), "utterances": str(len(items)), "sample rate": f"{items.rate} Hz",
    }  # fmt: skip
    write_evaluation_page(
        path, title, judgement.systems, judgement.differences, audio_examples(chosen, items, candidates),
        reference=shown, facts=facts, means=judgement.means,
    )  # fmt: skip


def _failed(judgement: Judgement) -> dict[str, str]:
    """How many utterances of each system have a failure; a dash where only its numbers are known."""
    found = {system.label: system.tables[0].words.get("status") for system in judgement.systems}
    return {
        label: "-" if of is None else str(sum(status != "ok" for status in of.values())) for label, of in found.items()
    }


def _in_short(
    request: EvaluationRequest, items: CheckedItems, summaries: dict[str, Any], judgement: Judgement | None
) -> dict[str, Any]:
    """The summary of all systems, ready for JSON."""
    means = {} if judgement is None else result_tables.as_numbers(judgement.means)
    shown = [] if judgement is None else difference_page.as_numbers(judgement.differences)
    return {
        "data": str(items.manifest.path), "n": len(items), "sample_rate": items.rate,
        "metrics": list(request.asked.metrics), "means": means, "differences": shown, "systems": summaries,
    }  # fmt: skip
