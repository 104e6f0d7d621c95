#!/usr/bin/env python3
"""Real recordings: two corpora in PolSESS's format, SPMamba and ConvTasNet for the same minutes, a table.

> python ../recordings.py FOLDER                    # builds the folder of recordings from public sources, 28 MB
> python realdata.py --recordings FOLDER            # the whole table, about 100 min on two cores (90 with --jobs 2)
> python realdata.py --recordings FOLDER --hparams spmamba --preset spmamba_8k --baseline convtasnet --device cuda
> python realdata.py --recordings FOLDER --corpora_only   # to compare more models, see ../comparison.py

FOLDER holds manifest.csv with the columns path and split (train, valid, test), and the recordings under speech/ and
noise/ that this file names. One corpus is for task ES (enhance one speaker) and one for SB (separate both); speakers,
recordings and simulated rooms of the test are never heard in training. Each run is also tested on a corpus of another
domain, which it has seen nothing of (`out_of_domain_corpus.py`). Finished runs are kept: the same command after an
interruption goes on where it stopped. The tables go into RESULTS.md in this folder, or into --results.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))  # what both recipes with real recordings share

import out_of_domain
import out_of_domain_corpus
from counted_variants import CLEAN, counted_variants
from realdata_corpora import CORPORA, in_words, make_data

from lobes.config.recipe_folders import results_folder, results_page
from lobes.data import arguments
from lobes.errors import UserError, exit_on_user_error
from lobes.evaluation.inputs import shared_in
from lobes.reports import tables as table
from lobes.runs.launcher import Run, run_all, stage
from lobes.runs.record import Outcome, collect

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TRAIN_SCRIPT = HERE / "train.py"
RESULTS = results_page(HERE)
RECORDINGS = ROOT.parent / "shared" / "realdata"
SEEDS = (1, 2)
OVERHEAD = 2.5  # minutes of a run that are not training: start, validation, test with PESQ and STOI


def main(argv: Sequence[str] | None = None) -> None:
    """Build the corpora, train what is not trained yet, write the table."""
    options = parse(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the runs are ended, too
    data = options.recordings = find_recordings(options.recordings)
    print(plan(options), flush=True)
    corpora, foreign = {}, {}
    for task in options.tasks:
        with stage(f"corpora for {task}"):
            corpora[task] = make_data(data, task, options.output)
            foreign[task] = out_of_domain_corpus.make_manifest(data, task, options.output)
    if options.corpora_only:
        return
    runs = make_runs(options, corpora)
    # all runs of a task are tested on the same mixtures
    with (
        stage(f"{len(runs)} runs of {budget(options)}, {options.jobs} at a time"),
        shared_in(options.output / "input_scores"),
    ):
        run_all(list(runs.values()), jobs=options.jobs, every=60)
        for (task, _, _), run in runs.items():
            out_of_domain.test(run.folder, foreign[task], options.device)
    outcomes = {key: collect(run.folder) for key, run in runs.items()}
    text = results_text(options, outcomes) + "\n\n" + second_text(options, runs)
    table.replace_section(options.results, f"realdata-{options.preset}-{options.baseline}", text)
    print(f"\n{text}\n\nwritten to {options.results}", flush=True)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = arguments.Parser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add(
        "--recordings",
        type=Path,
        metavar="FOLDER",
        help="with manifest.csv (default: shared/realdata near the checkout)",
    )
    add("--output", type=Path, default=results_folder() / "realdata", help="default: results/realdata")
    add("--results", type=Path, default=RESULTS, help="Markdown file for the table (default: %(default)s)")
    add("--hparams", default="spmamba_mini", help="hparams/<name>.yaml, the training (default: %(default)s)")
    add("--preset", default="spmamba_mini", help="a network of hparams_shared/models (default: %(default)s)")
    add("--baseline", default="convtasnet_tiny", help="the other network (default: %(default)s)")
    add("--tasks", nargs="+", default=list(CORPORA), choices=list(CORPORA))
    add("--seeds", nargs="+", type=arguments.from_zero, default=list(SEEDS))
    add("--minutes", type=arguments.positive, help="training minutes of each run (default: 10; 20 with --jobs 2)")
    add(
        "--steps",
        type=arguments.count,
        help="optimizer steps of each run, in place of minutes: the same on a busy machine",
    )
    add("--jobs", type=arguments.count, default=1, help="runs at a time (default: %(default)s)")
    add("--threads", type=arguments.count, help="of each run (default: 2; 1 with --jobs 2)")
    add("--corpora_only", action="store_true", help="make the corpora, for recipes/comparison.py, and stop")
    add("--device", help="for example cuda (default: what train.py chooses)")
    options = parser.parse_args(argv)
    if options.jobs < 1:
        raise UserError(f"--jobs must be 1 or more, got {options.jobs}.")
    if options.minutes and options.steps:
        raise UserError("give one budget: --minutes or --steps.")
    options.minutes = options.minutes or (10.0 if options.jobs == 1 else 20.0)
    options.threads = options.threads or (2 if options.jobs == 1 else 1)
    options.output, options.results = options.output.resolve(), options.results.resolve()
    return options


def plan(options: argparse.Namespace) -> str:
    """Say what will happen and how long it takes."""
    count = len(options.tasks) * len(options.seeds) * 2
    rounds = -(-count // options.jobs)
    total = 2 + rounds * (options.minutes + OVERHEAD)
    time = "" if options.steps else f"This takes about {total:.0f} min if nothing is done yet. "
    return (
        f"{count} runs: {options.preset} and {options.baseline} on {' and '.join(options.tasks)}, "
        f"seeds {', '.join(map(str, options.seeds))}\n"
        f"{budget(options)} each, {options.jobs} at a time, {options.threads} thread(s)\n"
        f"{time}After a stop the same command goes on.\n"
        f"State in {options.output}"
    )


def budget(options: argparse.Namespace) -> str:
    """The budget of a run in words."""
    return f"{options.steps} steps" if options.steps else f"{options.minutes:g} min of training"


def find_recordings(folder: Path | None) -> Path:
    """Check that the folder is the one that is meant; without one, take the default."""
    if folder is None and RECORDINGS.is_dir():
        folder = RECORDINGS
    if folder is None or not (folder / "manifest.csv").is_file():
        found = "--recordings is missing" if folder is None else f"{folder}: no manifest.csv"
        raise UserError(
            f"{found}. Give --recordings FOLDER: real recordings under speech/ and noise/, and a manifest.csv with the "
            "columns path and split. `python ../recordings.py FOLDER` builds it from public sources."
        )
    return folder.resolve()


def make_runs(options: argparse.Namespace, corpora: Mapping[str, Path]) -> dict[tuple[str, str, int], Run]:
    """One run per task, model and seed, by that key."""
    keys = [(t, m, s) for t in corpora for s in options.seeds for m in (options.preset, options.baseline)]
    return {key: make_run(options, corpora[key[0]], *key) for key in keys}


def make_run(options: argparse.Namespace, corpus: Path, task: str, model: str, seed: int) -> Run:
    """Describe one run; its state is kept in its own folder."""
    name = f"{model}_{task}_seed{seed}"
    settings = {
        "data_folder": corpus,
        "preset": model,
        "task": task,
        "seed": seed,
        "dynamic_mixing": True,  # also for the large presets, whose files leave it off
        "training_signal_len": 16000,  # the same for both models; half of it was worse for SB on the valid speakers
        **({"max_steps": options.steps} if options.steps else {"max_minutes": options.minutes}),
        "N_epochs": 100_000,  # the budget ends the training
        "ckpt_interval_minutes": 2,
        **({"device": options.device} if options.device else {}),
    }
    folder = options.output / corpus.name / name
    return Run(
        name, TRAIN_SCRIPT, f"hparams/{options.hparams}.yaml", folder, settings, ("noprogressbar",), options.threads
    )


def results_text(options: argparse.Namespace, outcomes: Mapping[tuple[str, str, int], Outcome]) -> str:
    """The section of RESULTS.md."""
    from lobes.runs.provenance import command

    first = next(iter(outcomes.values())).train_time
    lines = [
        f"### Real speech, {budget(options)}",
        "",
        *introduction(options),
        "",
        *(part for task in options.tasks for part in task_text(options, task, outcomes)),
        table.UNITS + " " + CLEAN,
        "",
        f"- command: `{command(__file__, list(given(options)))}` (each run's own is in its `launch.json`)",
        f"- commit: {first.get('commit', 'unknown')}",
        f"- seeds: of the corpora {', '.join(f'{task} {CORPORA[task]}' for task in options.tasks)}, "
        f"of the training {', '.join(map(str, options.seeds))}",
        f"- budget: {budget(options)} a run, {options.jobs} run(s) at a time, {options.threads} thread(s) each",
        f"- machine: {first.get('machine', 'unknown')}",
    ]
    return "\n".join(lines)


def introduction(options: argparse.Namespace) -> list[str]:
    """Say what the corpora hold."""
    return [
        f"Two corpora in PolSESS's format at 8 kHz, one for each task, each of {in_words()} Training mixes "
        "dynamically; the checkpoint that is best on the valid speakers is tested. "
        f"{options.preset} and {options.baseline} have the same budget.",
    ]


def task_text(options: argparse.Namespace, task: str, outcomes: Mapping[tuple[str, str, int], Outcome]) -> list[str]:
    """Tables of one task: all numbers, then the improvement by variant."""
    mine = {f"{model}, seed {seed}": o for (t, model, seed), o in sorted(outcomes.items()) if t == task}
    rows = [table.model_row(label, outcome, counted_variants(task)) for label, outcome in mine.items()]
    header, variants = table.group_rows(mine, counted_variants(task))
    by_variant = [[*row, full_mixtures(o)] for row, o in zip(variants, mine.values(), strict=True)]
    return [
        f"Task {task}:",
        "",
        table.as_markdown(table.HEADER, rows),
        "",
        f"Task {task}, SI-SDRi in dB by variant; the last column is the mean of SER and SE:",
        "",
        table.as_markdown([*header, "SER+SE"], by_variant),
        "",
    ]


def second_text(options: argparse.Namespace, runs: Mapping[tuple[str, str, int], Run]) -> str:
    """Both tests of each task next to each other."""
    parts = [out_of_domain_corpus.DESCRIPTION]
    for task in options.tasks:
        folders = {m: [runs[task, m, s].folder for s in options.seeds] for m in (options.preset, options.baseline)}
        parts.append(out_of_domain.section(folders, f"Task {task}, both tests:", "si_sdr"))
    return "\n\n".join(parts)


def full_mixtures(outcome: Outcome) -> str:
    """SI-SDRi of the variants that leave nothing out, with equal weight."""
    variants = outcome.summary["groups"]
    return table.show(table.mean(variants.get(name, {}).get("si_sdri") for name in ("SER", "SE")))


def given(options: argparse.Namespace) -> list[str]:
    """The options that make the numbers, as words of a command line."""
    words = ["--recordings", options.recordings.resolve().name]
    words += ["--preset", options.preset, "--baseline", options.baseline]
    words += ["--steps", str(options.steps)] if options.steps else ["--minutes", f"{options.minutes:g}"]
    words += ["--jobs", str(options.jobs), "--threads", str(options.threads), "--tasks", *options.tasks]
    words += ["--seeds", *map(str, options.seeds)]
    return words + (["--device", options.device] if options.device else [])


if __name__ == "__main__":
    with exit_on_user_error():
        main(sys.argv[1:])
