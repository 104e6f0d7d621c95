"""Where the Triton kernels read and write: nothing outside their tensors, whatever `lengths` say."""

from __future__ import annotations

import itertools

import pytest
import torch

from lobes.scan.cuda import launch, plan, triton_backend, tuning
from lobes.scan.inputs import ScanInputs

triton = pytest.importorskip("triton")  # there is none for macOS and Windows
tl = pytest.importorskip("triton.language")
rows_from = pytest.importorskip("lobes.scan.cuda.triton_parts").rows_from
pytestmark = pytest.mark.skipif(not triton_backend.interpreted(), reason="Triton compiles for the GPU here")

GUARD = 64  # elements before and after a tensor
STEPS = 19


def guarded(values: torch.Tensor, poison: float) -> torch.Tensor:
    """A copy in the middle of a larger buffer that is `poison` outside; the buffer is `.buffer`."""
    buffer = torch.full((values.numel() + 2 * GUARD,), poison, dtype=values.dtype)
    view = buffer[GUARD:-GUARD].view(values.shape)
    view.copy_(values)
    view.buffer = buffer
    return view


def outside(view: torch.Tensor) -> torch.Tensor:
    return torch.cat([view.buffer[:GUARD], view.buffer[-GUARD:]])


@pytest.fixture(params=[19, 16], ids=["whole", "segments"])
def shortest(request, monkeypatch):
    monkeypatch.setattr(tuning, "TUNED", tuple(row._replace(shortest=request.param) for row in tuning.TUNED))
    plan.plan.cache_clear()
    yield
    plan.plan.cache_clear()


def inputs(make, lengths: list[int], reverse: bool) -> ScanInputs:
    """Inputs in the middle of NaN."""
    x = make(2, STEPS, 3, 2)
    tensors = {name: guarded(tensor, float("nan")) for name, tensor in x.items()}
    return ScanInputs(**tensors, lengths=torch.tensor(lengths), delta_softplus=True, reverse=reverse)


def run(x: ScanInputs) -> list[torch.Tensor]:
    """All that the kernels fill, each in a buffer of 7 whose surroundings must stay 7."""
    chunk, (batch, steps, channels) = plan.chunk_steps(2), x.u.shape
    scan = launch.Launch(x, chunk)
    pieces, tile = scan.plan.pieces, scan.plan.constants["N"]

    def zeros(*shape: int) -> torch.Tensor:
        return guarded(torch.zeros(shape), 7.0)

    y, last = zeros(*x.u.shape), zeros(batch, channels, 2)
    saved = zeros(*plan.saved_shape(x.u.shape, 2)[1:])
    scan.forward(y, last, saved)
    gy = guarded(torch.ones(x.u.shape), float("nan"))
    maps = zeros(2, batch, 1, steps, tile)
    grads = [zeros(*x.u.shape) for _ in range(3)]
    sums = [zeros(pieces, channels, 2), zeros(pieces, channels), zeros(pieces, channels), zeros(batch, channels, 2)]
    scan.backward(saved, gy, None, (*grads, maps, maps.stride(0), *sums))
    totals = [zeros(batch, steps, 2), zeros(batch, steps, 2), zeros(channels, 2), zeros(channels), zeros(channels)]
    scan.add_up(maps, tuple(sums[:3]), tuple(totals))
    return [y, last, saved, *grads, maps, *sums, *totals]


@pytest.mark.parametrize("reverse", [False, True])
def test_lengths_outside_of_the_rows_are_cut_to_them(make, shortest, reverse):
    filled = run(inputs(make, [STEPS + 5000, -3], reverse))
    for tensor in filled:
        assert (outside(tensor) == 7).all() and torch.isfinite(tensor).all()
    for got, expected in zip(filled, run(inputs(make, [STEPS, 0], reverse)), strict=True):
        assert torch.equal(got, expected)
    assert not filled[0][1].any() and filled[0][0].any(1).all()


@pytest.mark.parametrize("items, steps, channels, states", [(1, 3, 5, 3), (2, 19, 270, 2), (3, 9, 40, 16)])
def test_the_sums_of_what_programs_leave(items, steps, channels, states):
    """Of more blocks and pieces than are read at once, and of tiles with more states than there are."""
    rows, A, vector = torch.zeros(items, steps, channels), torch.zeros(channels, states), torch.zeros(channels)
    B = torch.zeros(items, steps, states, dtype=torch.bfloat16)
    scan = launch.Launch(ScanInputs(rows, rows, A, B, B, vector, None, vector, None, None, True, False), 8)
    pieces, tile = 70, scan.plan.constants["N"]
    scan.plan = scan.plan._replace(pieces=pieces)
    generator = torch.Generator().manual_seed(0)

    def left(*shape: int) -> torch.Tensor:
        return guarded(torch.randn(shape, generator=generator), float("nan"))

    maps = left(2, items, scan.plan.blocks, steps, tile)
    parts = (left(pieces, channels, states), left(pieces, channels), left(pieces, channels))
    totals = [guarded(torch.full_like(like, 5), 7.0) for like in (B, B, A, vector, vector)]
    scan.add_up(maps, parts, tuple(totals))
    expected = [*maps.double().sum(2)[..., :states].bfloat16(), *(part.double().sum(0) for part in parts)]
    for total, truth in zip(totals, expected, strict=True):
        assert torch.allclose(total.double(), truth.double(), rtol=1e-2 if total.dtype == B.dtype else 1e-5, atol=1e-5)
        assert (outside(total) == 7).all()


@triton.jit
def offsets(base, out, step, length, REVERSE: tl.constexpr):
    """How many elements the row of step 40 in item 1 lies from the base, and how far it is to the next step's."""
    pointer, way = rows_from(base, 5, step, 1, 40, length, REVERSE)
    tl.store(out, (pointer.to(tl.int64, bitcast=True) - base.to(tl.int64, bitcast=True)) // 4)
    tl.store(out + 1, way)


def test_rows_more_than_32_bits_apart():
    """The offset of a row in an item may pass 2^31 elements, as in a time-major view of a large batch."""
    step, out = 1 << 26, torch.zeros(2, dtype=torch.int64)
    for reverse, row, way in ((False, 40, step), (True, 59, -step)):
        offsets[(1,)](torch.zeros(1), out, step, 100, REVERSE=reverse)
        assert out.tolist() == [5 + row * step, way]


def test_rows_too_far_apart_for_the_kernels_are_copied():
    far = torch.empty_strided((2, 3, 4), (4, 1 << 27, 1), device="meta")
    near = torch.empty_strided((2, 3, 4), (4, (1 << 27) - 1, 1), device="meta")
    assert launch.row(far)[1:] == (12, 4) and launch.row(near)[1:] == (4, (1 << 27) - 1)


def test_maps_are_read_in_place_where_four_numbers_can_be_read_at_once(make):
    x = make(2, 5, 3, 8)
    for width, offset, copied in ((48, 16, False), (40, 8, True), (48, 17, True)):
        packed = torch.randn(2, 5, width)
        B, C = packed[..., offset : offset + 8], packed[..., offset + 8 : offset + 16]
        given = ScanInputs(**{**x, "B": B, "C": C}, lengths=None, delta_softplus=True, reverse=False)
        got = launch.maps_of(given)
        assert (got[0].data_ptr() != B.data_ptr()) == copied and got[3] % 16 == 0
        assert torch.equal(got[0], B) and torch.equal(got[1], C)
        half = launch.maps_of(given._replace(B=B.bfloat16(), C=C.bfloat16()))
        assert half[0].dtype == torch.float32 and half[2:] == (5 * 16, 16)


@pytest.mark.parametrize("padded, reverse", list(itertools.product([False, True], repeat=2)))
def test_a_decay_rate_of_minus_infinity(make, run, assert_agrees, padded, reverse):
    """The state forgets at once. Steps past the end have dt = 0, and 0 times infinity is no number."""
    x = make(2, 17, 3, 2)
    options = {"lengths": torch.tensor([17, 3]) if padded else None, "reverse": reverse}
    truth = run(
        {**x, "A": x["A"].clone().index_fill_(1, torch.tensor([1]), -1e4)},
        torch.float64,
        backend="reference",
        **options,
    )
    x["A"][:, 1] = -float("inf")
    assert_agrees(run(x, backend="triton", **options), truth, 1e-6)


def test_groups_of_states_share_the_memory_gate():
    """Saved states take at most four times as much as u."""
    for states in (1, 4, 8, 12, 16, 32, 64):
        shape = plan.saved_shape((4, 1024, 64), states)
        assert torch.Size(shape).numel() <= (2 if states <= 32 else 4) * 4 * 1024 * 64
