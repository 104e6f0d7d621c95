"""The variants of PolSESS that count in the means of the result tables of demo.py and realdata.py."""

from __future__ import annotations

from lobes.polsess.variants import ALL_VARIANTS, in_improvement_mean

CLEAN = "In ES and EB, variant C is left out of these means: there the input is the target itself."


def counted_variants(task: str) -> tuple[str, ...]:
    """Return the variants that enter the means of a task, in the usual order.

    Example
    -------
    >>> counted_variants("ES")
    ('SER', 'SR', 'ER', 'R', 'SE', 'S', 'E')
    """
    return tuple(name for name in ALL_VARIANTS if in_improvement_mean(task, name))
