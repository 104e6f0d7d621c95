#!/usr/bin/env python3
"""Make the README's figure and its two sound samples from what `make hello` has left.

> make pictures

is `make hello`, and then `python docs/make_figure.py`. The figure has spectrograms of the mixture of two voices, of the
first voice as the network separates it, and of this voice alone; the first two become FLAC files.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np

from lobes.data import arguments, audio
from lobes.errors import UserError, exit_on_user_error
from lobes.metrics import score
from lobes.reports.figures import COLORMAP, FLOOR_DB, SHADES, spectrogram_db

HERE = Path(__file__).resolve().parent
OUTPUT, SAMPLES = HERE / "images" / "spectrograms.png", HERE / "samples"
SIGNALS = ("mixture", "voice1_separated", "voice1_true")  # files of recipes/hello.py
HEARD = ("mixture", "separated")  # the sound samples: the first two of them


def main(argv: Sequence[str] | None = None) -> None:
    """Read the signals, draw them, write the picture and the samples."""
    parser = arguments.Parser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "folder", type=Path, nargs="?", default=Path("results", "hello"), help="of make hello (default: %(default)s)"
    )
    parser.add_argument("--output", type=Path, default=OUTPUT, help="default: docs/images/spectrograms.png")
    parser.add_argument("--samples", type=Path, default=SAMPLES, help="folder, default: docs/samples")
    options = parser.parse_args(argv)
    signals, rate = read_signals(options.folder)
    draw(signals, rate, options.output)
    for name, signal in zip(HEARD, signals[: len(HEARD)], strict=True):
        audio.write(options.samples / f"{name}.flac", signal, rate)
    print(f"wrote {options.output}, and {' and '.join(HEARD)} in {options.samples}")


def read_signals(folder: Path) -> tuple[list[np.ndarray], int]:
    """The mixture, the estimate of the first voice and the voice, each [T], and their rate in Hz."""
    paths = [folder / f"{name}.wav" for name in SIGNALS]
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise UserError(f"{folder}: expected what `make hello` leaves, and there is no {', '.join(missing)}.")
    signals, rates = zip(*map(audio.read, paths), strict=True)
    return list(signals), rates[0]


def titles(signals: Sequence[np.ndarray], rate: int) -> tuple[str, str, str]:
    """The title of each picture, with the SI-SDR of the mixture and of the estimate."""
    mix, estimate, target = signals
    row = score(estimate[:, None], target[:, None], mix, rate, metrics=("si_sdr",))
    before, after = row["si_sdr"] - row["si_sdri"] + 0.0, row["si_sdr"]
    return f"two voices: SI-SDR {before:.1f} dB", f"the first, separated: SI-SDR {after:.1f} dB", "the first alone"


def draw(signals: Sequence[np.ndarray], rate: int, output: Path) -> None:
    """Write the spectrograms next to each other, all with the shades of the mixture's."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure
    from PIL import Image

    pictures = [spectrogram_db(signal) for signal in signals]  # [F,L] each
    top = float(pictures[0].max())
    figure = Figure(figsize=(10, 2.8), layout="constrained")
    for index, axes in enumerate(figure.subplots(1, len(pictures), sharey=True)):
        extent = (0, len(signals[index]) / rate, 0, rate / 2000)
        shades = {
            "vmin": top + FLOOR_DB,
            "vmax": top,
            "cmap": colormaps[COLORMAP].resampled(SHADES),
            "interpolation": "none",
        }
        axes.imshow(pictures[index], extent=extent, aspect="auto", origin="lower", **shades)
        axes.set(title=titles(signals, rate)[index], xlabel="seconds", ylabel="kHz" if index == 0 else "")
    buffer = BytesIO()
    figure.savefig(buffer, dpi=110, format="png")
    output.parent.mkdir(parents=True, exist_ok=True)
    Image.open(buffer).convert("RGB").quantize(64).save(output, optimize=True)  # a third of the size


if __name__ == "__main__":
    with exit_on_user_error():
        main()
