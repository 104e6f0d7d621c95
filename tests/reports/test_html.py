"""The report is one file that needs no network, says everything in text and stays small."""

import base64
import io
import math
import re
import subprocess
import sys
from html.parser import HTMLParser

import jinja2
import numpy as np
import pytest
import soundfile

from lobes.reports.figures import spectrogram_db
from lobes.reports.html import AudioExample, Curve, Table, templates, write_report

RATE = 8000
VOID = ("meta", "link", "br", "img")


def write(path):
    rng = np.random.default_rng(0)
    mixture, target = rng.uniform(-0.5, 0.5, (2, 4 * RATE))
    return write_report(
        path,
        "Two <models>",
        [Table("Means & more", ["model", "dB"], [["a<b", "1.0"], ["c", "2.0"]], note="a note")],
        [AudioExample(f"item {n}", {"mixture": mixture, "target": target}, RATE) for n in range(3)],
        [Curve("first", [0, 10], [0, 3]), Curve("second", [0, 10], [0, math.nan])],
        intro=["Both were trained."],
        facts={"seed": "1234", "command": "python demo.py"},
    )


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return write(tmp_path_factory.mktemp("report") / "new" / "report.html")


class Elements(HTMLParser):
    """All start tags with their attributes and the tags around them; end tags must fit."""

    def __init__(self, text):
        super().__init__()
        self.open, self.found = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs), [dict(around) for _, around in self.open]))
        if tag not in VOID:
            self.open.append((tag, attrs))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_startendtag(self, tag, attrs):
        self.found.append((tag, dict(attrs), [dict(around) for _, around in self.open]))

    def of(self, *tags):
        return [(attrs, around) for tag, attrs, around in self.found if tag in tags]


@pytest.fixture(scope="module")
def elements(page):
    return Elements(page.read_text(encoding="utf-8"))


def test_page_is_well_formed_and_needs_no_network(page, elements):
    text = page.read_text(encoding="utf-8")
    assert elements.open == []
    names = ("src", "href", "xlink:href", "srcset", "action")
    sources = [attrs[name] for _, attrs, _ in elements.found for name in names if name in attrs]
    ids = [attrs["id"] for _, attrs, _ in elements.found if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert sum(source.startswith("data:") for source in sources) == 6 + 6  # players and spectrograms
    assert all(source.startswith("data:") or source.removeprefix("#") in ids for source in sources)
    assert "url(" not in text and "<script src" not in text and "@import" not in text


def test_page_shows_everything_that_was_given(page, elements):
    text = page.read_text(encoding="utf-8")
    for expected in (
        "Two &lt;models&gt;",
        "Means &amp; more",
        "a&lt;b",
        "a note",
        "Both were trained.",
        "1234",
        "python demo.py",
        ">first</text>",
        ">second</text>",
        "70 dB",
    ):
        assert expected in text
    assert "<models>" not in text and "a<b" not in text
    assert len(elements.of("audio")) == len(re.findall('class="spectrogram"', text)) == 6
    assert [path.name for path in page.parent.iterdir()] == ["report.html"]


def test_three_examples_of_two_signals_stay_under_one_megabyte(page):
    assert page.stat().st_size < 1_000_000


def test_screen_readers_get_a_name_for_each_picture_and_player(elements):
    for attrs, _ in elements.of("audio"):
        assert re.fullmatch(r"item \d: (mixture|target)", attrs["aria-label"])
    for _, around in elements.of("svg"):
        assert around[-1]["role"] == "img" and around[-1]["aria-label"]
    chart = next(attrs for attrs, _ in elements.of("div") if attrs.get("class") == "chart")
    for words in ("first from 0 at 0 to 3 at 10", "second from 0 at 0 to 0 at 0"):
        assert words in chart["aria-label"]
    assert len(elements.of("svg")) == 7


def test_wide_tables_scroll_by_keyboard(elements):
    for _, around in elements.of("table"):
        assert around[-1] == {"class": "scroll", "role": "region", "tabindex": "0", "aria-label": "Means & more"}
    assert elements.of("table") and all("controls" in attrs for attrs, _ in elements.of("audio"))


def test_the_page_suits_narrow_and_dark_screens(page):
    text = page.read_text(encoding="utf-8")
    assert 'name="viewport" content="width=device-width' in text
    assert "prefers-color-scheme: dark" in text and "max-width: 30rem" in text


def test_the_same_input_gives_the_same_bytes(page, tmp_path):
    assert write(tmp_path / "again.html").read_bytes() == page.read_bytes()


def test_players_and_pictures_have_one_loudness(tmp_path):
    """An estimate 24 dB above its mixture is neither cut off nor louder, and its picture is not burnt out."""
    quiet, loud = np.random.default_rng(0).normal(0, [[0.3], [5.0]], (2, RATE))
    example = AudioExample("item", {"mixture": quiet, "estimate": loud}, RATE)
    text = write_report(tmp_path / "r.html", "Loud", [], [example], []).read_text()
    sounds = re.findall('wav;base64,([^"]*)', text)
    played = [soundfile.read(io.BytesIO(base64.b64decode(sound)))[0] for sound in sounds]
    levels = [np.sqrt(np.mean(x**2)) for x in played]
    assert len(played) == 2 and levels == [pytest.approx(0.1, rel=0.01)] * 2
    assert all(np.corrcoef(x, y)[0, 1] > 0.9999 for x, y in zip(played, (quiet, loud), strict=True))
    tops = [spectrogram_db(x).max() for x in example.levelled.values()]
    assert example.top_db == max(tops) and abs(tops[0] - tops[1]) < 3


def test_what_is_not_given_is_not_on_the_page(tmp_path):
    text = write_report(tmp_path / "r.html", "Only a title", [], [], []).read_text()
    assert "<section" not in text and "Only a title" in text


def test_a_misspelt_name_in_a_template_is_an_error():
    with pytest.raises(jinja2.UndefinedError, match="titel"):
        templates().from_string("{{ titel }}").render(title="a")


def test_reports_run_no_network():
    """Pages and tables are read from files: nothing that computes on networks is imported for them."""
    modules = "lobes.reports.html, lobes.reports.tables, lobes.reports.comparison"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
