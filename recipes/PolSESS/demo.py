#!/usr/bin/env python3
"""The demonstration behind `make demo`: Polish speech, two models, one table, SpeechBrain's own interface.

> python demo.py [--seed 1234] [--output results/demo]

It makes a miniature PolSESS corpus whose speakers are voices of the speech synthesiser espeak-ng, trains a
small SPMamba for a fixed number of steps and a small ConvTasNet for the same seconds (task ES: one speaker,
enhanced), tests both on speakers that training never heard, exports the SPMamba, loads it with SpeechBrain's
stock SepformerSeparation and separates files with it. All results land in the output folder: see report.html.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from lobes.config.recipe_folders import results_folder
from lobes.data import arguments
from lobes.errors import UserError, exit_on_user_error
from lobes.evaluation.inputs import shared_in
from lobes.reports.tables import replace_section
from lobes.runs.launcher import Run, run_all, stage
from lobes.runs.record import collect

HERE = Path(__file__).resolve().parent
TRAIN_SCRIPT = HERE / "train.py"
TASK = "ES"
FIRST, SECOND = "spmamba_tiny", "convtasnet_tiny"
HELD_OUT = {"val": 16, "test": 40}
SAVED = 8  # test items that train.py saves as audio and that are separated again from the exported model
INPUTS = "input_scores"
MADE_HERE = (
    "corpus",
    FIRST,
    SECOND,
    "exported",
    "separated",
    "report.html",
    "summary.json",
    "per_utterance.csv",
)
LEFT_BEFORE = (*MADE_HERE, INPUTS)
# Measured on two cores: seconds for a mixture, a step with its validation, start and test of a model, the rest.
SECONDS = {"mixture": 0.05, "step": 0.09, "test": 26.0, "rest": 8.0}


def main(argv: Sequence[str] | None = None) -> None:
    """Do all steps; what fails ends the program with a code other than 0."""
    options = parse(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a training is ended, too
    begin = time.monotonic()
    print(plan(options), flush=True)
    clear(options.output)
    with stage("1 of 5: a miniature PolSESS corpus in Polish"):
        corpus = make_data(options)
    inputs = options.output / INPUTS  # both models are tested on the same mixtures
    with stage(f"2 of 5: train {FIRST} for {options.steps} steps, then test it"), shared_in(inputs):
        first = train(FIRST, corpus, options, {"max_steps": options.steps, "lr": 0.005})
    minutes = round(collect(first.folder).trained[1] / 60, 4)
    with stage(f"3 of 5: train {SECOND} for the same time ({60 * minutes:.0f} s), then test it"), shared_in(inputs):
        second = train(SECOND, corpus, options, {"max_minutes": minutes})
    with stage("4 of 5: export, load with SpeechBrain's SepformerSeparation, separate files"):
        mixes = test_mixtures(first.folder)
        export_and_check(first.folder, options.output / "exported", mixes[0])
        separate(options.output / "exported", mixes, options.output / "separated")
    with stage("5 of 5: the report"):
        from demo_page import as_section, closing_words, write_results

        outcomes = {run.name: collect(run.folder) for run in (first, second)}
        facts = origin(options, time.monotonic() - begin)
        write_results(options.output, TASK, outcomes, facts)
        if options.record:
            replace_section(options.record, f"demo-seed{options.seed}", as_section(TASK, outcomes, facts))
    print(closing_words(options.output, TASK, outcomes), flush=True)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = arguments.Parser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--seed", type=arguments.from_zero, default=1234, help="of corpus and training (default: %(default)s)"
    )
    parser.add_argument("--output", type=Path, default=results_folder() / "demo", help="default: results/demo")
    parser.add_argument("--steps", type=arguments.count, default=1800, help=f"of {FIRST} (default: %(default)s)")
    parser.add_argument(
        "--examples", type=arguments.count, default=200, help="training mixtures (default: %(default)s)"
    )
    parser.add_argument("--record", type=Path, help="Markdown file, such as RESULTS.md, that keeps the table")
    options = parser.parse_args(argv)
    for name, least in (("steps", 1), ("examples", 4)):
        if getattr(options, name) < least:
            raise UserError(f"--{name} must be {least} or more, got {getattr(options, name)}.")
    options.output = options.output.resolve()
    return options


def plan(options: argparse.Namespace) -> str:
    """Say what will happen and how long it takes."""
    counts = sizes(options)
    training = 2 * (SECONDS["step"] * options.steps + SECONDS["test"])
    seconds = SECONDS["mixture"] * sum(counts.values()) + training + SECONDS["rest"]
    return (
        f"Lobes demo, task {TASK}: one speaker of a noisy mixture is enhanced.\n"
        f"  corpus      {counts['train']} training and {counts['test']} test mixtures of 4 s, "
        "Polish sentences spoken by espeak-ng\n"
        f"  models      {FIRST} for {options.steps} steps, {SECOND} for the same seconds\n"
        f"  results in  {options.output}\n"
        f"This takes about {max(1, round(seconds / 60))} min on two processor cores without a GPU, "
        "longer on a busy machine."
    )


def sizes(options: argparse.Namespace) -> dict[str, int]:
    """Mixtures in each split; a tiny demo has fewer of all."""
    held_out = {split: min(count, options.examples) for split, count in HELD_OUT.items()}
    return {"train": options.examples, **held_out}


def clear(output: Path) -> None:
    """Remove what an earlier demo left in the folder, and nothing else."""
    for name in LEFT_BEFORE:
        path = output / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    output.mkdir(parents=True, exist_ok=True)


def make_data(options: argparse.Namespace) -> Path:
    """Make the corpus; speakers, scenes and events of the three splits are different ones."""
    from lobes.polsess.corpus import make_corpus

    return make_corpus(options.output / "corpus", name="mini", counts=sizes(options), seed=options.seed)


def train(model: str, corpus: Path, options: argparse.Namespace, budget: dict[str, float]) -> Run:
    """Run train.py in a process of its own, as a user would; its progress goes to the screen."""
    settings = {
        "data_folder": corpus,
        "preset": model,
        "task": TASK,
        "seed": options.seed,
        "N_epochs": 10_000,  # steps or minutes end the training
        "training_signal_len": 8000,
        "warmup_steps": 30,
        "n_audio_to_save": SAVED,
        **budget,
    }
    run = Run(model, TRAIN_SCRIPT, "hparams/spmamba_tiny.yaml", options.output / model, settings)
    run_all([run], console=True)
    return run


def test_mixtures(run_folder: Path) -> list[Path]:
    """The test mixtures that a run saved: the first of the test set, not chosen by result."""
    mixes = sorted((run_folder / "audio").glob("*/mix.wav"))
    if not mixes:
        raise UserError(f"{run_folder / 'audio'}: no <id>/mix.wav, which the test stage of train.py writes.")
    return mixes


def export_and_check(run_folder: Path, exported: Path, mix_file: Path) -> None:
    """Export the model, load it with stock SpeechBrain, and compare every bit with the trained model."""
    import torch
    from speechbrain.inference.separation import SepformerSeparation

    from lobes.data.audio import read_mono
    from lobes.inference import export_pretrained
    from lobes.nnet.level import fit_level
    from lobes.runs.folder import read_run

    export_pretrained(run_folder, exported)
    stock = SepformerSeparation.from_hparams(source=str(exported), run_opts={"device": "cpu"})
    model = read_run(run_folder).model
    mix = torch.from_numpy(read_mono(mix_file))[None]  # [1,T]
    with torch.no_grad():
        if not torch.equal(stock.separate_batch(mix), fit_level(model(mix), mix)):
            raise UserError(f"{exported}: SepformerSeparation gives other samples than the trained model.")
    print(
        "SpeechBrain's SepformerSeparation loads exported/; at the level of the mixture its output equals the trained "
        "model bit for bit."
    )


def separate(exported: Path, mixes: Sequence[Path], out_folder: Path) -> None:
    """Write the estimates of test mixtures as files, at the mixture's level and of its length."""
    from lobes.inference import Separator

    written = Separator.from_hparams(exported, run_opts={"device": "cpu"}).separate_files(mixes, out_folder)
    print(f"{len(written)} test mixtures separated into {out_folder}")


def origin(options: argparse.Namespace, seconds: float) -> dict[str, str]:
    """Say what made these results."""
    from lobes.runs.provenance import command, commit, machine

    arguments = f"--seed {options.seed} --steps {options.steps} --examples {options.examples}"
    return {
        "command": command(__file__, arguments.split()),
        "commit": commit(),
        "seed": str(options.seed),
        "machine": machine(),
        "time in all": f"{seconds:.0f} s",
    }


if __name__ == "__main__":
    with exit_on_user_error():
        main(sys.argv[1:])
