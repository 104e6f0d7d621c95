"""Mamba within and across bands: structure, size, directions, padding."""

from __future__ import annotations

import pytest
import torch

from lobes.nnet.band_mamba import CrossBandBiMamba, IntraBandBiMamba, MambaPair
from lobes.nnet.mamba import Mamba


@pytest.mark.parametrize(
    "options, count",
    [
        ({"as_published": True}, 150_144),
        ({"as_published": True, "d_state": 12}, 147_072),
        ({"as_published": True, "expand": 2}, 274_816),
        ({"as_published": True, "expand": 2, "d_state": 12}, 268_672),
        ({}, 149_632),
    ],
)
def test_sizes(options, count):
    assert sum(p.numel() for p in MambaPair(128, **options).parameters()) == count


def both_directions(pair, x):
    """The layer in steps: the backward mixer as a forward one between two flips."""
    y = pair.norm(x)
    backward = Mamba(16, d_state=4, expand=1).double()
    backward.load_state_dict(pair.mixers[1].state_dict())
    outputs = []
    for i, mixer in enumerate((pair.mixers[0], backward)):
        z = y if i == 0 else y.flip(1)
        if pair.inner_norms is not None:
            z = z + mixer(pair.inner_norms[i](z))
        else:
            z = mixer(z)
        outputs.append(z if i == 0 else z.flip(1))
    return x + pair.combine(torch.cat(outputs, -1))


@pytest.mark.parametrize("as_published", [False, True])
def test_both_directions_behind_one_norm(as_published):
    torch.manual_seed(0)
    pair = MambaPair(16, as_published=as_published, d_state=4).double()
    x = torch.randn(2, 9, 16, dtype=torch.float64)
    assert torch.allclose(pair(x), both_directions(pair, x), atol=1e-10)


def test_intra_sees_time_and_cross_sees_bands():
    torch.manual_seed(0)
    x = torch.randn(1, 6, 3, 8)
    changed = x.clone()
    changed[:, 2, 1] = torch.randn(8)
    for kind, expected in ((IntraBandBiMamba, ({0, 1, 2, 3, 4, 5}, {1})), (CrossBandBiMamba, ({2}, {0, 1, 2}))):
        layer = kind(8, d_state=4).double()
        moved = (layer(changed.double()) - layer(x.double())).abs().sum(-1)[0] > 1e-12  # [L, K]
        assert tuple(set(places.tolist()) for places in moved.nonzero(as_tuple=True)) == expected


def test_one_direction_never_looks_ahead():
    torch.manual_seed(0)
    layer = IntraBandBiMamba(8, bidirectional=False, d_state=4)
    x = torch.randn(1, 6, 3, 8)
    y = layer(x)
    x[:, 4] = torch.nan
    assert torch.equal(layer(x)[:, :4], y[:, :4]) and torch.isnan(layer(x)[:, 4:]).all()


@pytest.mark.parametrize("as_published", [False, True])
def test_padding_changes_nothing(as_published):
    torch.manual_seed(0)
    layer = IntraBandBiMamba(8, as_published=as_published, d_state=4)
    x = torch.randn(2, 6, 3, 8)
    x[1, 4:] = torch.nan
    y = layer(x, torch.tensor([6, 4]))
    assert torch.allclose(y[1, :4], layer(x[1:, :4])[0], atol=1e-5) and torch.isfinite(y[0]).all()
