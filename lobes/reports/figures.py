"""Charts, spectrograms and sound that stand inside one HTML page, drawn by matplotlib. T samples, L frames, F bins."""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import colormaps, rc_context, style
from matplotlib.figure import Figure

LOUDNESS, PEAK = 0.1, 0.99  # of the players: the usual root mean square, and the highest peak
FLOOR_DB = -70.0  # darkest shade of a spectrogram, relative to the loudest bin of its example
COLORMAP, SHADES = "magma", 32  # about 2 dB a shade; 256 shades make pictures of speech larger by a third
# matplotlib cannot write CSS variables. A picture for a page is drawn in these colours, which the page's own replace.
PAGE_COLORS = {
    "#010203": "var(--soft)",
    "#010204": "var(--line)",
    "#010205": "var(--s0)",
    "#010206": "var(--s1)",
    "#010207": "var(--s2)",
    "#010208": "var(--s3)",
    "#010209": "var(--s4)",
    "#01020a": "var(--s5)",
}
SOFT, LINE, *SERIES = PAGE_COLORS
DASHES = ("-", (0, (6, 3)), (0, (2, 3)), (0, (8, 3, 2, 3)))  # lines differ without their colours, too
COMMON_STYLE = {
    "svg.fonttype": "none",  # text stays text
    "axes.titlesize": 10,
    "axes.formatter.min_exponent": 3,  # 0.3 and not 3 x 10^-1 on an axis of logarithms
}
PAGE_STYLE = {
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "axes.edgecolor": LINE,
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "font.family": "DejaVu Sans",  # for the widths alone; the page writes text in its own font
    "font.size": 10,
    "text.parse_math": False,  # a $ in a name is a $
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), SOFT),
}


@dataclass(frozen=True)
class Curve:
    """One line of a chart: `x` and `y` have equal length, points that are not finite are left out."""

    label: str
    x: Sequence[float]
    y: Sequence[float]

    def points(self) -> list[tuple[float, float]]:
        """The finite points."""
        return [(x, y) for x, y in zip(self.x, self.y, strict=True) if math.isfinite(x) and math.isfinite(y)]

    @property
    def words(self) -> str:
        """The line for who does not see it.

        Example
        -------
        >>> Curve("a", [0, 10, 20], [1.0, 3.25, 3.0]).words
        'a from 1 at 0 to 3 at 20, highest 3.25 at 10'
        """
        points = self.points()
        if not points:
            return f"{self.label} without a point"
        first, last, top = points[0], points[-1], max(points, key=lambda point: point[1])
        ends = f"{self.label} from {first[1]:.4g} at {first[0]:.4g} to {last[1]:.4g} at {last[0]:.4g}"
        return f"{ends}, highest {top[1]:.4g} at {top[0]:.4g}"


def wav_uri(samples: np.ndarray, sample_rate: int) -> str:
    """Return a 16-bit WAV file as a data URI.

    Raises
    ------
    ValueError
        Samples [T] beyond +-1, which a player would cut off: level them first, see `at_one_loudness`.

    Example
    -------
    >>> import numpy as np
    >>> wav_uri(np.zeros(8), 8000)[:22]
    'data:audio/wav;base64,'
    """
    import soundfile

    peak = float(np.abs(samples).max(initial=0.0))
    if not peak <= 1:
        raise ValueError(f"expected samples within +-1, got a peak of {peak:.3g}")
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, sample_rate, format="WAV", subtype="PCM_16")
    return "data:audio/wav;base64," + base64.b64encode(buffer.getvalue()).decode()


def at_one_loudness(signals: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Bring signals [T] to one root mean square, the highest up to `LOUDNESS` at which no peak is above `PEAK`.

    Silence stays silence, and samples that are not finite become zeros.

    Example
    -------
    >>> import numpy as np
    >>> levelled = at_one_loudness({"quiet": np.full(8, 1e-3), "loud": np.full(8, 20.0), "none": np.zeros(8)})
    >>> {name: float(x.max().round(3)) for name, x in levelled.items()}
    {'quiet': 0.1, 'loud': 0.1, 'none': 0.0}
    """
    clean = {name: np.nan_to_num(np.asarray(x, np.float64), posinf=0.0, neginf=0.0) for name, x in signals.items()}
    peaks = {name: float(np.abs(x).max(initial=0.0)) for name, x in clean.items()}
    unit = {name: x / peaks[name] if peaks[name] > 0 else x for name, x in clean.items()}
    rms = {name: float(np.sqrt(np.mean(x**2))) for name, x in unit.items() if peaks[name] > 0}
    level = min([LOUDNESS, *(PEAK * value for value in rms.values())])
    return {name: x * (level / rms[name] if name in rms else 1.0) for name, x in unit.items()}


def spectrogram_db(samples: np.ndarray, window: int = 256, hop: int = 128) -> np.ndarray:
    """Return the power spectrogram in dB [F,L] of samples [T], Hann window, not normalised.

    Example
    -------
    >>> import numpy as np
    >>> spectrogram_db(np.zeros(1024)).shape
    (129, 9)
    """
    padded = np.pad(np.asarray(samples, np.float64), (window // 2, window // 2 + hop))
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop][: len(samples) // hop + 1]  # [L,window]
    power = np.abs(np.fft.rfft(frames * np.hanning(window), axis=-1)) ** 2  # [L,F]
    return 10 * np.log10(power + 1e-12).T


def spectrogram_svg(samples: np.ndarray, sample_rate: int, name: str, top_db: float) -> str:
    """Draw a spectrogram with its axes, in the page's own text colour so that it suits light and dark.

    Arguments
    ---------
    samples : np.ndarray
        The signal [T].
    sample_rate : int
        In Hz; the vertical axis ends at half of it.
    name : str
        A name that no other picture of the page has.
    top_db : float
        The level of the brightest shade, from `spectrogram_db`; use one for all pictures of an example.

    Returns
    -------
    str
        An `<svg>` element.

    Example
    -------
    >>> import numpy as np
    >>> spectrogram_svg(np.zeros(8000), 8000, "silence", 0.0)[:4]
    '<svg'
    """
    shown = (0, max(len(samples), 1) / sample_rate, 0, sample_rate / 2000)
    with new_figure(4.4, 2.2, PAGE_STYLE) as figure:
        axes = figure.add_subplot(xlabel="seconds", ylabel="kHz")
        axes.imshow(
            spectrogram_db(samples),
            cmap=colormaps[COLORMAP].resampled(SHADES),
            vmin=top_db + FLOOR_DB,
            vmax=top_db,
            origin="lower",
            extent=shown,
            aspect="auto",
            interpolation="none",  # the picture keeps the size of the spectrogram
            clip_on=False,
        )
        return for_page(figure, name)


def curves_svg(curves: Sequence[Curve], x_label: str, y_label: str) -> str:
    """Draw lines over a common pair of axes as an `<svg>` element, with a legend in colours and dashes.

    Example
    -------
    >>> svg = curves_svg([Curve("a model", [0, 1], [0, 2])], "seconds", "dB")
    >>> svg[:4], "a model</text>" in svg
    ('<svg', True)
    """
    with new_figure(4.6, 3.0, PAGE_STYLE) as figure:
        axes = figure.add_subplot(xlabel=x_label, ylabel=y_label)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", clip_on=False)
        for index, curve in enumerate(curves):
            color, dashes = SERIES[index % len(SERIES)], DASHES[index % len(DASHES)]
            x, y = zip(*curve.points(), strict=True) if curve.points() else ((), ())
            axes.plot(x, y, color=color, linestyle=dashes, marker="o", markersize=4, clip_on=False)
        low, high = axes.get_ylim()
        axes.axis(xmin=0, ymin=min(0, low), ymax=max(0, high))
        figure.legend(axes.lines, [curve.label for curve in curves], loc="outside upper left", ncols=2, frameon=False)
        return for_page(figure, f"{y_label} over {x_label}")


@contextmanager
def new_figure(width: float, height: float, looks: dict[str, Any] | None = None) -> Iterator[Figure]:
    """Yield an empty figure of a size in inches; within the block no setting of the user's own changes its looks."""
    with style.context(["default", COMMON_STYLE, looks or {}]):
        yield Figure(figsize=(width, height), layout="constrained")


def as_svg(figure: Figure, name: str) -> str:
    """Return the figure as an SVG file: the same bytes for the same figure, to be called where it was drawn.

    The ids of shapes are made from `name`, so that two pictures of a page do not share one.

    Example
    -------
    >>> with new_figure(4, 3) as figure:
    ...     as_svg(figure, "empty") == as_svg(figure, "empty")
    True
    """
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))  # no time, no version
    with rc_context({"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata=nothing)
    return buffer.getvalue()


def for_page(figure: Figure, name: str) -> str:
    """Return the figure as an element that takes its colours from the page and shares no id with other pictures."""
    svg = as_svg(figure, name)
    for drawn, wanted in PAGE_COLORS.items():
        svg = svg.replace(drawn, wanted)
    return re.sub(r'<g id="[^"]*"', "<g", svg[svg.index("<svg") :])
