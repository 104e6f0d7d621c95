"""The tables of tasks and variants: what fits a row, and a clear error for each wrong name."""

from __future__ import annotations

import pytest

from lobes.errors import UserError
from lobes.polsess import variants


def test_allowed_variants_filter_rows():
    assert variants.variants_for(True, ["C", "SER", "SE"]) == ("SER", "C")
    assert not variants.compatible(False, ["SER", "R"]) and variants.compatible(False, ["SER", "C"])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: variants.check_variants(["SRE"]), "Unknown variant 'SRE'.*Did you mean 'S?ER|SR'"),
        (lambda: variants.check_variants(["ser"]), "Did you mean 'SER'"),
        (lambda: variants.check_variants("SER"), "expected a list such as .SER, SE., got 'SER'"),
        (lambda: variants.check_variants([]), "empty list"),
        (lambda: variants.kept_parts("SB", "SE", True), "'SE' does not fit an indoor row"),
        (lambda: variants.kept_parts("SBB", "SE", True), "Unknown task 'SBB'.*Did you mean 'SB'"),
        (lambda: variants.num_sources("es"), "Unknown task 'es'"),
    ],
)
def test_mistakes(call, words):
    with pytest.raises(UserError, match=words):
        call()


def test_variant_c_stays_out_of_enhancement_means():
    pairs = [(task, variant) for task in variants.TASKS for variant in variants.ALL_VARIANTS]
    out = [pair for pair in pairs if not variants.in_improvement_mean(*pair)]
    assert out == [("ES", "C"), ("EB", "C")]
