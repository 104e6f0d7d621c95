"""Time and memory of one separation, in a process of its own: `measured` starts it, `measure` is what it does.

This file is also run as a program on earlier checkouts (benchmarks/inference.py --before), so it takes of Lobes only
what these have, and where it is used.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

MEGABYTE = 2**20
WARM_S = 0.25  # of a first mixture, for which all code is compiled
START_S = 120.0  # to import and to load, on top of what a measurement may take


def measured(
    case: Mapping[str, Any], path: Sequence[str] | None = None, memory: float = float("inf"), limit: float | None = None
) -> dict[str, Any]:
    """Run `measure` in a fresh process.

    Arguments
    ---------
    case : mapping
        The arguments of `measure`.
    path : sequence of str, optional
        Folders from which the process imports; by default those of this one.
    memory : float
        Resident bytes at which it is stopped.
    limit : float, optional
        Seconds that the separation may take; the process is stopped at twice that, and what the start takes.

    Returns
    -------
    dict
        What `measure` returns, or under `failed` why there is nothing.
    """
    from lobes.runs.watched import wait_within

    folders = [folder or os.getcwd() for folder in sys.path] if path is None else path
    threads = str(case["threads"])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folders), "OMP_NUM_THREADS": threads}
    command = [sys.executable, __file__, json.dumps(dict(case))]
    with TemporaryFile() as output, TemporaryFile() as errors:
        process = subprocess.Popen(command, stdout=output, stderr=errors, stdin=subprocess.DEVNULL, env=environment)
        try:
            taken = wait_within(process, memory, None if limit is None else START_S + 2 * limit)
        except subprocess.TimeoutExpired as error:
            return {"failed": f"stopped after {error.timeout:.0f} s"}
        finally:
            process.kill()
            process.wait()
        if taken:
            return {"failed": f"stopped at {taken / MEGABYTE:,.0f} MB of memory"}
        said, problems = (_lines(file) for file in (output, errors))
    if process.returncode:
        return {"failed": (problems or [f"exit code {process.returncode}"])[-1]}
    return json.loads(said[-1])


def measure(
    model: str,
    seconds: float,
    threads: int,
    chunk_s: float | None = None,
    revision: str | None = None,
    trust: bool = False,
    options: Mapping[str, Any] | None = None,
) -> dict[str, float | None]:
    """Separate one mixture of noise in this process, as files are separated: in chunks where it is long.

    Arguments
    ---------
    model, revision, trust, options
        As in `open_model`.
    seconds : float
        Of audio.
    threads : int
        Of PyTorch.
    chunk_s : float, optional
        As in `lobes.inference.options.Options`; 0 cuts nothing.

    Returns
    -------
    dict
        `rtf` and `cpu_rtf`, wall and CPU seconds for a second of audio; `peak_mb`, the most memory of the process in MB
        of 2^20 bytes, and `over_mb`, that over what it held before (None where the system is not Linux).
    """
    import numpy as np
    import torch

    with suppress(ImportError):  # earlier versions did not
        from lobes.runs.freed_memory import keep_freed_memory

        keep_freed_memory()  # as `lobes separate` does
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    separator: Any = open_model(model, revision, trust, options)
    mix = np.random.default_rng(0).standard_normal(int(seconds * separator.sample_rate)).astype(np.float32) / 10
    cut = () if chunk_s is None else (_with_chunks(chunk_s),)
    # earlier versions had no chunks
    separate = getattr(separator, "separate", separator.separate_batch)
    with torch.no_grad():
        separate(mix[: int(WARM_S * separator.sample_rate)])
        before = start_peak("cpu") if _counts_memory() else None
        cpu, wall = time.process_time(), time.perf_counter()
        separate(mix, *cut)
        times = {"rtf": time.perf_counter() - wall, "cpu_rtf": time.process_time() - cpu}
    most = None if before is None else peak("cpu")
    return {
        **{name: value / seconds for name, value in times.items()},
        "peak_mb": None if most is None else most / MEGABYTE,
        "over_mb": None if most is None or before is None else (most - before) / MEGABYTE,
    }


def open_model(
    model: str, revision: str | None = None, trust: bool = False, options: Mapping[str, Any] | None = None
) -> Any:
    """The separator of a preset, with random weights, or of a model as `lobes separate` names it, on the CPU.

    Arguments
    ---------
    model : str
        A preset's name, or what `Separator.from_hparams` takes.
    revision : str, optional
        Of a hub id.
    trust : bool
        As in `Separator.from_hparams`.
    options : mapping, optional
        Of a preset, other values than its own.

    Returns
    -------
    Separator

    Raises
    ------
    UserError
        As `Separator.from_hparams`.

    Example
    -------
    >>> open_model("spmamba_tiny").sample_rate
    8000
    """
    from lobes.inference import Separator
    from lobes.inference.speechbrain_adapter import adapt
    from lobes.models import get_model, list_models

    if not is_preset(model, list_models()):
        from lobes.errors import UserError
        from lobes.runs.hub import revision_of

        if options:
            raise UserError(f"{model}: options belong to a preset; a trained model has those of its folder.")
        run_opts = {"device": "cpu"}
        return Separator.from_hparams(model, fetch_config=revision_of(revision), trust=trust, run_opts=run_opts)
    network: Any = get_model(model, **(options or {})).eval().requires_grad_(False)
    facts = {"num_spks": network.num_sources, "sample_rate": network.sample_rate}
    return Separator(adapt(network), facts, run_opts={"device": "cpu"})


def is_preset(model: str, presets: Sequence[str]) -> bool:
    """Whether a word is the name of a preset and not of a folder here.

    Example
    -------
    >>> is_preset("spmamba_tiny", ["spmamba_tiny"])
    True
    """
    return model in presets and not Path(model).is_dir()


def start_peak(device: str) -> int:
    """Forget the highest memory so far; return what is held now, in bytes. On a CPU this needs Linux."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _status("VmRSS")


def peak(device: str) -> int:
    """The highest memory since then, in bytes."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.max_memory_allocated()
    return _status("VmHWM")


def _status(field: str) -> int:
    """A figure of this process from the Linux kernel, in bytes."""
    text = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(rf"^{field}:\s+(\d+) kB", text, re.MULTILINE)
    assert found is not None, f"no {field} in /proc/self/status"
    return int(found[1]) * 1024


def _counts_memory() -> bool:
    return os.access("/proc/self/clear_refs", os.W_OK)


def _with_chunks(chunk_s: float) -> Any:
    from lobes.inference.options import Options

    return Options(chunk_s)


def _lines(file: Any) -> list[str]:
    """The lines of a process's output."""
    file.seek(0)
    return file.read().decode("utf-8", "replace").strip().splitlines()


if __name__ == "__main__":
    here = str(Path(__file__).parent)  # whose files have the names of anything
    sys.path[:] = [folder for folder in sys.path if folder != here]
    from lobes.errors import exit_on_user_error

    with exit_on_user_error():
        print(json.dumps(measure(**json.loads(sys.argv[1]))))
