"""`-`: a WAV file from standard input, the result to standard output. K outputs, C channels."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

import numpy as np
import torch

from lobes.errors import UserError
from lobes.inference.folder_job import Task
from lobes.inference.one_file import file_estimates, write_blocks, write_enhanced


def run_pipe(task: Task, source: BinaryIO | None = None, target: BinaryIO | None = None) -> None:
    """Read a file from standard input, separate or enhance it, and write one file to standard output.

    Several sources are the channels of one file. The files lie on disk meanwhile: a pipe cannot be read twice.

    Raises
    ------
    UserError
        As for files, and for `channels="each"` with several sources.
    """
    separator = task.load()
    if task.options.channels == "each" and separator.num_sources > 1:
        raise UserError("-: the channels of the output are the sources, so --channels each cannot be had with it.")
    with TemporaryDirectory() as folder, torch.no_grad():
        path, out = Path(folder) / "standard input", Path(folder) / f"out.{_ending(task)}"
        with path.open("wb") as file:
            shutil.copyfileobj(source or sys.stdin.buffer, file)
        if task.enhances:
            write_enhanced(separator, path, [out], task.options)
        else:
            with file_estimates(separator, path, task.options) as estimates:

                def as_channels() -> Iterator[np.ndarray]:
                    return (block.swapaxes(1, 2) for block in estimates())  # [n,1,S]

                write_blocks(as_channels, path, [out], task.options)
        with out.open("rb") as result:
            shutil.copyfileobj(result, target or _standard_output())
    (target or _standard_output()).flush()


def _standard_output() -> BinaryIO:
    return sys.stdout.buffer


def _ending(task: Task) -> str:
    return "wav" if task.options.format == "same" else task.options.format
