#!/usr/bin/env python3
"""Make the README's figure and its two sound samples from what `make demo` has left.

> make pictures

is `make demo`, and then `python docs/make_figure.py`. Of the test mixtures that the SPMamba of the demo saved, the one
whose gain in SI-SDR is the median is taken. The figure has spectrograms of the mixture, of the speech that the network
finds in it, and of this speech alone; the first two become FLAC files.
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
SIGNALS = ("mix", "s1_hat", "s1")  # files of a saved test item: the mixture, the estimate, the speech alone
HEARD = ("mixture", "enhanced")  # the sound samples: the first two of them
RUN = Path("results", "demo", "spmamba_tiny")


def main(argv: Sequence[str] | None = None) -> None:
    """Choose the item, draw it, write the picture and the samples."""
    parser = arguments.Parser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, nargs="?", default=RUN, help="of make demo (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="default: docs/images/spectrograms.png")
    parser.add_argument("--samples", type=Path, default=SAMPLES, help="folder, default: docs/samples")
    options = parser.parse_args(argv)
    signals, rate = median_item(options.run)
    draw(signals, rate, options.output)
    for name, signal in zip(HEARD, signals[: len(HEARD)], strict=True):
        audio.write(options.samples / f"{name}.flac", signal, rate)
    print(f"wrote {options.output}, and {' and '.join(HEARD)} in {options.samples}")


def median_item(run: Path) -> tuple[list[np.ndarray], int]:
    """The mixture, the estimate and the speech [T] of the saved item with the median gain, and their rate in Hz."""
    folders = sorted(path.parent for path in (run / "audio").glob("*/mix.wav"))
    if not folders:
        raise UserError(f"{run / 'audio'}: expected what `make demo` leaves, and there is no test item with a mix.wav.")
    items = []
    for folder in folders:
        signals, rates = zip(*(audio.read(folder / f"{name}.wav") for name in SIGNALS), strict=True)
        items.append((list(signals), rates[0]))
    return sorted(items, key=lambda item: np.subtract(*levels(*item)))[len(items) // 2]


def levels(signals: Sequence[np.ndarray], rate: int) -> tuple[float, float]:
    """The SI-SDR of the estimate and of the mixture in dB."""
    mix, estimate, target = signals
    row = score(estimate[:, None], target[:, None], mix, rate, metrics=("si_sdr",))
    return row["si_sdr"], row["si_sdr"] - row["si_sdri"] + 0.0


def titles(signals: Sequence[np.ndarray], rate: int) -> tuple[str, str, str]:
    """The title of each picture."""
    after, before = levels(signals, rate)
    return f"speech in noise: SI-SDR {before:.1f} dB", f"enhanced: SI-SDR {after:.1f} dB", "the speech alone"


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
