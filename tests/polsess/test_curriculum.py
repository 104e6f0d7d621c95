"""The curriculum over variants: which entry holds in which epoch, and a clear error for each bad entry."""

from __future__ import annotations

import pytest

from lobes.errors import UserError
from lobes.polsess.curriculum import check_curriculum, variants_at

CURRICULUM = [
    {"epoch": 1, "variants": ["C", "R"]},
    {"epoch": 3, "variants": ["C", "R", "SR", "S"]},
    {"epoch": 5, "variants": ["SER", "SE"]},
]


def test_curriculum():
    assert [variants_at(CURRICULUM, epoch) for epoch in (1, 2, 3, 4, 5, 50)] == [
        ("C", "R"),
        ("C", "R"),
        ("C", "R", "SR", "S"),
        ("C", "R", "SR", "S"),
        ("SER", "SE"),
        ("SER", "SE"),
    ]
    assert variants_at(None, 1) is None


@pytest.mark.parametrize(
    ("curriculum", "words"),
    [
        ([], "expected a list"),
        ({"epoch": 1, "variants": ["C"]}, "expected a list"),
        (["C"], "entry 1: expected"),
        ([{"epoch": 1, "variants": ["SEER"]}], "entry 1: Unknown variant 'SEER'.*Did you mean 'SER'"),
        ([{"epoch": 1, "varaints": ["C"]}], "entry 1: unknown key 'varaints'.*Did you mean 'variants'"),
        ([{"epoch": 1}], "entry 1: expected a whole epoch"),
        ([{"epoch": 1.5, "variants": ["C"]}], "entry 1: expected a whole epoch"),
        ([{"epoch": 2, "variants": ["C"]}], "must begin at epoch 1, got epoch 2"),
        ([CURRICULUM[0], CURRICULUM[2], CURRICULUM[1]], r"must increase.*\[1, 5, 3\]"),
        ([CURRICULUM[0], CURRICULUM[0]], r"must increase.*\[1, 1\]"),
    ],
)
def test_curriculum_mistakes(curriculum, words):
    with pytest.raises(UserError, match=words):
        check_curriculum(curriculum)
