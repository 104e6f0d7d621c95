"""Charts, spectrograms and sound: the right numbers in the right places, and the same bytes for the same input."""

import base64
import io
import math
import re

import matplotlib
import numpy as np
import pytest
import soundfile
from PIL import Image

from lobes.reports.figures import (
    Curve,
    as_svg,
    at_one_loudness,
    curves_svg,
    new_figure,
    spectrogram_db,
    spectrogram_svg,
    wav_uri,
)

RATE = 8000
TONE = np.sin(2 * np.pi * 1000 * np.arange(4 * RATE) / RATE)


def texts(svg):
    return re.findall(r">([^<>]*)</text>", svg)


def spectrogram_image(svg):
    """Pixels [H,W,3] of the embedded picture, its first row at the top of the page."""
    uri, scale = re.search(r'base64,([^"]*)".* transform="matrix\(\S+ 0 0 (\S+) ', svg).groups()
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri))).convert("RGB"), np.float64)
    return pixels[::-1] if float(scale) < 0 else pixels


def test_sound_survives_and_what_would_be_cut_off_is_refused():
    uri = wav_uri(np.array([0.0, 0.5, 1.0, -1.0]), RATE)
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
    assert rate == RATE
    np.testing.assert_allclose(samples, [0.0, 0.5, 1.0, -1.0], atol=1e-4)
    with pytest.raises(ValueError, match="got a peak of 2"):
        wav_uri(np.array([0.0, -2.0]), RATE)


@pytest.mark.parametrize("gain", [1e-30, 1e-3, 16.0, 1e30])
def test_signals_are_brought_to_one_loudness_whatever_their_level(gain):
    rng = np.random.default_rng(0)
    click = np.zeros(RATE)
    click[100] = 1.0  # a peak far above its root mean square limits the loudness of all
    for others in ({}, {"click": click}):
        signals = {"noise": rng.standard_normal(RATE), "tone": gain * TONE, "none": np.zeros(RATE), **others}
        levelled = at_one_loudness(signals)
        loudness = {name: np.sqrt(np.mean(x**2)) for name, x in levelled.items()}
        assert loudness.pop("none") == 0 and max(loudness.values()) == pytest.approx(min(loudness.values()))
        assert 0.9 * 0.01 < loudness["tone"] <= 0.1 and all(np.abs(x).max() <= 0.99 + 1e-9 for x in levelled.values())


@pytest.mark.filterwarnings("error")
def test_spectrogram_puts_a_tone_at_its_frequency_and_survives_silence_and_short_input():
    assert spectrogram_db(TONE)[:, 30].argmax() == 1000 * 256 // RATE
    assert np.isfinite(spectrogram_db(np.zeros(RATE))).all()
    for samples in (1, 0):
        assert spectrogram_svg(np.zeros(samples), RATE, "short", -120.0).startswith("<svg")


def test_the_picture_of_a_tone_is_brightest_at_its_frequency_and_its_axes_end_where_the_signal_does():
    svg = spectrogram_svg(TONE, RATE, "tone", spectrogram_db(TONE).max())
    pixels = spectrogram_image(svg)
    assert pixels.shape == (129, 251, 3)
    assert pixels.sum((1, 2)).argmax() == 128 - 1000 * 256 // RATE
    assert {"seconds", "kHz"} <= set(texts(svg))
    assert [text for text in texts(svg) if text.isdigit()][-1] == "4"
    assert [text for text in texts(svg) if "." in text][-1] == "4.0"


def test_brightness_is_relative_to_the_given_level():
    top = spectrogram_db(TONE).max()
    loud, soft, lost = (
        spectrogram_image(spectrogram_svg(gain * TONE, RATE, "a", top))[96, 125].sum() for gain in (1, 0.1, 1e-4)
    )
    assert loud > soft > lost
    np.testing.assert_allclose(lost, sum(matplotlib.colormaps["magma"](0.0, bytes=True)[:3]))


def test_curves_leave_out_what_is_not_finite():
    svg = curves_svg([Curve("a", [1, 2, 3], [0.5, math.nan, 2.0]), Curve("b", [], [])], "s", "dB")
    in_legend = 1
    assert svg.count('style="fill: var(--s0)') == 2 + in_legend and svg.count('style="fill: var(--s1)') == in_legend
    assert re.search(r'"M \S+ \S+ \nL \S+ \S+ \n" style="fill: none; stroke: var\(--s0', svg)  # one line from 1 to 3
    assert "nan" not in svg.lower()


@pytest.mark.parametrize("y", [(-5.0, -1.0), (2.0, 9.0)])
def test_the_axes_of_curves_start_at_zero_and_cover_the_range(y):
    svg = curves_svg([Curve("a", [20, 90], y)], "s", "dB")
    x_path, y_path = map(
        float, re.search(r'"M (\S+) (\S+) \nL .* \n" style="fill: none; stroke: var\(--s0', svg).groups()
    )
    labels = re.findall(r'text-anchor: (middle|end)[^>]* x="(\S+)" y="(\S+)"[^>]*>([\d.−]+)<', svg)
    at_x = {float(text): float(x) for anchor, x, _, text in labels if anchor == "middle"}
    at_y = {float(text.replace("−", "-")): float(y) for anchor, _, y, text in labels if anchor == "end"}
    assert min(at_x) == 0 and 0 in at_y
    assert x_path == pytest.approx(np.interp(20, sorted(at_x), [at_x[x] for x in sorted(at_x)]), abs=0.1)
    zero, step = at_y[0], (at_y[max(at_y)] - at_y[min(at_y)]) / (max(at_y) - min(at_y))
    text_is_lower = zero + step * y[0] - y_path
    assert 0 < text_is_lower < 6


def test_names_are_shown_as_they_are():
    svg = curves_svg([Curve("a $x$ <b>", [0, 1], [0, 1]), Curve("_hidden", [0, 1], [1, 0])], "seconds & more", "dB")
    assert {"a $x$ &lt;b&gt;", "_hidden", "seconds &amp; more", "dB"} <= set(texts(svg))


def test_colours_come_from_the_page():
    for svg in (curves_svg([Curve("a", [0, 1], [0, 1])], "s", "dB"), spectrogram_svg(TONE, RATE, "tone", 0.0)):
        assert not re.search(r"(fill|stroke): #", svg) and "var(--soft)" in svg


def test_the_same_input_gives_the_same_bytes_whatever_the_settings_of_the_user():
    def draw():
        curves = curves_svg([Curve("a", [0, 1], [0, 1])], "s", "dB")
        return curves, spectrogram_svg(TONE, RATE, "tone", 0.0)

    expected = draw()
    with matplotlib.rc_context({"font.size": 30, "svg.fonttype": "path", "axes.linewidth": 9, "xtick.labelsize": 30}):
        assert draw() == expected
    assert not re.search(r"20\d\d-\d\d-\d\d|[Mm]atplotlib v", "".join(expected))


def test_two_pictures_share_no_id():
    one, two = (set(re.findall(r' id="([^"]*)"', spectrogram_svg(TONE, RATE, name, 0.0))) for name in ("one", "two"))
    assert one and two and not one & two


def test_a_file_keeps_text_as_text_and_says_no_time():
    with new_figure(4, 3) as figure:
        figure.add_subplot(title="a title")
        svg = as_svg(figure, "a")
    assert "a title" in texts(svg) and "date" not in svg.lower()
