"""Which sizes of a mixer fit together."""

from __future__ import annotations

from lobes.errors import UserError


def check_heads(mixer: str, width: int, heads: int) -> None:
    """Raise UserError unless the heads of a mixer divide its width.

    Example
    -------
    >>> check_heads("attention", 30, 4)
    Traceback (most recent call last):
    ...
    lobes.errors.UserError: mixer: attention: expected mixer_heads that divide the width, got 4 and 30; change mixer_...
    """
    if width < 1 or heads < 1 or width % heads:
        raise UserError(
            f"mixer: {mixer}: expected mixer_heads that divide the width, got {heads} and {width}; change mixer_heads "
            "or mixer_width"
        )
