"""The report is one file that needs no network, tells everything in text and stays small."""

import base64
import io
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import soundfile

from lobes.reports.figures import curves_svg, nice_ticks, spectrogram_db, spectrogram_svg, wav_uri
from lobes.reports.html import Curve, Example, Table, write_report

RATE = 8000


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    rng = np.random.default_rng(0)
    mixture, target = rng.uniform(-0.5, 0.5, (2, 4 * RATE))
    return write_report(
        tmp_path_factory.mktemp("report") / "new" / "report.html",
        "Two <models>",
        [Table("Means & more", ["model", "dB"], [["a<b", "1.0"], ["c", "2.0"]], note="a note")],
        [Example("item 1", {"mixture": mixture, "target": target}, RATE)] * 3,
        [Curve("first", [0, 10], [0, 3]), Curve("second", [0, 10], [0, math.nan])],
        intro=["Both were trained."],
        facts={"seed": "1234", "command": "python demo.py"},
    )


class _Links(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.sources = [], []

    def handle_starttag(self, tag, attrs):
        self.sources += [value for name, value in attrs if name in ("src", "href", "srcset", "action")]
        if tag not in ("meta", "link", "br", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        self.sources += [value for name, value in attrs if name in ("src", "href")]


def test_page_is_well_formed_and_needs_no_network(page):
    text = page.read_text(encoding="utf-8")
    parser = _Links()
    parser.feed(text)
    assert parser.open == []
    assert parser.sources and all(source.startswith("data:") for source in parser.sources)
    assert "url(" not in text and "<script" not in text and "@import" not in text


def test_page_tells_everything_that_was_given(page):
    text = page.read_text(encoding="utf-8")
    for expected in (
        "Two &lt;models&gt;",
        "Means &amp; more",
        "a&lt;b",
        "a note",
        "Both were trained.",
        "1234",
    ):
        assert expected in text
    assert text.count("<audio") == text.count('class="spectrogram" viewBox') == 6
    assert not page.with_name("report.html.part").exists()


def test_three_examples_of_two_signals_stay_under_one_megabyte(page):
    assert page.stat().st_size < 1_000_000


def test_screen_readers_get_a_name_for_each_picture_and_player(page):
    text = page.read_text(encoding="utf-8")
    for tag in re.findall(r"<(?:svg|audio)[^>]*>", text):
        assert "aria-label=" in tag or 'aria-hidden="true"' in tag


def test_sound_survives_and_loud_samples_are_clipped_not_wrapped():
    uri = wav_uri(np.array([0.0, 0.5, 2.0, -2.0]), RATE)
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
    assert rate == RATE
    np.testing.assert_allclose(samples, [0.0, 0.5, 1.0, -1.0], atol=1e-4)


def test_spectrogram_puts_a_tone_at_its_frequency_and_survives_silence_and_short_input():
    tone = np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE)
    assert spectrogram_db(tone)[:, 30].argmax() == 1000 * 256 // RATE
    assert np.isfinite(spectrogram_db(np.zeros(RATE))).all()
    assert spectrogram_svg(np.zeros(1), RATE, "one sample", -120.0).startswith("<svg")


def test_curves_leave_out_what_is_not_finite():
    svg = curves_svg([Curve("a", [1, 2, 3], [0.5, math.nan, 2.0]), Curve("b", [], [])], "s", "dB")
    assert svg.count("<circle") == 2 and "nan" not in svg


@pytest.mark.parametrize(("low", "high", "count"), [(0, 3.7, 4), (-2.5, 11, 6), (0, 1e-4, 5), (0, 0, 4)])
def test_ticks_are_round_and_cover_the_range(low, high, count):
    ticks = nice_ticks(low, high, count)
    assert ticks[0] <= low and ticks[-1] >= high and len(ticks) <= 2 * count + 2
