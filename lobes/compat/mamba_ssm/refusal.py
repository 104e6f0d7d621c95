"""The line for a name of mamba_ssm or causal_conv1d that is not offered."""

from __future__ import annotations

import re

_LATER = re.compile(r"mamba_?[23]|ssd|gated|cute|tilelang", re.IGNORECASE)


def refusal(name: str) -> str:
    """What to say of a name that is not offered, in one line.

    Example
    -------
    >>> refusal("mamba_ssm.Mamba2")
    'mamba_ssm.Mamba2 is not offered by lobes.compat.mamba_ssm, which serves Mamba-1: Mamba-2 and Mamba-3 need the
    package mamba-ssm on a machine with CUDA, without lobes.compat; or use mamba_ssm.Mamba.'
    """
    advice = "docs/mamba_ssm.md lists the names that it has."
    if _LATER.search(name.partition(".")[2]):
        advice = (
            "Mamba-2 and Mamba-3 need the package mamba-ssm on a machine with CUDA, without lobes.compat; "
            "or use mamba_ssm.Mamba."
        )
    return f"{name} is not offered by lobes.compat.mamba_ssm, which serves Mamba-1: {advice}"
