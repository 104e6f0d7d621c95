#!/usr/bin/env python3
"""Real recordings in VoiceBank's layout: eight models for the same minutes, a table, paired differences.

> python ../recordings.py FOLDER           # builds the folder of recordings from public sources, 28 MB
> python realdata.py --recordings FOLDER   # the whole table, about 170 min on two cores
> python realdata.py --recordings FOLDER --models bsrnn_mini mbs_net_mini --minutes 10 --device cuda
> python realdata.py --recordings FOLDER --steps 800    # steps in place of minutes: the same on a busy machine

FOLDER holds manifest.csv with the columns path, kind, speaker, split and sample_rate, the recordings that it names, and
voicebank/clean and voicebank/noisy. Speakers and recordings of noise of the test are never heard in training. Finished
runs are kept: the same command after an interruption goes on where it stopped. Each run is also tested on pairs of
another domain, which it has seen nothing of (`out_of_domain_pairs.py`). The tables go into RESULTS.md in this folder or
into --results.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

sys.path.append(str(Path(__file__).resolve().parents[1]))  # what both recipes with real recordings share

import out_of_domain
import out_of_domain_pairs
from realdata_set import SET_SEED, find_recordings, in_words, make_set

from lobes.config.recipe_folders import results_folder, results_page
from lobes.data import arguments
from lobes.errors import UserError, exit_on_user_error
from lobes.evaluation.inputs import shared_in
from lobes.reports import tables as table
from lobes.runs.launcher import Run, run_all, stage
from lobes.runs.record import Outcome, collect
from lobes.runs.table import read_per_utterance

HERE = Path(__file__).resolve().parent
TRAIN_SCRIPT = HERE / "train.py"
RESULTS = results_page(HERE)
# name -> preset, all trained as hparams/bsrnn_mini.yaml says
MODELS = {"bsrnn_mini": "bsrnn", "bsrnn_local_norms_mini": "bsrnn_local_norms"}
MODELS |= {f"bs_bimamba_abl{number}_mini": f"bs_bimamba_abl{number}_small" for number in (1, 2, 3)}
MODELS |= {f"bs_bimamba_abl{number}_attention_mini": f"bs_bimamba_abl{number}_attention_small" for number in (1, 2)}
MODELS |= {"mbs_net_mini": "mbs_net"}
MINUTES = 8.0
SEEDS = (1, 2)
OVERHEAD = 2.5  # minutes of a run that are not training: start, validation, test
HEADER = (
    "model",
    "PESQ",
    "STOI",
    "SI-SDR",
    "CSIG",
    "CBAK",
    "COVL",
    "SSNR",
    "PESQ + PCS",
    "SI-SDR + PCS",
    "better PESQ",
)
HEADER += ("better SI-SDR", "steps", "training")
NUMBERS = {"pesq": 2, "stoi": 3, "si_sdr": 2, "csig": 2, "cbak": 2, "covl": 2, "ssnr": 2}  # with digits
INTRODUCTION = (
    "A set in VoiceBank's layout at 16 kHz: {described} All models train for the same {measure} with the same losses, "
    "without a metric discriminator; the checkpoint with the highest PESQ on the valid speakers is tested, on whole "
    "files."
)
UNITS = (
    "PESQ wide band; CSIG, CBAK, COVL by Loizou's definition; SSNR and SI-SDR in dB; better: share of the files above "
    "the noisy input. PCS is an equaliser that can follow any model, or the noisy input itself: the columns with it "
    "are for papers that use it, and the noisy input has them, too."
)

Outcomes = Mapping[tuple[str, int], Outcome]


def main(argv: Sequence[str] | None = None) -> None:
    """Make the set, train what is not trained yet, write the table."""
    options = parse(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the runs are ended, too
    recordings = options.recordings = find_recordings(options.recordings)
    print(plan(options), flush=True)
    folder = options.output / "set"
    with stage("the set"):
        held_out = make_set(recordings, folder, SET_SEED)
        foreign = out_of_domain_pairs.make_manifest(recordings, options.output)
    runs = {(m, s): make_run(options, folder, held_out, m, s) for s in options.seeds for m in options.models}
    with stage(f"{len(runs)} runs of {budget(options)}, {options.jobs} at a time"):
        run_all(list(runs.values()), jobs=options.jobs, every=60)
    with stage("the second test of each"), shared_in(options.output / "input_scores"):
        for run in runs.values():
            out_of_domain.test(run.folder, foreign, options.device)
    outcomes = {key: collect(run.folder) for key, run in runs.items()}
    text = results_text(options, in_words(folder, held_out), outcomes, {key: run.folder for key, run in runs.items()})
    folders = {model: [runs[model, seed].folder for seed in options.seeds] for model in options.models}
    description = out_of_domain_pairs.DESCRIPTION.format(**out_of_domain.sizes(foreign))
    text += "\n\n" + out_of_domain.section(folders, description)
    table.replace_section(options.results, "realdata-" + "-".join(options.models), text)
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
    add("--output", type=Path, default=results_folder() / "voicebank_realdata", help="default: %(default)s")
    add("--results", type=Path, default=RESULTS, help="Markdown file for the table (default: %(default)s)")
    add("--models", nargs="+", default=list(MODELS), choices=list(MODELS), help="default: all")
    add("--seeds", nargs="+", type=arguments.from_zero, default=list(SEEDS))
    add("--minutes", type=arguments.positive, help=f"training minutes of each run (default: {MINUTES:g})")
    add("--steps", type=arguments.count, help="optimizer steps of each run, in place of minutes")
    add("--jobs", type=arguments.count, default=1, help="runs at a time (default: %(default)s)")
    add("--threads", type=arguments.count, default=2, help="of each run (default: %(default)s)")
    add("--device", help="for example cuda (default: what train.py chooses)")
    options = parser.parse_args(argv)
    if options.jobs < 1:
        raise UserError(f"--jobs must be 1 or more, got {options.jobs}.")
    if options.minutes and options.steps:
        raise UserError("give one budget: --minutes or --steps.")
    options.minutes = options.minutes or MINUTES
    options.output, options.results = options.output.resolve(), options.results.resolve()
    return options


def plan(options: argparse.Namespace) -> str:
    """Say what will happen and how long it takes."""
    count = len(options.models) * len(options.seeds)
    total = -(-count // options.jobs) * (options.minutes + OVERHEAD)
    time = "" if options.steps else f"This takes about {total:.0f} min if nothing is done yet. "
    return (
        f"{count} runs: {', '.join(options.models)}; seeds {', '.join(map(str, options.seeds))}\n"
        f"{budget(options)} each, {options.jobs} at a time, {options.threads} thread(s)\n"
        f"{time}After a stop the same command goes on.\n"
        f"State in {options.output}"
    )


def budget(options: argparse.Namespace) -> str:
    """The budget of a run in words."""
    return f"{options.steps} steps of training" if options.steps else f"{options.minutes:g} minutes of training"


def make_run(options: argparse.Namespace, folder: Path, held_out: Sequence[str], model: str, seed: int) -> Run:
    """Describe one run; its state is kept in its own folder."""
    settings = {
        "data_folder": folder,
        "preset": MODELS[model],
        "valid_speakers": f"[{', '.join(held_out)}]",
        "seed": seed,
        **({"max_steps": options.steps} if options.steps else {"max_minutes": options.minutes}),
        "N_epochs": 100_000,  # the budget ends the training
        "ckpt_interval_minutes": 2,
        **({"device": options.device} if options.device else {}),
    }
    name = f"{model}_seed{seed}"
    flags = ("noprogressbar",)
    return Run(name, TRAIN_SCRIPT, "hparams/bsrnn_mini.yaml", options.output / name, settings, flags, options.threads)


def results_text(
    options: argparse.Namespace, described: str, outcomes: Outcomes, folders: Mapping[tuple[str, int], Path]
) -> str:
    """The section of RESULTS.md."""
    from lobes.runs.provenance import command

    first = next(iter(outcomes.values()))
    rows = [noisy_row(first), *(model_row(*item, folders[item[0]]) for item in outcomes.items())]
    times = f"{budget(options)} a run, {options.jobs} run(s) at a time, {options.threads} thread(s)"
    lines = [
        f"### Real speech and noise, {budget(options)}",
        "",
        INTRODUCTION.format(described=described, measure="number of steps" if options.steps else "time"),
        "",
        table.as_markdown(HEADER, rows),
        "",
        UNITS,
        "",
        f"- command: `{command(__file__, given(options))}` (each run's own is in its `launch.json`)",
        f"- commit: {first.train_time.get('commit', 'unknown')}",
        f"- seeds: of the set {SET_SEED}, of the training {', '.join(map(str, options.seeds))}",
        f"- time: {times}",
        f"- machine: {first.train_time.get('machine', 'unknown')}",
    ]
    return "\n".join(lines)


def noisy_row(outcome: Outcome) -> list[str]:
    """The input as it is, and after PCS."""
    scores, pcs = outcome.summary["noisy"], outcome.summary["noisy_pcs"]
    cells = [table.show(scores.get(name), digits) for name, digits in NUMBERS.items()]
    stretched = [table.show(pcs["pesq"]), table.show(pcs["si_sdr"])]
    return ["noisy input", *cells, *stretched, *[""] * (len(HEADER) - 1 - len(cells) - len(stretched))]


def model_row(key: tuple[str, int], outcome: Outcome, folder: Path) -> list[str]:
    """A model's scores, and how often it is better than the input."""
    scores, pcs = outcome.summary["mean"], outcome.summary["pcs"]
    cells = [table.show(scores.get(name), digits) for name, digits in NUMBERS.items()]
    noisy = {row["id"]: row for row in read_per_utterance(folder / "per_utterance_noisy.csv")}
    rows = read_per_utterance(folder / "per_utterance.csv")
    better = [f"{100 * fmean(row[n] > noisy[row['id']][n] for row in rows):.0f} %" for n in ("pesq", "si_sdr")]
    steps, seconds = outcome.trained
    stretched = [table.show(pcs["pesq"]), table.show(pcs["si_sdr"])]
    return [f"{key[0]}, seed {key[1]}", *cells, *stretched, *better, str(steps), f"{seconds:.0f} s"]


def given(options: argparse.Namespace) -> list[str]:
    """The options that make the numbers, as words of a command line."""
    words = ["--recordings", options.recordings.resolve().name, "--models", *options.models]
    limit = ["--steps", str(options.steps)] if options.steps else ["--minutes", f"{options.minutes:g}"]
    words += ["--seeds", *map(str, options.seeds), *limit]
    words += ["--jobs", str(options.jobs), "--threads", str(options.threads)]
    return words + (["--device", options.device] if options.device else [])


if __name__ == "__main__":
    with exit_on_user_error():
        main(sys.argv[1:])
