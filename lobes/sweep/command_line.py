"""The options of `lobes sweep`. What it needs is imported when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def sweep(
    file: Annotated[Path, typer.Argument(help="The sweep: YAML with recipe, search, trials ...; docs/experiments.md.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder for the trials; by default results/sweeps/NAME.")
    ] = None,
    storage: Annotated[
        str | None, typer.Option(help="NAME.db, NAME.journal or postgresql://USER@HOST/NAME, for all workers.")
    ] = None,
    workers: Annotated[int, typer.Option(help="Trials at a time.", min=1)] = 1,
    threads: Annotated[int, typer.Option(help="CPU threads of a trial; 0: the machine's choice.", min=0)] = 0,
    options: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="An option of every trial.")
    ] = None,
) -> None:
    """Train a recipe with other values of its keys, chosen by Optuna; the same call again goes on."""
    from lobes.sweep.command import run_sweep

    run_sweep(file, out, storage, workers, threads, options or ())
