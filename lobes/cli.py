"""The `lobes` command. A sub-command imports what it needs when it runs, so that `lobes --help` is quick."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from lobes import __version__
from lobes.commands.corpus import corpus
from lobes.commands.options import (
    Channels,
    ChunkS,
    Device,
    Files,
    Format,
    Level,
    Model,
    PresetOrModel,
    Recursive,
    Revision,
    Subtype,
    Trust,
    Workers,
    run_on_files,
)  # fmt: skip
from lobes.commands.recipes import PASSED_ON, recipe, train
from lobes.commands.shard import shard
from lobes.commands.strict import App, run
from lobes.doctor.info import info
from lobes.errors import UserError, exit_on_user_error, visible
from lobes.sweep.command_line import sweep

app = App(
    help="Speech separation and enhancement with state-space models. To train: lobes recipe list.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # rich costs a third of the start-up time
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"lobes {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    if context.invoked_subcommand != "train" and "RANK" in os.environ and os.environ.get("WORLD_SIZE", "1") != "1":
        raise UserError(
            f"lobes {context.invoked_subcommand}: runs as one process, and every rank would do the same. Start it "
            "without torchrun, which is for trainings."
        )


app.command()(corpus)
app.command()(shard)
app.add_typer(recipe, name="recipe")
app.command(options_metavar="[OPTIONS OF THE RECIPE]", context_settings=PASSED_ON)(train)


@app.command()
def models(
    table: Annotated[bool, typer.Option("--table", help="All that is known of them, as a Markdown table.")] = False,
    pretrained: Annotated[
        bool, typer.Option("--pretrained", help="Public models with weights, which are loaded by name.")
    ] = False,
) -> None:
    """List the model presets, or the public models that are loaded by name."""
    if pretrained:
        from lobes.inference import catalogue

        print(catalogue.table(table))
        return
    if table:
        from lobes.evaluation import complexity

        print(complexity.table())
        return
    from lobes.models import list_models

    print("\n".join(list_models()))


@app.command()
def separate(
    model: Model,
    files: Files,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Folder for <name>_s1.wav, <name>_s2.wav ...")] = None,
    level: Level = "mixture",
    chunk_s: ChunkS = None,
    channels: Channels = "mix",
    mixture_consistency: Annotated[
        bool, typer.Option("--mixture_consistency", help="The sources sum to the mixture, noise included.")
    ] = False,
    voice: Annotated[
        str | None, typer.Option(help="A speaker model of SpeechBrain, to recognise speakers after a pause.")
    ] = None,
    format: Format = "wav",
    subtype: Subtype = None,
    workers: Workers = 1,
    recursive: Recursive = False,
    device: Device = None,
    revision: Revision = None,
    trust: Trust = False,
) -> None:
    """Separate audio files and folders; finished files of an earlier call are skipped."""
    from lobes.inference.options import Options

    options = Options(chunk_s, channels, mixture_consistency, format=format, subtype=subtype, voice=voice, trust=trust)
    task = {"model": model, "options": options, "level": level, "device": device}
    run_on_files(files, out, recursive, workers, revision, trust, **task)


@app.command()
def enhance(
    model: Model,
    files: Files,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Folder for <name>_enhanced.wav.")] = None,
    pcs: Annotated[bool, typer.Option("--pcs", help="Also <name>_enhanced_pcs.wav, with stretched contrast.")] = False,
    strength: Annotated[float, typer.Option(help="How much of it is applied: 0 gives the input, 1 all.")] = 1.0,
    max_attenuation_db: Annotated[
        float | None, typer.Option("--max_attenuation_db", help="The most that is taken away, in dB.")
    ] = None,
    level: Level = "mixture",
    chunk_s: ChunkS = None,
    channels: Channels = "mix",
    format: Format = "wav",
    subtype: Subtype = None,
    workers: Workers = 1,
    recursive: Recursive = False,
    device: Device = None,
    revision: Revision = None,
    trust: Trust = False,
) -> None:
    """Enhance audio files and folders; finished files of an earlier call are skipped."""
    from lobes.inference.options import Options

    options = Options(chunk_s, channels, False, strength, max_attenuation_db, format, subtype)
    of_all = {"model": model, "options": options, "level": level, "device": device, "enhances": True, "pcs": pcs}
    run_on_files(files, out, recursive, workers, revision, trust, **of_all)


@app.command()
def stream(
    model: Model,
    file: Annotated[Path, typer.Argument(help="An audio file at the model's sample rate.")],
    out: Annotated[Path, typer.Argument(help="OUT.wav; with several sources OUT_s1.wav, OUT_s2.wav ...")],
    chunk_ms: Annotated[float, typer.Option("--chunk-ms", "--chunk_ms", help="Length of a chunk.")] = 20,
    device: Device = None,
    revision: Revision = None,
    trust: Trust = False,
) -> None:
    """Feed a file to a causal model chunk by chunk, as if it came live."""
    from lobes.inference.by_name import load_separator
    from lobes.inference.stream import stream_file
    from lobes.training.checks import refuse_unwritable

    refuse_unwritable(out.parent, "OUT")
    separator = load_separator(model, device, revision, trust)
    written, pace = stream_file(separator, file, out, chunk_ms)
    print("\n".join(map(str, written)))
    print(
        f"latency {separator.stream().latency_ms:g} ms; real-time factor {pace.real_time_factor:.2f}, "
        f"99 % of the chunks of {chunk_ms:g} ms within {1000 * pace.percentile(99):.1f} ms"
    )


@app.command()
def evaluate(
    systems: Annotated[
        list[str],
        typer.Argument(
            help="MODEL, as of separate (package.module:factory is code of yours); MODEL@0.5, a share of its "
            "enhancement; A+B, the mean of several; noisy, the mixture; outputs:FOLDER, files of whatever made them. "
            "LABEL= may stand in front of each."
        ),
    ],
    data: Annotated[
        Path,
        typer.Option(help="A manifest: CSV with ID, mix_wav, s1_wav ...; paths from its folder. Or a run folder."),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the results; of several, one folder for each.")],
    data_root: Annotated[
        Path | None, typer.Option("--data-root", "--data_root", help="What $data_root in the manifest stands for.")
    ] = None,
    task: Annotated[str | None, typer.Option(help="Of PolSESS: ES, EB or SB; by default the model's.")] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(help="Such as si_sdr, dnsmos, wer, once for each; by default the usual four. docs/metrics.md."),
    ] = None,
    recogniser: Annotated[
        str, typer.Option(help="For wer: pocketsphinx, a folder of SpeechBrain, or package.module:factory.")
    ] = "pocketsphinx",
    rate: Annotated[
        int | None, typer.Option(help="In Hz, at which all is scored; by default the lowest of the models.", min=1000)
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Scoring processes; 0 scores in this one.", min=0)] = None,
    save_audio: Annotated[int, typer.Option(help="Write so many items as audio.", min=0)] = 0,
    group_by: Annotated[str | None, typer.Option(help="A column whose values count equally in the means.")] = None,
    no_report: Annotated[bool, typer.Option("--no-report", help="Leave report.html and its examples out.")] = False,
    device: Device = None,
    revision: Revision = None,
    trust: Trust = False,
) -> None:
    """Score one system or several, and the untouched mixtures, on a data set; the same call again goes on."""
    from lobes.evaluation.candidates import Asked
    from lobes.metrics import METRICS

    asked = Asked(metric or METRICS, recogniser, trust)  # before anything that takes time is imported
    from lobes.commands.evaluation import EvaluationRequest
    from lobes.commands.evaluation import evaluate as run_evaluation

    run_evaluation(
        EvaluationRequest(
            systems, data, out, asked, data_root, task, rate, workers, save_audio, group_by, device, revision, trust,
            not no_report,
        )
    )  # fmt: skip


@app.command()
def compare(
    systems: Annotated[
        list[str], typer.Argument(help="Runs, evaluations or CSV files; NAME=PLACE,PLACE for several trainings of one.")
    ],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Folder for comparison.md, .svg and .json.")] = None,
    measure: Annotated[list[str] | None, typer.Option(help="Such as si_sdr, pesq; by default all in common.")] = None,
    speakers: Annotated[
        Path | None,
        typer.Option(help="A table with ID and speaker, speaker2 ...; by default columns of the tables."),
    ] = None,
    group_by: Annotated[
        str | None, typer.Option("--group-by", "--group_by", help="A column whose values count equally in the means.")
    ] = None,
    level: Annotated[float, typer.Option(help="Of the intervals, from 0.5 to below 1.")] = 0.95,
) -> None:
    """Say which system is better: paired differences on the same utterances, with intervals."""
    from lobes.commands.comparison import compare_tables

    compare_tables(systems, out, measure or (), speakers, group_by, level)


@app.command()
def profile(
    model: PresetOrModel,
    seconds: Annotated[list[float] | None, typer.Option(help="Lengths to measure; by default 1 10 60 600.")] = None,
    threads: Annotated[list[int] | None, typer.Option(help="By default 1 2, as far as there are cores.", min=1)] = None,
    chunk_s: ChunkS = None,
    minutes: Annotated[float, typer.Option(help="A length that would take longer is skipped.", min=0.1)] = 5,
    no_time: Annotated[bool, typer.Option("--no-time", help="Count only.")] = False,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Folder for profile.md, .svg and .json.")] = None,
    revision: Revision = None,
    trust: Trust = False,
) -> None:
    """Say what a model costs on the CPU: parameters, operations by kind, time and memory by length, latency."""
    from lobes.commands.profile_request import ProfileRequest, default_threads
    from lobes.doctor.machine import available_memory
    from lobes.evaluation.costs import SECONDS, CostLimits
    from lobes.evaluation.costs import profile as costs_of
    from lobes.reports import costs
    from lobes.training.checks import refuse_unwritable

    if out is not None:
        refuse_unwritable(out, "--out")
    asked = ProfileRequest(model, seconds or SECONDS, threads or default_threads(), chunk_s, revision, trust)
    limits = CostLimits(60 * minutes, available_memory()[0])
    found = costs_of(
        asked.network, None if no_time else asked.measure_within(limits.memory, limits.seconds), asked.seconds,
        asked.threads, model, asked.receptive_field, asked.pieces, limits,
    )  # fmt: skip
    print(visible(costs.as_page(found, asked.where), keep="\n"), end="")
    if out is not None:
        costs.write(out, found, asked.where)
        print(f"wrote {out}")


@app.command()
def size(
    preset: Annotated[str, typer.Argument(help="A preset whose mixer can be changed; docs/models.md.")],
    mixer: Annotated[str, typer.Option(help="mamba, mamba2, lstm, xlstm, attention or conv.")],
    match: Annotated[str, typer.Option(help="What is to be equal: parameters or macs.")] = "parameters",
) -> None:
    """Find the width at which a preset with another mixer is as large, or costs as much, as the preset itself."""
    from lobes.evaluation.sizes import matching_size

    found = matching_size(preset, mixer, match)
    print(f"{preset}: {found.wanted:,} {match}; with {found.command_line}: {found.found:,} ({found.difference:+.1%})")


app.command()(sweep)


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="Output folder of a training run; its best checkpoint counts.")],
    out: Annotated[Path, typer.Argument(help="New folder, or an earlier export.")],
    onnx: Annotated[bool, typer.Option("--onnx", help="Also model.onnx, and stream.onnx of a causal model.")] = False,
    int8: Annotated[bool, typer.Option("--int8", help="With --onnx: also graphs whose matrices are int8.")] = False,
    trust: Trust = False,
) -> None:
    """Export a run for SpeechBrain's interface, and as graphs of ONNX."""
    from lobes.inference import export_pretrained
    from lobes.training.checks import refuse_unwritable

    if int8 and not onnx:
        raise UserError("--int8 quantises the graphs of --onnx: give both.")
    refuse_unwritable(out, "OUT")
    graphs = None
    if onnx:
        from lobes.onnx.export import Graphs

        graphs = Graphs(int8)
    folder = export_pretrained(run, out, trust, graphs)
    print(f"wrote {folder}: reloaded through SpeechBrain and Separator, equal bit for bit")
    print("\n".join(graphs.lines) if graphs else "", end="\n" if graphs else "")


@app.command(
    options_metavar="[RECIPE.yaml --data_folder FOLDER ...] [OPTIONS]",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def doctor(
    ctx: typer.Context,
    data: Annotated[
        str | None, typer.Option(help="A manifest, a folder with train.csv ..., or with --recipe a data folder.")
    ] = None,
    of: Annotated[
        str | None, typer.Option("--recipe", help="How --data is read: PolSESS, VoiceBank ... or a recipe file.")
    ] = None,
    data_root: Annotated[
        str | None, typer.Option("--data-root", "--data_root", help="What $data_root in manifests stands for.")
    ] = None,
) -> None:
    """Find what is wrong before a training does: the machine, the data, one batch of a recipe.

    lobes doctor: versions, threads, GPU, scan backends, compiler, disk, memory. With --output_folder FOLDER, the disk
    of that folder.

    lobes doctor --data FOLDER [--recipe PolSESS [OPTIONS OF THE RECIPE]]: files, rates, sums, silence, speakers.

    lobes doctor RECIPE.yaml --data_folder FOLDER [OPTIONS OF THE RECIPE]: all of these, and one training step and one
    validation batch in a temporary folder, with their memory and the hours that an epoch takes.

    Each check prints `ok`, `warn` or `FAIL`. Exit code 0: no FAIL; 1: some FAIL; 2: the command was wrong.
    """
    from lobes.doctor.command import doctor as run_checks

    sys.exit(run_checks(ctx.args, data, of, data_root))


app.command()(info)


def main() -> None:
    """Run the command line: a user's mistake is one line on stderr and exit code 2."""
    with exit_on_user_error():
        sys.exit(run(app))


if __name__ == "__main__":
    main()
