"""How a system is drawn: one colour and one mark for a system on the whole page, so that neither is needed alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lobes.reports.figures import PAGE_COLORS, SERIES, SOFT

# matplotlib's marker and the same shape as an SVG path within -5 to 5. The numbers of marks and of colours have no
# common divisor, so that only their product repeats.
MARKS = {
    "o": "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",
    "s": "M-3.6-3.6h7.2v7.2h-7.2z",
    "^": "M0-4.5 4.5 3.8h-9z",
    "D": "M0-4.9 4.9 0 0 4.9-4.9 0z",
    "v": "M0 4.5 4.5-3.8h-9z",
    "P": "M-1.7-4.7h3.4v3h3v3.4h-3v3h-3.4v-3h-3v-3.4h3z",
    "*": "M0-4.9 1.3-1.5 4.9-1.4 2 .8 3 4.3 0 2.2-3 4.3-2 .8-4.9-1.4-1.3-1.5z",
}
CROSS = "M-4.6-2.6-2.6-4.6 0-2 2.6-4.6 4.6-2.6 2 0 4.6 2.6 2.6 4.6 0 2-2.6 4.6-4.6 2.6-2 0z"


@dataclass(frozen=True)
class Look:
    """Colour and mark of a system."""

    drawn: str  # the colour in a picture, which the page's own replaces
    marker: str
    outline: str

    @property
    def color(self) -> str:
        """The colour as CSS."""
        return PAGE_COLORS[self.drawn]


OF_INPUT = Look(SOFT, "X", CROSS)


def looks_of(labels: Sequence[str], reference: str | None) -> dict[str, Look]:
    """The looks of systems by label: the untouched input has the colour of notes and a cross.

    Example
    -------
    >>> looks = looks_of(["noisy", "a", "b"], "noisy")
    >>> [(look.marker, look.color) for look in looks.values()]
    [('X', 'var(--soft)'), ('o', 'var(--s0)'), ('s', 'var(--s1)')]
    """
    marks = list(MARKS.items())
    others = [label for label in labels if label != reference]
    found = {label: Look(SERIES[place % len(SERIES)], *marks[place % len(marks)]) for place, label in enumerate(others)}
    return {label: found.get(label, OF_INPUT) for label in labels}
