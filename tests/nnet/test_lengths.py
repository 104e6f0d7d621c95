"""Lengths: counts, masks, and zeros after the end."""

import pytest
import torch

from lobes.nnet.lengths import derived, mask, on_cpu, to_device, to_samples, zero_padding


def test_relative_lengths_give_back_the_sample_counts():
    total = 479_999
    counts = torch.randint(1, total + 1, (200,), generator=torch.Generator().manual_seed(0))
    counts[0] = total
    relative = counts.float() / total
    assert torch.equal(to_samples(relative, total, 200), counts)


def test_no_lengths_means_full_items():
    assert to_samples(None, 7, 3).tolist() == [7, 7, 7]


def test_counts_stay_between_one_and_total():
    assert to_samples(torch.tensor([1e-9, 1.0000001]), 10, 2).tolist() == [1, 10]


@pytest.mark.parametrize("lengths", [torch.ones(3), torch.ones(2, 1), torch.tensor([1.0, float("nan")])])
def test_wrong_lengths_are_refused(lengths):
    with pytest.raises(ValueError, match="lengths"):
        to_samples(lengths, 10, 2)


def test_zero_padding_removes_nan():
    x = torch.full((2, 4, 3), float("nan"))
    x[0, :2] = 1
    x[1] = 1
    assert zero_padding(x, torch.tensor([2, 4])).sum() == 2 * 3 + 4 * 3
    assert mask(torch.tensor([2]), 4).tolist() == [[True, True, False, False]]


def test_counts_on_a_device_are_read_where_they_came_from():
    n = to_device(torch.tensor([9, 4]), torch.device("meta"))  # a device whose values nobody can read
    assert n.device.type == "meta" and on_cpu(n).tolist() == [9, 4]
    repeated = derived(n, lambda counts: (counts // 2).repeat_interleave(2))
    assert repeated.device.type == "meta" and on_cpu(repeated).tolist() == [4, 4, 2, 2]


def test_counts_on_the_cpu_are_themselves():
    n = torch.tensor([9, 4])
    assert to_device(n, n.device) is n and torch.equal(on_cpu(derived(n, lambda counts: counts + 1)), n + 1)
