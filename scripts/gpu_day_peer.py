"""The kernel of mamba_ssm, to measure against: as it is installed, or built from its sources for the GPU at hand.

The whole extension takes half an hour to build. Here only the eight kernels are built that the shapes of
`benchmarks/scan.py` call: float32, real A, B and C that change with time, a gate, softplus, and lengths that fill no
block of theirs. The sources are copied, and the copies changed; the kernels themselves stay as they are.
"""

from __future__ import annotations

import importlib
import os
import re
import shutil
import tarfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lobes.errors import UserError

SOURCES = ("selective_scan.cpp", "selective_scan_fwd_fp32.cu", "selective_scan_bwd_fp32_real.cu")
# as in its setup.py
FLAGS = ["-O3", "-std=c++17", "--use_fast_math", "--expt-relaxed-constexpr", "--expt-extended-lambda"]
HALF = ("HALF_OPERATORS", "HALF_CONVERSIONS", "BFLOAT16_OPERATORS", "BFLOAT16_CONVERSIONS", "BFLOAT162_OPERATORS")
FLAGS += [f"-U__CUDA_NO_{name}__" for name in HALF]
FIXED = {"kIsEvenLen": False, "kIsVariableB": True, "kIsVariableC": True, "kHasZ": True, "kDeltaSoftplus": True}
SWITCH = (
    "#define BOOL_SWITCH(COND, CONST_NAME, ...) "
    "[&] { constexpr bool CONST_NAME = fixed_##CONST_NAME; return __VA_ARGS__(); }()"
)
USUAL = Path(os.sep, "usr", "local", "cuda")
Scan = Callable[..., Tensor]


def peer(sources: Path | None, build: Path) -> Scan:
    """The scan of mamba_ssm, a function of u, delta [B,D,L], A [D,N], B, C [B,N,L], D, z and delta_bias.

    Arguments
    ---------
    sources : Path, optional
        mamba_ssm's source distribution or its unpacked folder, for where the package is not installed.
    build : Path
        Folder for the compiled extension.

    Raises
    ------
    UserError
        There is neither the package nor what it takes to build its kernel.
    """
    try:
        importlib.import_module("selective_scan_cuda")
        fn = importlib.import_module("mamba_ssm.ops.selective_scan_interface").selective_scan_fn
    except Exception as error:  # not installed, another torch's build, a missing dependency
        if sources is None:
            raise UserError(
                f"mamba_ssm is not installed ({type(error).__name__}: {error}); to build its kernel give --peer FILE, "
                "its source distribution"
            ) from error
        return built(sources, build)
    return lambda *tensors: fn(*tensors, delta_softplus=True)


@cache
def built(sources: Path, build: Path) -> Scan:
    """The scan of an extension that is compiled from the sources; later calls find it in the folder."""
    build_for_this_gpu(toolkit())
    from torch.utils.cpp_extension import load  # which looks for the toolkit now

    folder = narrowed(unpacked(sources, build), build / "narrowed")
    extension = load(
        "lobes_peer_scan",
        [str(folder / name) for name in SOURCES],
        extra_cflags=["-O3", "-std=c++17"],
        extra_cuda_cflags=FLAGS,
        build_directory=str(build),
        with_cuda=True,
        verbose=True,
    )
    return lambda *tensors: PeerScan.apply(extension, *tensors)


def toolkit() -> Path:
    """The folder of CUDA's compiler and headers; nvcc on PATH may be a script that calls it from elsewhere."""
    named, found = os.environ.get("CUDA_HOME"), shutil.which("nvcc")
    homes = ([Path(named)] if named else []) + ([Path(found).resolve().parents[1], USUAL] if found else [])
    for home in homes:
        if (home / "include" / "cuda_runtime.h").is_file():
            return home
    raise UserError("nvcc, which builds the kernel of mamba_ssm, is not found; put it on PATH, or set CUDA_HOME")


def build_for_this_gpu(home: Path) -> None:
    """Set the toolkit and the architecture, without which torch builds for every GPU; with none at hand, an H100's.

    A toolkit may lack the headers of cuBLAS, cuSPARSE and cuSOLVER, which torch's own ask for; its wheels have them.
    """
    os.environ["CUDA_HOME"] = str(home)
    wheels = sorted(Path(torch.__file__).parents[1].glob("nvidia/*/include"))
    own = os.environ.get("CPLUS_INCLUDE_PATH")  # searched after the toolkit's
    os.environ["CPLUS_INCLUDE_PATH"] = os.pathsep.join([*([own] if own else []), *map(str, wheels)])
    major, minor = torch.cuda.get_device_capability() if torch.cuda.is_available() else (9, 0)
    os.environ["TORCH_CUDA_ARCH_LIST"] = f"{major}.{minor}"
    os.environ.setdefault("MAX_JOBS", "3")  # as many as there are files


def unpacked(sources: Path, build: Path) -> Path:
    """The folder `csrc/selective_scan` of a source distribution, or of its unpacked folder."""
    if sources.is_file():
        with tarfile.open(sources) as archive:
            archive.extractall(build / "sources", filter="data")
        sources = build / "sources"
    found = sorted(sources.rglob("selective_scan.cpp"))
    if not found:
        raise UserError(f"--peer {sources}: no selective_scan.cpp in it; expected the sources of mamba_ssm")
    return found[0].parent


def narrowed(folder: Path, target: Path) -> Path:
    """A copy of the sources that has the eight kernels alone."""
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(folder.iterdir()):
        if path.suffix not in (".h", ".cuh") and path.name not in SOURCES:
            continue
        text = narrow(path.name, path.read_text(encoding="utf-8"))
        copy = target / path.name
        if not copy.exists() or copy.read_text(encoding="utf-8") != text:  # else it would be compiled again
            copy.write_text(text, encoding="utf-8")
    return target


def narrow(name: str, text: str) -> str:
    """The text of one source file, without what the measured shapes do not call.

    Example
    -------
    >>> narrow("a.cpp", "using input_t = at::Half;")
    'using input_t = float;'
    """
    if name == "static_switch.h":
        constants = [f"constexpr bool fixed_{key} = {str(value).lower()};" for key, value in FIXED.items()]
        return "\n".join(["#pragma once", *constants, SWITCH, ""])
    text = re.sub(r"(using (?:input|weight)_t = )(?:at::Half|at::BFloat16|c10::complex<float>);", r"\1float;", text)
    text = re.sub(r"^template void \w+<float, complex_t>.*$", "", text, flags=re.MULTILINE)
    return re.sub(r"_launch<64, 16,", "_launch<128, 16,", text)  # for 513 to 1024 steps, which no shape has


class PeerScan(torch.autograd.Function):
    """The extension's two functions with gradients, as mamba_ssm calls them."""

    @staticmethod
    def forward(ctx: Any, extension: Any, *tensors: Tensor) -> Tensor:
        """The gated output [B,D,L]."""
        u, delta, A, B, C, D, z, bias = tensors
        B, C = B.unsqueeze(1), C.unsqueeze(1)  # [B,1,N,L]
        out, states, gated = extension.fwd(u, delta, A, B, C, D, z, bias, True)
        ctx.save_for_backward(u, delta, A, B, C, D, z, bias, states, out)
        ctx.extension = extension
        return gated

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of the eight tensors."""
        u, delta, A, B, C, D, z, bias, states, out = ctx.saved_tensors
        gradient = gradients[0].contiguous()
        found = ctx.extension.bwd(u, delta, A, B, C, D, z, bias, gradient, states, out, None, True, False)
        du, ddelta, dA, dB, dC, dD, dbias, dz = found
        return None, du, ddelta, dA, dB.squeeze(1), dC.squeeze(1), dD, dz, dbias
