"""The Triton backend, run in Triton's interpreter on the CPU. tests/scripts/test_kernel_table.py compiles it."""

from __future__ import annotations

import itertools

import pytest
import torch

from lobes.errors import UserError
from lobes.scan import selective_scan
from lobes.scan.cuda import plan, triton_backend, tuning
from lobes.scan.inputs import Facts
from lobes.scan.registry import BACKENDS, choose

pytest.importorskip("triton")  # there is none for macOS and Windows
interpreted = pytest.mark.skipif(not triton_backend.interpreted(), reason="Triton compiles for the GPU here")


@pytest.fixture
def segments(monkeypatch):
    """Sequences are cut into segments of 16 steps."""
    monkeypatch.setattr(tuning, "TUNED", tuple(row._replace(shortest=16) for row in tuning.TUNED))
    plan.plan.cache_clear()
    yield
    plan.plan.cache_clear()


@interpreted
@pytest.mark.parametrize(
    "shape", [(1, 1, 1, 1), (1, 21, 5, 4), (1, 17, 32, 16), (1, 18, 35, 7), (1, 17, 4, 19)], ids=str
)
def test_all_gradients_against_reference_in_float64(make, run, assert_agrees, shape):
    inputs = make(*shape)
    assert_agrees(run(inputs, backend="triton"), run(inputs, torch.float64, backend="reference"), 1e-6)


@interpreted
@pytest.mark.slow
@pytest.mark.parametrize("states", [1, 2, 4, 8, 13, 16, 17, 32])
@pytest.mark.parametrize("channels", [32, 33])
def test_every_tile_of_states(make, run, assert_agrees, states, channels, segments):
    inputs = make(2, 35, channels, states)
    truth = run(inputs, torch.float64, backend="reference")
    assert_agrees(run(inputs, backend="triton"), truth, 1e-6)


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


ROW = tuning.Tuning(float("inf"), programs=2112, shortest=32, look=4, turn=4, turn_back=4, registers=None)


def test_sequences_are_cut_only_where_programs_are_few():
    assert plan.segment_steps(4000, 129, ROW) >= 129
    assert plan.segment_steps(128, 500, ROW) == 32
    assert plan.segment_steps(8, 64000, ROW) == 256
    assert plan.segment_steps(0, 5, ROW) % 16 == 0  # chunks of 4, 8 and 16 steps begin where segments do


@pytest.fixture
def tuned(monkeypatch):
    """Put other rows into the table."""

    def put(*rows):
        monkeypatch.setattr(tuning, "TUNED", rows)
        plan.plan.cache_clear()

    yield put
    plan.plan.cache_clear()


def test_the_row_of_a_scan_follows_from_its_programs(tuned):
    tuned(ROW._replace(below=512, look=2), ROW)
    looks = [plan.plan(batch, 100, 64, 16).tuning.look for batch in (1, 255, 256, 4000)]  # two programs an item
    assert looks == [2, 2, 4, 4]


@interpreted
@pytest.mark.parametrize(
    "change",
    [{"look": 0}, {"look": 2, "turn_back": 2}, {"turn": 8, "registers": 128}, {"programs": 1}, {"shortest": 16}],
    ids=str,
)
def test_every_tuning_is_right(make, run, assert_agrees, tuned, change):
    tuned(ROW._replace(**change))
    for states in (2, 12):  # chunks of 4 and of 8 steps
        inputs = make(1, 21, 3, states)
        assert_agrees(run(inputs, backend="triton"), run(inputs, torch.float64, backend="reference"), 1e-6)


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
