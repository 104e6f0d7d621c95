"""Options that several sub-commands have, and what they make of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from lobes.errors import UserError

Model = Annotated[
    str,
    typer.Argument(
        help="A run folder, an exported folder, a name of `lobes models --pretrained`, a hub id owner/name, or "
        "package.module:factory, which is imported and called: code of yours."
    ),
]
Revision = Annotated[str | None, typer.Option(help="Of a model of the hub: the hash of the commit to take.")]
Trust = Annotated[
    bool,
    typer.Option("--trust", help="Run whatever the model's folder names, as a program of its author; says what."),
]
PresetOrModel = Annotated[
    str,
    typer.Argument(help="A preset of `lobes models`, with random weights, or a model as `lobes separate` takes it."),
]

# Options of separate and enhance
Files = Annotated[list[Path], typer.Argument(help="Audio files and folders; - reads a WAV file from standard input.")]
Device = Annotated[str | None, typer.Option(help="cpu or cuda; by default the GPU if any.")]
Level = Annotated[str, typer.Option(help="mixture: what fits the mixture best; model: as the network gives it.")]
ChunkS = Annotated[float | None, typer.Option("--chunk_s", help="Seconds of a chunk of a long file; 0: never cut.")]
Channels = Annotated[str, typer.Option(help="mix, left, right or each.")]
Format = Annotated[str, typer.Option(help="Of the outputs: wav, flac, ogg ... or same as the input.")]
Subtype = Annotated[str | None, typer.Option(help="Sample format, such as PCM_24; by default 16 bit where it does.")]
Workers = Annotated[int, typer.Option(help="Processes, for many files.", min=1)]
Recursive = Annotated[bool, typer.Option("--recursive", help="Also the folders in a folder.")]


def run_on_files(
    files: list[Path], out: Path | None, recursive: bool, workers: int, revision: str | None, trust: bool, **task: Any
) -> None:
    """Run a `lobes.inference.folder_job.Task` and end with its exit code."""
    from lobes.inference.folder_job import Task, run_files
    from lobes.inference.pipes import run_pipe
    from lobes.training.checks import refuse_unwritable

    task.update(revision=revision, trust=trust)
    if files == [Path("-")]:
        if out is not None or task.get("pcs"):
            raise UserError("-: the result goes to standard output. Leave --out and --pcs away.")
        run_pipe(Task(**task))
        return
    if out is None:
        raise UserError("Missing option '-o' / '--out', the folder for the results.")
    refuse_unwritable(out, "--out")
    code = run_files(Task(**task), files, out, recursive, workers)
    if code:
        raise typer.Exit(code)
