"""The Triton backend: run in Triton's interpreter on the CPU; compiled, but not run, for a GPU that may be absent."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys

import pytest
import torch

from lobes.errors import UserError
from lobes.scan import selective_scan
from lobes.scan.cuda import triton_backend
from lobes.scan.inputs import Facts
from lobes.scan.registry import BACKENDS, choose

pytest.importorskip("triton")  # there is none for macOS and Windows
interpreted = pytest.mark.skipif(not triton_backend.interpreted(), reason="Triton compiles for the GPU here")


@pytest.fixture(params=[False, True], ids=["whole", "segments"])
def segments(request, monkeypatch):
    """Whole sequences, and sequences cut into segments of 16 steps."""
    if request.param:
        monkeypatch.setattr(triton_backend, "SHORTEST_SEGMENT", 16)


@interpreted
@pytest.mark.parametrize(
    "shape", [(1, 1, 1, 1), (1, 33, 5, 4), (1, 16, 32, 16), (1, 18, 35, 7), (1, 17, 4, 33)], ids=str
)
def test_all_gradients_against_reference_in_float64(make, run, assert_agrees, shape, segments):
    inputs = make(*shape)
    assert_agrees(run(inputs, backend="triton"), run(inputs, torch.float64, backend="reference"), 1e-6)


@interpreted
@pytest.mark.parametrize("reverse, padded, started", list(itertools.product([False, True], repeat=3)))
def test_directions_lengths_and_initial_states(make, run, assert_agrees, reverse, padded, started, segments):
    inputs = make(3, 19, 3, 2, absent=() if started else ("initial_state",))
    options = {"reverse": reverse, "lengths": torch.tensor([19, 0, 17]) if padded else None}
    truth = run(inputs, torch.float64, backend="reference", **options)
    assert_agrees(run(inputs, backend="triton", **options), truth, 1e-6)


@interpreted
@pytest.mark.parametrize("absent", [("D",), ("z",), ("delta_bias",), ("D", "z", "delta_bias")], ids=str)
@pytest.mark.parametrize("softplus", [True, False])
def test_optional_arguments(make, run, assert_agrees, softplus, absent):
    inputs = make(1, 17, 3, 2, absent=absent)
    inputs["delta"] = inputs["delta"] if softplus else inputs["delta"].abs() + 1  # dt must be positive to be stable
    truth = run(inputs, torch.float64, backend="reference", delta_softplus=softplus)
    assert_agrees(run(inputs, backend="triton", delta_softplus=softplus), truth, 1e-6)


@interpreted
@pytest.mark.parametrize("reverse", [False, True])
def test_padding_is_neither_read_nor_given_gradients(make, run, reverse, segments):
    clean, lengths = make(2, 18, 4, 2), torch.tensor([18, 9])
    dirty = {name: tensor.clone() for name, tensor in clean.items()}
    for name, (b, n) in itertools.product(["u", "delta", "B", "C", "z"], enumerate(lengths.tolist())):
        dirty[name][b, n:] = float("nan")
    got = run(dirty, backend="triton", reverse=reverse, lengths=lengths)
    expected = run(clean, backend="triton", reverse=reverse, lengths=lengths)
    assert all(torch.equal(got[name], expected[name]) for name in expected)
    for name in ("y", "u", "delta", "B", "C", "z"):
        assert all(not got[name][b, n:].any() for b, n in enumerate(lengths.tolist())), name


@interpreted
@pytest.mark.parametrize("name", ["u", "delta", "A", "B", "C", "D", "z", "delta_bias", "initial_state"])
def test_nan_reaches_the_output_and_the_gradients(make, run, name):
    inputs = make(1, 5, 3, 2)
    inputs[name].view(-1)[-1] = float("nan")
    got = run(inputs, backend="triton")
    assert torch.isnan(got.pop("y")).any()
    assert torch.isnan(got.pop("last")).any() or name in ("C", "D", "z")  # which the state does not meet
    assert any(torch.isnan(gradient).any() for gradient in got.values())


@interpreted
def test_views_and_extreme_steps(make, run, assert_agrees):
    inputs = make(2, 12, 4, 3)
    inputs["delta"][:, ::3], inputs["delta"][:, 1::3] = 60.0, -80.0
    inputs["z"][:, ::2], inputs["z"][:, 1::2] = -90.0, 90.0
    views = {name: tensor.mT.contiguous().mT if tensor.dim() > 1 else tensor for name, tensor in inputs.items()}
    views["u"], views["z"] = torch.cat([inputs["u"], inputs["z"]], dim=-1).chunk(2, dim=-1)
    assert not views["u"].is_contiguous() and not views["B"].is_contiguous()
    assert_agrees(run(views, backend="triton"), run(inputs, torch.float64, backend="reference"), 1e-6)


@interpreted
def test_pieces_of_a_stream_equal_one_call(make):
    x = make(2, 20, 5, 3)
    options = {"delta_softplus": True, "return_last_state": True, "backend": "triton"}
    whole, last = selective_scan(**x, **options)
    state, pieces = x.pop("initial_state"), []
    for part in (slice(0, 1), slice(1, 18), slice(18, 20)):
        piece = {name: tensor[:, part] if tensor.dim() == 3 else tensor for name, tensor in x.items()}
        y, state = selective_scan(**piece, initial_state=state, **options)
        pieces.append(y)
    assert torch.allclose(torch.cat(pieces, 1), whole, atol=1e-6)
    assert torch.allclose(state, last, atol=1e-6)


@interpreted
def test_half_precision_rows_are_read_as_they_are(make, run, assert_agrees, monkeypatch):
    seen, backend = [], BACKENDS["triton"]
    original = backend.forward
    monkeypatch.setattr(backend, "forward", lambda x, *options: seen.append(x.u.dtype) or original(x, *options))
    inputs = {name: tensor.bfloat16().float() for name, tensor in make(1, 18, 4, 2).items()}
    got, truth = run(inputs, torch.bfloat16, backend="triton"), run(inputs, backend="reference")
    assert seen == [torch.bfloat16] and got["last"].dtype == torch.float32
    assert all(got[name].dtype == torch.bfloat16 for name in inputs)
    assert_agrees(got, truth, tolerance=1e-2)


def test_sequences_are_cut_only_where_programs_are_few():
    assert triton_backend.segment_steps(programs=4000, steps=129) >= 129
    assert triton_backend.segment_steps(programs=8, steps=16000) == 256
    assert triton_backend.segment_steps(programs=8, steps=64000) == 512
    assert triton_backend.segment_steps(programs=0, steps=5) % triton_backend.CHUNK == 0


def on(device: str, dtype: torch.dtype = torch.float32) -> Facts:
    return Facts(device, dtype, 16, False, False, True)


def test_cuda_takes_mamba_ssm_else_triton_else_torch(monkeypatch):
    monkeypatch.delenv("LOBES_SCAN_BACKEND", raising=False)
    can = {"mamba_ssm": None, "triton": None}
    for name in can:
        monkeypatch.setattr(BACKENDS[name], "unavailable", lambda name=name: can[name])
    assert choose("auto", *on("cuda")) == "mamba_ssm"
    can["mamba_ssm"] = "not there"
    assert choose("auto", *on("cuda")) == "triton"
    assert choose("auto", *on("cuda", torch.float64)) == "torch"
    can["triton"] = "nor here"
    assert choose("auto", *on("cuda")) == "torch"


def test_the_cpu_is_refused_without_the_interpreter(make, monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr(BACKENDS["triton"], "unavailable", lambda: None)
    with pytest.raises(UserError, match="backend='triton' cannot run: triton runs on CUDA tensors, and u is on cpu"):
        selective_scan(**make(1, 4, 3, 2), backend="triton")


COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from lobes.scan.cuda import triton_kernels as kernels
from lobes.scan.cuda import triton_backend as backend

floats, rows, sizes = "*fp32", ("*bf16", "i32", "i32"), ("i32",) * 5
types = {name: floats for name in ("A D bias first last saved glast gA gD gbias gfirst total end".split())}
types |= {name: rows for name in "u delta B C z y gy gu gdelta gz".split()}
types |= {"gB": (floats, "i32", "i32"), "gC": (floats, "i32", "i32"), "lengths": "*i64", "sizes": sizes}
none = ("D", "z", "bias", "first")
for name, absent in (("forward", ()), ("backward", ()), ("backward", none), ("summarize", ()), ("join", none)):
    kernel = getattr(kernels, name)
    fixed = {"N": 16, "W": backend.WIDTH, "CHUNK": backend.CHUNK, "REVERSE": bool(absent), "SOFTPLUS": not absent,
             "BACK": not absent, "T": backend.AHEAD if name == "forward" else 4, **dict.fromkeys(absent)}
    names = kernel.arg_names
    signature = {n: "constexpr" if n in fixed else types[n] for n in names}
    source = ASTSource(kernel, signature, {(names.index(n),): fixed[n] for n in names if n in fixed})
    compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 1})
    print(name, len(compiled.asm["cubin"]))
"""


def test_kernels_compile_for_a_gpu():
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run([sys.executable, "-c", COMPILE], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    sizes = [int(line.split()[1]) for line in done.stdout.splitlines()]
    assert len(sizes) == 5 and min(sizes) > 1000
