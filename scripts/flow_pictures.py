"""Pictures of data flows: boxes from top to bottom, with the shapes between them, as SVG files that need nothing else.

A flow is a list of steps as docs/models/flows.yaml has them. A picture has its own light ground, so that it can be
read on a dark page, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

WIDTH, BOX, HEIGHT, GAP = 480, 250, 34, 28  # of a picture; width and height of a box; between two boxes
PAD, LETTER = 14, 7.4  # inside of a group, and what a letter of a box takes at most
INK, SOFT, GROUND, FILL = "#1c1d1f", "#50555c", "#fdfdfc", "#e3f1ee"
TURN = WIDTH - 14  # where the way around other boxes runs
FONT = 'font-family="system-ui, -apple-system, Segoe UI, Roboto, DejaVu Sans, sans-serif"'

Step = Mapping[str, Any]


@dataclass
class Drawing:
    """What has been drawn, and for each box the middle of its right side."""

    parts: list[str] = field(default_factory=list)
    sides: dict[str, tuple[float, float]] = field(default_factory=dict)

    def box(self, text: str, left: float, top: float, width: float) -> None:
        """A box with a text; the text must fit."""
        if len(text) * LETTER > width:
            raise ValueError(f"{text!r} is longer than a box of {width:.0f} pixels: {len(text) * LETTER:.0f}")
        middle, base = left + width / 2, top + HEIGHT / 2 + 5
        self.parts += [
            f'<rect x="{left:g}" y="{top:g}" width="{width:g}" height="{HEIGHT}" rx="6" fill="{FILL}" stroke="{INK}"/>',
            f'<text x="{middle:g}" y="{base:g}" text-anchor="middle" fill="{INK}">{escape(text)}</text>',
        ]
        self.sides[text] = (left + width, top + HEIGHT / 2)

    def arrow(self, *points: tuple[float, float]) -> None:
        """An arrow through points."""
        path = " ".join(f"{x:g},{y:g}" for x, y in points)
        self.parts.append(f'<polyline points="{path}" fill="none" stroke="{INK}" marker-end="url(#end)"/>')

    def note(self, text: str, left: float, base: float) -> None:
        """A small text."""
        self.parts.append(f'<text x="{left:g}" y="{base:g}" font-size="12" fill="{SOFT}">{escape(text)}</text>')


def as_svg(title: str, flow: Sequence[Step]) -> str:
    """Draw a flow as an SVG file.

    Example
    -------
    >>> svg = as_svg("a model", [{"mixture": "[B,T]"}, {"times": "n", "of": [{"layer": "[B,L]"}]}, {"sum": "[B,T]"}])
    >>> svg.count("<rect"), "n times" in svg
    (5, True)
    """
    drawing = Drawing()
    bottom = steps(drawing, flow, 20, 16, BOX) + 12
    size = f'width="{WIDTH}" height="{bottom:g}" viewBox="0 0 {WIDTH} {bottom:g}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" {FONT} font-size="14">',
        f"<title>{escape(title)}</title>",
        f"<desc>{escape(in_words(flow))}</desc>",
        '<defs><marker id="end" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0 8 4 0 8z" fill="{INK}"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{bottom:g}" rx="8" fill="{GROUND}"/>',
        *drawing.parts,
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def steps(drawing: Drawing, flow: Sequence[Step], left: float, top: float, width: float) -> float:
    """Draw steps below each other and return where they end."""
    shape = ""
    for number, step in enumerate(flow):
        if "branches" in step:
            return branches(drawing, step["branches"], left, top, width)
        if number:
            between(drawing, shape, left + width / 2, top)
        bottom = group(drawing, step, left, top, width) if "times" in step else one(drawing, step, left, top, width)
        shape = "" if "times" in step else result(step)
        top = bottom + GAP
    return top - GAP


def between(drawing: Drawing, shape: str, middle: float, bottom: float) -> None:
    """The arrow to the box below, and what passes."""
    drawing.arrow((middle, bottom - GAP), (middle, bottom))
    drawing.note(shape, middle + 8, bottom - GAP / 2 + 4)


def one(drawing: Drawing, step: Step, left: float, top: float, width: float) -> float:
    """Draw a box, and the way to it from an earlier one."""
    drawing.box(name(step), left, top, width)
    if "from" in step:
        (start_x, start_y), (end_x, end_y) = drawing.sides[step["from"]], drawing.sides[name(step)]
        drawing.arrow((start_x, start_y), (TURN, start_y), (TURN, end_y), (end_x, end_y))
    return top + HEIGHT


def group(drawing: Drawing, step: Step, left: float, top: float, width: float) -> float:
    """Draw a frame around steps that are repeated."""
    place = len(drawing.parts)
    inner = top + PAD
    for number, part in enumerate(step["of"]):
        if number:
            between(drawing, result(step["of"][number - 1]), left + width / 2, inner)
        drawing.box(name(part), left, inner, width)
        inner += HEIGHT + GAP
    drawing.note(result(step["of"][-1]), left + width / 2 + 8, inner - GAP / 2 + 4)
    bottom = inner - GAP / 2 + PAD
    right = TURN - 12
    frame = f'<rect x="{left - 10:g}" y="{top:g}" width="{right - left + 10:g}" height="{bottom - top:g}" rx="10"'
    drawing.parts.insert(place, f'{frame} fill="none" stroke="{SOFT}" stroke-dasharray="5 4"/>')
    drawing.note(f"{step['times']} times", left + width + 16, top + 22)
    return bottom


def branches(drawing: Drawing, found: Sequence[Sequence[Step]], left: float, top: float, width: float) -> float:
    """Draw lists of steps side by side, all of them behind the box above."""
    each = (WIDTH - 2 * left + GAP / 2) / len(found) - GAP / 2
    bottoms = []
    for number, flow in enumerate(found):
        start = left + number * (each + GAP / 2)
        half, middle = top - GAP / 2, start + each / 2
        drawing.arrow((left + width / 2, top - GAP), (left + width / 2, half), (middle, half), (middle, top))
        bottoms.append(steps(drawing, flow, start, top, each))
    return max(bottoms)


def name(step: Step) -> str:
    """The text of a step's box."""
    return next(iter(step))


def result(step: Step) -> str:
    """What a step gives."""
    return str(next(iter(step.values())) or "")


def in_words(flow: Sequence[Step]) -> str:
    """A flow as one sentence, for who does not see the picture.

    Example
    -------
    >>> in_words([{"mixture": ""}, {"times": "n", "of": [{"a": ""}, {"b": ""}]}, {"sum": "", "from": "mixture"}])
    'mixture; n times (a; b); sum, also of: mixture'
    """
    said = []
    for step in flow:
        if "times" in step:
            said.append(f"{step['times']} times ({in_words(step['of'])})")
        elif "branches" in step:
            said.append(" and ".join(f"({in_words(branch)})" for branch in step["branches"]))
        else:
            said.append(name(step) + (f", also of: {step['from']}" if "from" in step else ""))
    return "; ".join(said)
