"""Pictures and sound that stand inside one HTML file: spectrograms, curves and players, without a network."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

FLOOR_DB = -70.0  # darkest shade of a spectrogram, relative to the loudest bin of the mixture


@dataclass(frozen=True)
class Curve:
    """One line of a chart: `x` and `y` have equal length, points that are not finite are left out."""

    label: str
    x: Sequence[float]
    y: Sequence[float]


def wav_uri(samples: np.ndarray, sample_rate: int) -> str:
    """Return a 16-bit WAV file as a data URI. Samples [T] beyond +-1 are clipped, as any player would do.

    Example
    -------
    >>> import numpy as np
    >>> wav_uri(np.zeros(8), 8000)[:22]
    'data:audio/wav;base64,'
    """
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(samples, -1, 1), sample_rate, format="WAV", subtype="PCM_16")
    return "data:audio/wav;base64," + base64.b64encode(buffer.getvalue()).decode()


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


def _png_uri(shades: np.ndarray) -> str:
    """Encode shades [H,W] in 0..255 as a palette PNG in matplotlib's magma colours, smaller than RGBA."""
    from matplotlib import colormaps
    from PIL import Image

    palette = (colormaps["magma"](np.arange(256))[:, :3] * 255).astype(np.uint8)  # [256,3]
    image = Image.fromarray(shades, mode="L")
    image.putpalette(palette.tobytes())
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def spectrogram_svg(samples: np.ndarray, sample_rate: int, label: str, top_db: float) -> str:
    """Draw a spectrogram with its axes, in the page's own text colour so that it suits light and dark.

    Arguments
    ---------
    samples : np.ndarray
        The signal [T].
    sample_rate : int
        In Hz; the vertical axis ends at half of it.
    label : str
        What the picture shows, for screen readers.
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
    level = np.clip((spectrogram_db(samples) - top_db - FLOOR_DB) / -FLOOR_DB, 0, 1)
    uri = _png_uri(np.flipud(level * 255).astype(np.uint8))
    seconds, khz = len(samples) / sample_rate, sample_rate / 2000
    ticks = "".join(
        f'<text x="30" y="{_place(value, khz, 154, 6) + 4:.1f}" text-anchor="end">{value:g}</text>'
        for value in nice_ticks(0, khz, 4)
    ) + "".join(
        f'<text x="{_place(value, seconds, 36, 404):.1f}" y="170" text-anchor="middle">{value:g}</text>'
        for value in nice_ticks(0, seconds, 4)
    )
    return (
        f'<svg class="spectrogram" viewBox="0 0 412 186" role="img" aria-label="{escape(label)}">'
        f'<image href="{uri}" x="36" y="6" width="368" height="148" preserveAspectRatio="none"/>{ticks}'
        '<text x="220" y="184" text-anchor="middle">seconds</text>'
        '<text transform="rotate(-90)" x="-80" y="10" text-anchor="middle">kHz</text></svg>'
    )


def curves_svg(curves: Sequence[Curve], x_label: str, y_label: str) -> str:
    """Draw lines over a common pair of axes as an `<svg>`; colours, dashes and labels tell them apart.

    Example
    -------
    >>> "<polyline" in curves_svg([Curve("a", [0, 1], [0, 2])], "seconds", "dB")
    True
    """
    points = [_finite(curve) for curve in curves]
    together = [point for line in points for point in line] or [(0.0, 0.0)]
    x_ticks = nice_ticks(0, max(x for x, _ in together) or 1, 6)
    y_ticks = nice_ticks(min(0, *(y for _, y in together)), max(0, *(y for _, y in together)) or 1, 6)
    low, high, right = y_ticks[0], y_ticks[-1], x_ticks[-1]

    def at(x: float, y: float) -> tuple[float, float]:
        return _place(x, right, 52, 620), _place(y - low, high - low, 250, 12)

    name = escape(f"{y_label} over {x_label}")
    return "".join(
        [f'<svg class="chart" viewBox="0 0 640 296" role="img" aria-label="{name}">']
        + [_rule(at(0, y), at(right, y), f"{y:g}") for y in y_ticks]
        + [f'<text x="{at(x, low)[0]:.1f}" y="268" text-anchor="middle">{x:g}</text>' for x in x_ticks]
        + [_line(index, [at(x, y) for x, y in line]) for index, line in enumerate(points)]
        + [f'<text x="336" y="290" text-anchor="middle">{escape(x_label)}</text>']
        + [f'<text transform="rotate(-90)" x="-131" y="14" text-anchor="middle">{escape(y_label)}</text>']
        + ["</svg>"]
    )


def nice_ticks(low: float, high: float, count: int) -> list[float]:
    """Return about `count` round numbers that cover [low, high].

    Example
    -------
    >>> nice_ticks(0, 3.7, 4)
    [0.0, 1.0, 2.0, 3.0, 4.0]
    """
    span = max(high - low, 1e-9)
    power = 10.0 ** math.floor(math.log10(span / count))
    step = min((m * power for m in (1, 2, 5, 10)), key=lambda s: abs(span / s - count))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(k * step, 10) for k in range(first, last + 1)]


def _finite(curve: Curve) -> list[tuple[float, float]]:
    pairs = zip(curve.x, curve.y, strict=True)
    return [(x, y) for x, y in pairs if math.isfinite(x) and math.isfinite(y)]


def _place(value: float, span: float, start: float, end: float) -> float:
    return start + (end - start) * value / span


def _rule(left: tuple[float, float], right: tuple[float, float], text: str) -> str:
    return (
        f'<line class="rule" x1="{left[0]:.1f}" y1="{left[1]:.1f}" x2="{right[0]:.1f}" y2="{right[1]:.1f}"/>'
        f'<text x="{left[0] - 6:.1f}" y="{left[1] + 4:.1f}" text-anchor="end">{text}</text>'
    )


def _line(index: int, points: Sequence[tuple[float, float]]) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in points)
    return f'<g class="series-{index % 4}"><polyline points="{path}"/>{dots}</g>'
