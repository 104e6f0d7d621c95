"""What needs PyTorch: its import, devices, the backends of the scan, and a kernel that numba compiles."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from lobes.doctor.finding import FAIL, OK, WARN, Finding, in_bytes
from lobes.errors import UserError


def check_imports() -> Iterator[Finding]:
    """PyTorch, torchaudio and SpeechBrain can be imported together."""
    import speechbrain
    import torch
    import torchaudio

    found = ", ".join(f"{module.__name__} {module.__version__}" for module in (torch, torchaudio, speechbrain))
    yield Finding(OK, "imports", found)


def check_device() -> Iterator[Finding]:
    """The GPUs that PyTorch can use, or that there are and it cannot."""
    import torch

    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            facts = torch.cuda.get_device_properties(number)
            free, total = torch.cuda.mem_get_info(number)
            text = f"{facts.name}, CUDA {torch.version.cuda}, {in_bytes(free)} of {in_bytes(total)} free"
            yield Finding(OK, f"cuda:{number}", text)
    elif Path("/dev/nvidia0").exists() or shutil.which("nvidia-smi"):
        yield Finding(
            WARN,
            "GPU",
            f"this machine has one, and PyTorch {torch.__version__} (CUDA {torch.version.cuda}) cannot use it. "
            "Look at CUDA_VISIBLE_DEVICES and at the driver's version in nvidia-smi; trainings run on the CPU.",
        )
    else:
        yield Finding(OK, "device", "no GPU: everything runs on the CPU")


def check_threads(environment: dict[str, str] | None = None, cores: int | None = None) -> Iterator[Finding]:
    """The threads that OpenMP and MKL are asked for, against the cores that this process may use."""
    from lobes.runs.provenance import usable_cores

    environment = dict(os.environ) if environment is None else environment
    cores = usable_cores() if cores is None else cores
    asked = {name: environment[name] for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS") if environment.get(name)}
    for name, text in asked.items():
        if not text.isdigit() or not 1 <= int(text):
            yield Finding(WARN, "threads", f"{name}={text} is no number of threads. Unset it.")
        elif int(text) > cores:
            yield Finding(
                WARN,
                "threads",
                f"{name}={text}, and this process may use {cores} cores: they wait for each other, and a step takes "
                f"several times as long. Unset it, or set it to {cores} at most.",
            )
        else:
            yield Finding(OK, "threads", f"{name}={text} of {cores} cores")
    if not asked:
        yield Finding(OK, "threads", f"{cores} cores, no limit set")


def check_numba() -> Iterator[Finding]:
    """numba compiles a tiny kernel that gives the right number."""
    try:
        import numba
        import numpy as np

        @numba.njit
        def _sum(x):  # type: ignore[no-untyped-def]
            total = 0.0
            for value in x:
                total += value
            return total

        right = _sum(np.arange(5.0)) == 10.0
    except Exception as error:  # numba may be missing or broken in any way
        yield Finding(
            FAIL,
            "numba",
            f"cannot compile ({type(error).__name__}: {str(error)[:200]}): the scan falls back to plain PyTorch, "
            "several times slower on a CPU. Install Lobes anew.",
        )
        return
    if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
        yield Finding(FAIL, "numba", "NUMBA_DISABLE_JIT is set: nothing is compiled. Unset it.")
        return
    words = "compiled a tiny kernel" if right else "a tiny kernel gives wrong numbers; install Lobes anew"
    yield Finding(OK if right else FAIL, "numba", f"{numba.__version__}: {words}")


def check_cache() -> Iterator[Finding]:
    """Compiled kernels can be kept; otherwise every process compiles them anew."""
    import lobes.scan.cpu as kernels
    from lobes.training.checks import refuse_unwritable

    if asked := os.environ.get("NUMBA_CACHE_DIR"):
        places = [Path(asked)]
    else:  # where numba looks: next to the file, then in the user's cache
        places = [Path(str(kernels.__file__)).parent / "__pycache__", Path.home() / ".cache" / "numba"]
    reasons = []
    for place in places:
        try:
            refuse_unwritable(place, "NUMBA_CACHE_DIR")
        except UserError as error:
            reasons.append(str(error))
        else:
            yield Finding(OK, "kernel cache", f"{place} can be written")
            return
    text = (
        f"compiled kernels cannot be kept, so that every process compiles them anew, for several seconds: {reasons[0]}"
    )
    yield Finding(
        FAIL if asked else WARN, "kernel cache", f"{text} Set NUMBA_CACHE_DIR to a folder that can be written."
    )


def check_scan() -> Iterator[Finding]:
    """The backends of the scan, with the reasons why some cannot run; the one that is asked for exists."""
    import torch

    from lobes.errors import did_you_mean
    from lobes.scan import backends
    from lobes.scan.registry import ENVIRONMENT, FASTEST

    status = backends()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    asked = os.environ.get(ENVIRONMENT, "")
    for name, reason in status.items():
        fast = name in FASTEST[device]
        missed = fast and reason != "available" and not any(status[n] == "available" for n in FASTEST[device])
        yield Finding(WARN if missed else OK, f"scan: {name}", reason)
    if asked and asked != "auto" and asked not in status:
        known = ["auto", *status]
        text = f"{asked} is no backend; expected {', '.join(known)}.{did_you_mean(asked, known)}"
        yield Finding(FAIL, ENVIRONMENT, text)
    elif asked in status and status[asked] != "available":
        text = f"asks for {asked}, which cannot run here: {status[asked]}. Unset it: the fastest that runs is taken."
        yield Finding(FAIL, ENVIRONMENT, text)
    elif asked:
        yield Finding(OK, ENVIRONMENT, asked)


def check_compiler() -> Iterator[Finding]:
    """A C compiler: torch.compile wants one, nothing else does once Lobes is installed."""
    found = next((name for name in ("cc", "gcc", "clang") if shutil.which(name)), None)
    use = "needed by the option --compile, and to build PESQ when Lobes is installed"
    yield Finding(OK, "C compiler", f"{found or 'none'}; {use}")


# The order in which a process runs them; each is named in the finding about a process that died.
CHECKS = (check_imports, check_device, check_threads, check_numba, check_cache, check_scan, check_compiler)
