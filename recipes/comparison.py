#!/usr/bin/env python3
"""Compare recipe files or mixers on one data set, trained with one budget and the same seeds: a table and a picture.

> python comparison.py PolSESS --hparams spmamba_mini spmamba_mini:dprnn_tiny --data_folder DATA --minutes 4
> python comparison.py PolSESS --hparams spmamba spmamba:dprnn best.yaml --data_folder DATA --gmacs 1e7
> python comparison.py PolSESS --hparams spmamba_mini --mixers mamba lstm attention --match parameters --steps 1000 ...

The budget is one of --minutes (of training), --steps, or --gmacs (10^9 multiply-accumulates of the training; a step
counts as three forward passes). With --match each mixer gets the width at which the network is as large, or costs as
much, as it is with its own. All pairs are compared in each of --measures, and the first one orders the table. All names
are checked before the first run. Finished runs are kept: after an interruption the same command goes on. Everything is
written into --output; --results also puts the section into a file. With --second_test each run is also tested on a
manifest of another domain, such as those that realdata.py makes. --scores keeps what the runs measured, without
weights, and takes it from there for runs that are not in --output: so several machines can share a comparison.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import comparison_scores
import out_of_domain
from comparison_entries import Entry, entries_of

from lobes.config.recipe_folders import results_folder
from lobes.data import arguments
from lobes.data.files import write_whole
from lobes.errors import UserError, exit_on_user_error
from lobes.evaluation.comparison import ALL, PairedDifference, compare
from lobes.evaluation.inputs import shared_in
from lobes.evaluation.score_tables import System, read_scores
from lobes.reports import comparison, differences
from lobes.reports.tables import replace_section
from lobes.runs.launcher import Run, run_all, stage
from lobes.runs.record import Outcome, collect

HERE = Path(__file__).resolve().parent
PASSES = 3  # forward passes that a training step costs: one forward, about two backward
EXTRA_MINUTES = 2.5  # of a run that are not training: start, validation, test
SECOND_MINUTES = 1.0  # of its second test
RTF_SECONDS = 10.0  # of noise, for the real-time factor
OF_GAIN = {"si_sdri": "si_sdr"}  # measure of the differences -> that of the gains by condition
# Set in every run in addition to its budget; --options come after and may say otherwise.
ALWAYS = {"N_epochs": 100_000, "ckpt_interval_minutes": 2}

SECOND = (
    "The second test, on a manifest that neither training nor the choice of a checkpoint sees: {pairs} mixtures of "
    "{speakers} speakers."
)


def main(argv: Sequence[str] | None = None) -> None:
    """Train what is not trained yet, write the table and the picture."""
    options = parse(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the runs are ended, too
    options.entries = entries(options)
    runs = {(one.label, seed): make_run(options, one, seed) for seed in options.seeds for one in options.entries}
    check(options, [runs[one.label, options.seeds[0]] for one in options.entries])
    if options.scores:
        for run in runs.values():
            comparison_scores.restore(run, options.scores)
    print(plan(options, list(runs.values())), flush=True)
    # all are tested on the same mixtures
    with stage(f"{len(runs)} runs, {options.jobs} at a time"), shared_in(options.output / "input_scores"):
        run_all(list(runs.values()), jobs=options.jobs, every=60)
        for run in runs.values():
            if options.second_test:
                out_of_domain.test(run.folder, options.second_test, options.settings.get("device"))
            if options.scores:
                comparison_scores.keep(run, options.scores)
    outcomes = {key: collect(run.folder) for key, run in runs.items()}
    with stage("costs"):
        models = [compared_model(options, one, runs, outcomes) for one in options.entries]
    page = options.results or options.output / "comparison.md"
    picture = page.with_name(f"comparison_{options.name}.svg")
    write_whole(picture, comparison.as_picture(models, f"{options.name}, {budget(options)}"))
    text = section(options, models, paired(options, runs), list(outcomes.values()), picture.name)
    text += second_section(options, runs) if options.second_test else ""
    replace_section(page, f"comparison-{options.name}", text)
    print(f"\n{text}\n\nwritten to {page} and {picture.name}", flush=True)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = arguments.Parser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("recipe", help="folder of recipes, such as PolSESS")
    add("--hparams", nargs="+", required=True, help="its hparams/<name>.yaml, or paths; <name>:<preset>")
    add("--mixers", nargs="+", default=[], help="each network with each of these mixers")
    add("--match", choices=("parameters", "macs"), help="in which the mixers are to be equal, within 2 %%")
    add("--data_folder", type=Path, required=True)
    add("--second_test", type=Path, metavar="MANIFEST", help="of another domain; all runs are tested on it, too")
    add("--measures", nargs="+", choices=list(comparison.GAINS), default=["si_sdri"], help="default: %(default)s")
    add("--options", nargs="*", default=[], help="further options of train.py as key=value, for all runs")
    add("--seeds", nargs="+", type=arguments.from_zero, default=[1, 2])
    add("--minutes", type=arguments.positive, help="budget: minutes of training")
    add("--steps", type=arguments.count, help="budget: optimizer steps")
    add("--gmacs", type=arguments.positive, help="budget: 10^9 multiply-accumulates")
    add("--jobs", type=arguments.count, default=1, help="runs at a time (default: %(default)s)")
    add("--threads", type=arguments.count, default=2, help="of each run (default: %(default)s)")
    add("--name", help="of the comparison, in file names and headings (default: the recipe's)")
    add("--note", default="", help="a sentence about the data, for the section")
    add("--output", type=Path, default=results_folder() / "comparison", help="default: %(default)s")
    add("--results", type=Path, help="Markdown file for the section (default: comparison.md in the output folder)")
    add("--scores", type=Path, metavar="FOLDER", help="keeps what finished runs measured, and is read for those absent")
    options = parser.parse_args(argv)
    return checked(options)


def checked(options: argparse.Namespace) -> argparse.Namespace:
    """Fill in what follows from other options, and refuse what cannot be."""
    folder = HERE / options.recipe
    if not (folder / "train.py").is_file():
        raise UserError(f"{folder}: no train.py. Give the name of a recipe: {', '.join(recipes())}")
    if sum(value is not None for value in (options.minutes, options.steps, options.gmacs)) != 1:
        raise UserError("give one budget: --minutes, --steps or --gmacs.")
    pairs = [word.partition("=") for word in options.options]
    if not all(name and equals for name, equals, _ in pairs):
        raise UserError(f"--options: expected key=value, got {' '.join(options.options)}")
    if options.second_test and not options.second_test.is_file():
        raise UserError(f"--second_test {options.second_test}: no such manifest.")
    options.settings = {name: value for name, _, value in pairs}
    options.name = options.name or options.recipe
    options.output = (options.output / options.name).resolve()
    options.results, options.scores = (path and path.resolve() for path in (options.results, options.scores))
    return options


def entries(options: argparse.Namespace) -> list[Entry]:
    """The lines of the comparison."""
    return entries_of(HERE / options.recipe, options.hparams, options.mixers, options.match, options.settings)


def check(options: argparse.Namespace, runs: Sequence[Run]) -> None:
    """Resolve the command line of each run as it will, so that what is wrong is found before any has started."""
    from lobes.training.checks import refuse_unwritable
    from lobes.training.launch import plain_settings, read_command_line

    if not options.data_folder.exists():
        raise UserError(f"--data_folder {options.data_folder}: no such folder.")
    places = {"--output": options.output, "--results": options.results and options.results.parent}
    for name, place in {**places, "--scores": options.scores}.items():
        if place:
            refuse_unwritable(place, name)
    for run in runs:
        words = [str(run.script.parent / run.hparams), *run.command()[3:]]
        refuse_untested(options.measures, plain_settings(read_command_line(words)[0])["test_metrics"])


def refuse_untested(measures: Sequence[str], metrics: Sequence[str]) -> None:
    """Refuse a measure that the test of the runs does not compute."""
    for measure in measures:
        if OF_GAIN.get(measure, measure) not in metrics:
            has = ", ".join(metrics)
            raise UserError(f"--measures {measure}: the test has {has}. Change test_metrics in --options.")


def recipes() -> list[str]:
    """Folders next to this file that hold a train.py."""
    return sorted(path.parent.name for path in HERE.glob("*/train.py"))


def plan(options: argparse.Namespace, runs: Sequence[Run]) -> str:
    """Say what will happen."""
    time = f" What is left of it takes about {minutes_left(options, runs):.0f} min." if options.minutes else ""
    labels, seeds = ", ".join(one.label for one in options.entries), ", ".join(map(str, options.seeds))
    return (
        f"{len(runs)} runs: {labels}; seeds {seeds}; {budget(options)} each, {options.threads} thread(s).{time} "
        f"After a stop the same command goes on.\nState in {options.output}"
    )


def minutes_left(options: argparse.Namespace, runs: Sequence[Run]) -> float:
    """About how long the runs that are not finished take on two cores of a usual processor."""
    left = sum(not run.finished() for run in runs)
    tests = left * SECOND_MINUTES if options.second_test else 0.0
    return -(-left // options.jobs) * (options.minutes + EXTRA_MINUTES) + tests


def budget(options: argparse.Namespace) -> str:
    """The budget in words."""
    if options.minutes is not None:
        return f"{options.minutes:g} min of training"
    return f"{options.steps} steps" if options.steps is not None else f"{options.gmacs:g} GMAC of training"


def make_run(options: argparse.Namespace, entry: Entry, seed: int) -> Run:
    """Describe one run; its state is kept in its own folder."""
    folder = HERE / options.recipe
    own = entry.file.parent == (folder / "hparams").resolve()
    file = f"hparams/{entry.file.name}" if own else str(entry.file)
    settings = {"data_folder": options.data_folder.resolve(), "seed": seed, **ALWAYS, **options.settings}
    settings |= entry.options
    settings.update(limit(options, entry.file, settings))
    state = options.output / f"{entry.label.replace(' ', '_')}_seed{seed}"
    return Run(state.name, folder / "train.py", file, state, settings, ("noprogressbar",), options.threads)


def limit(options: argparse.Namespace, file: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The budget as an option of train.py."""
    if options.minutes is not None:
        return {"max_minutes": options.minutes}
    if options.steps is not None:
        return {"max_steps": options.steps}
    return {"max_steps": max(1, int(options.gmacs * 1e9 / macs_of_a_step(file, settings)))}


def macs_of_a_step(file: Path, settings: Mapping[str, Any]) -> float:
    """Multiply-accumulates of a training step: the batch, its seconds, and three passes."""
    from lobes.evaluation.complexity import count

    hparams = hparams_of(file, settings)
    seconds = hparams["training_signal_len"] / hparams["sample_rate"]
    forward = count(hparams["modules"]["separator"], seconds).total
    return PASSES * forward * hparams["batch_size"] * hparams["grad_accumulation_factor"]


def hparams_of(file: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a recipe file and the settings of a run make, among it the network with weights of a start."""
    from lobes.config import load, resolve

    options = {name: str(value) for name, value in settings.items() if name != "device"}
    with TemporaryDirectory() as folder:  # the checkpointer makes one
        return load(resolve(file, {**options, "output_folder": folder}))


def compared_model(
    options: argparse.Namespace,
    one: Entry,
    runs: Mapping[tuple[str, int], Run],
    outcomes: Mapping[tuple[str, int], Outcome],
) -> comparison.ComparedModel:
    """A model's line: the scores of its runs, and what its network costs, for which weights do not count."""
    network = hparams_of(one.file, runs[one.label, options.seeds[0]].options)["modules"]["separator"].eval()
    mine = [outcomes[one.label, seed] for seed in options.seeds]
    return comparison.compared_model(one.label, mine, *cost_of(network, options.threads), options.measures[0])


def cost_of(model: Any, threads: int) -> tuple[float, float]:
    """GMAC for a second of audio, and the real-time factor on so many threads (0: as they are)."""
    import torch

    from lobes.evaluation.complexity import count

    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        return count(model).total / 1e9, real_time_factor(model)
    finally:
        torch.set_num_threads(before)


def real_time_factor(model: Any, seconds: float = RTF_SECONDS, repeats: int = 3) -> float:
    """Least time of some repeats to separate so many seconds of noise, over those seconds."""
    import torch

    mix = torch.randn(1, int(seconds * model.sample_rate))  # [B,T]
    times = []
    with torch.no_grad():
        for _ in range(repeats + 1):  # the first one compiles
            start = time.perf_counter()
            model(mix)
            times.append(time.perf_counter() - start)
    return min(times[1:]) / seconds


def paired(options: argparse.Namespace, runs: Mapping[tuple[str, int], Run]) -> list[PairedDifference]:
    """The differences of all pairs of models, on the same utterances."""
    labels = [one.label for one in options.entries]
    systems = [System(one, [read_scores(runs[one, seed].folder) for seed in options.seeds]) for one in labels]
    return [one for one in compare(systems, options.measures) if one.condition == ALL] if len(systems) > 1 else []


def section(
    options: argparse.Namespace,
    models: Sequence[comparison.ComparedModel],
    pairs: Sequence[PairedDifference],
    outcomes: Sequence[Outcome],
    picture: str,
) -> str:
    """The section of RESULTS.md."""
    from lobes.runs.provenance import command

    commits, machines = (
        dict.fromkeys(outcome.train_time.get(of, "unknown") for outcome in outcomes) for of in ("commit", "machine")
    )
    lines = [
        f"### Comparison of {len(models)} models: {options.name}, {budget(options)} each",
        "",
        *([options.note, ""] if options.note else []),
        comparison.as_table(models),
        "",
        f"![{comparison.GAINS[options.measures[0]][0]} against compute]({picture})",
        "",
        comparison.units(options.measures[0]),
        "",
        *([differences.as_table(pairs), "", differences.explanation(pairs[0], True), ""] if pairs else []),
        *(f"- {one.size}" for one in options.entries if one.size),
        f"- command: `{command(__file__, given(options))}` (each run's own is in its `launch.json`)",
        f"- commit: {', '.join(commits)}",
        f"- seeds: {', '.join(map(str, options.seeds))}",
        f"- machine: {', '.join(machines)}",
        f"- runs: {options.jobs} at a time, {options.threads} thread(s) each",
    ]
    return "\n".join(lines)


def given(options: argparse.Namespace) -> list[str]:
    """The options that make the numbers, as words of a command line."""
    amount = next(n for n in ("minutes", "steps", "gmacs") if getattr(options, n) is not None)
    files = [Path(word).name for word in options.hparams]
    words = [options.recipe, "--hparams", *files, "--data_folder", options.data_folder.name]
    words += ["--mixers", *options.mixers] if options.mixers else []
    words += ["--match", options.match] if options.match else []
    words += ["--second_test", second_words(options.second_test)] if options.second_test else []
    words += ["--measures", *options.measures]
    words += ["--options", *options.options] if options.options else []
    words += ["--seeds", *map(str, options.seeds), f"--{amount}", f"{getattr(options, amount):g}"]
    return [*words, "--jobs", str(options.jobs), "--threads", str(options.threads), "--name", options.name]


def second_section(options: argparse.Namespace, runs: Mapping[tuple[str, int], Run]) -> str:
    """Both tests of all models next to each other."""
    folders = {one.label: [runs[one.label, s].folder for s in options.seeds] for one in options.entries}
    description = SECOND.format(**out_of_domain.sizes(options.second_test))
    first = OF_GAIN.get(options.measures[0], options.measures[0])
    return "\n\n" + out_of_domain.section(folders, description, first, options.measures)


def second_words(manifest: Path) -> str:
    """A manifest by its folder's name and its own."""
    return "/".join(manifest.resolve().parts[-2:])


if __name__ == "__main__":
    with exit_on_user_error():
        main(sys.argv[1:])
