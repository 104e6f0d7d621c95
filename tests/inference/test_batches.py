"""What `separate_batch` accepts and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lobes.errors import UserError
from lobes.inference.batches import checked_lengths, to_batch


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (torch.tensor([0.5, -1.0], dtype=torch.float64), [0.5, -1.0]),
        (torch.tensor([0.5, -1.0], dtype=torch.float16), [0.5, -1.0]),
        (np.array([16384, -32768], np.int16), [0.5, -1.0]),
        (np.array([2**30, -(2**31)], np.int32), [0.5, -1.0]),
        (np.array([192, 0], np.uint8), [0.5, -1.0]),
    ],
)
def test_A15_types_are_converted_to_full_scale_one(value, expected):
    batch = to_batch(value)
    assert batch.dtype == torch.float32
    assert batch.tolist() == [expected]


def test_model_in_double_precision_gets_double():
    assert to_batch(torch.zeros(2, 3), torch.float64).dtype == torch.float64


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x[::-1].copy()[::-1],
        lambda x: x.astype(x.dtype.newbyteorder()),
        lambda x: np.frombuffer(x.tobytes(), x.dtype),
        lambda x: x.astype(np.longdouble),
        lambda x: x.astype(float).tolist(),
    ],
)
def test_arrays_that_torch_does_not_take_as_they_are(change, recwarn):
    """Reversed views, the other byte order (RIFX), read-only memory, more than 64 bits, lists."""
    x = np.linspace(-1, 1, 9, dtype=np.float32)
    assert torch.equal(to_batch(change(x)), torch.from_numpy(x)[None]) and not recwarn


@pytest.mark.parametrize("shape", [(2, 1, 100), (0, 100), (2, 0), (0,), ()])
def test_wrong_shapes_name_the_expected_one(shape):
    with pytest.raises(UserError, match=r"expected a mixture \[T\] or \[B,T\].*got shape"):
        to_batch(torch.zeros(shape))


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
def test_other_types_are_refused(dtype):
    with pytest.raises(UserError, match="expected floating-point, int16"):
        to_batch(torch.zeros(1, 5, dtype=dtype))


def test_first_bad_sample_is_named():
    mix = torch.zeros(3, 10)
    mix[1, 4], mix[2, 0] = torch.inf, torch.nan
    with pytest.raises(UserError, match="sample 4 of item 1 of the mixture is inf"):
        to_batch(mix)


@pytest.mark.parametrize("lengths", [[1.0], [0.0, 1.0], [0.5, 1.5], [8000.0, 4000.0], [float("nan"), 1.0]])
def test_wrong_lengths_are_refused(lengths):
    with pytest.raises(UserError, match="lengths: expected"):
        checked_lengths(torch.tensor(lengths), 2)
