#!/usr/bin/env python3
"""Draw the picture of docs/concepts.md: what SI-SDR compares, and the layers that each variant of PolSESS keeps.

> python docs/make_concepts_figure.py [--output docs/images/concepts.png]
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lobes.data import arguments
from lobes.errors import exit_on_user_error
from lobes.polsess.variants import ALL_VARIANTS

OUTPUT = Path(__file__).resolve().parent / "images" / "concepts.png"
LAYERS = {"S": "scene", "E": "event", "R": "reverb"}
ESTIMATE, TARGET = (3.0, 1.2), (2.0, 0.0)


def kept(variant: str) -> list[str]:
    """The layers that a variant keeps next to the speech, by its letters; C is clean."""
    return [layer for letter, layer in LAYERS.items() if letter in variant]


def draw_si_sdr(axes: Axes) -> None:
    """Signals as arrows: an estimate is a part along its target and an error across it."""
    style = {"arrowstyle": "-|>", "mutation_scale": 14, "shrinkA": 0, "shrinkB": 0}
    shadow = (ESTIMATE[0], 0.0)
    for start, end, color in (
        ((0, 0), shadow, "0.6"),
        ((0, 0), TARGET, "C0"),
        ((0, 0), ESTIMATE, "C1"),
        (shadow, ESTIMATE, "C3"),
    ):
        axes.annotate("", xy=end, xytext=start, arrowprops={**style, "color": color, "lw": 2})
    for place, text, color in (
        ((0.9, -0.22), "target", "C0"), ((1.0, 0.75), "estimate", "C1"),
        ((2.1, -0.22), "estimate along the target", "0.4"), ((3.1, 0.55), "error", "C3"),
    ):  # fmt: skip
        axes.text(*place, text, color=color)
    axes.set(xlim=(-0.1, 3.9), ylim=(-0.5, 1.5), title="SI-SDR = 20 log10 (gray / red) dB")
    axes.set_axis_off()


def draw_variants(axes: Axes) -> None:
    """A row for each variant, a column for each layer."""
    layers = list(LAYERS.values())
    axes.imshow([[layer in kept(variant) for layer in layers] for variant in ALL_VARIANTS], cmap="Blues", vmax=1.6)
    axes.set(title="what is kept of a mixture", aspect="auto")
    axes.set_xticks(range(len(layers)), layers)
    axes.set_yticks(range(len(ALL_VARIANTS)), ALL_VARIANTS)


def main(argv: Sequence[str] | None = None) -> None:
    """Draw both and write the picture."""
    parser = arguments.Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=OUTPUT, help="default: docs/images/concepts.png")
    output = parser.parse_args(argv).output
    figure = Figure(figsize=(9, 3), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(2, 1))
    draw_si_sdr(left)
    draw_variants(right)
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, dpi=100)
    print(f"wrote {output}")


if __name__ == "__main__":
    with exit_on_user_error():
        main()
