"""The page of an evaluation says what its tables say, in words and numbers, whatever is missing from them."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from lobes.evaluation.clusters import Clusters, Estimate, estimate
from lobes.evaluation.comparison import ALL, PairedDifference
from lobes.evaluation.score_tables import ScoreTable, System
from lobes.reports.evaluation_page import chosen_examples, write_evaluation_page
from lobes.reports.html import AudioExample, templates
from lobes.reports.looks import looks_of
from lobes.reports.page_scores import Scores
from lobes.reports.page_tables import utterances_table

RATE = 8000
FACTS = {"command": "lobes evaluate a noisy --data t.csv", "commit": "c0ffee", "seed": "5", "machine": "a fast one"}
VOID = {"meta", "link", "br", "img", "input"}


def pair(first, second, measure, mean, shown=True):
    """A difference of two systems that is shown or not."""
    half = abs(mean) / 2 if shown else abs(mean) + 1
    found = Estimate(mean, mean - half, mean + half, 0.001 if shown else 0.5)
    return PairedDifference(first, second, measure, ALL, 24, 0, 6, found, found.p, 0.5, 0.95)


def write(path, systems, differences=(), examples=(), reference=None):
    page = write_evaluation_page(
        path / "report.html", "A title", systems, differences, examples, reference=reference, facts=FACTS
    )
    return page.read_text(encoding="utf-8")


def words_of(html):
    """The page as a screen reader has it: no tags, no style, no pictures, single spaces."""
    html = re.sub(r"<(style|script|svg)\b.*?</\1>", " ", html, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html))


def rows_of(html, caption):
    """The cells of a table, row by row."""
    table = next(t for t in re.findall(r"<table.*?</table>", html, re.DOTALL) if f"<span>{caption}" in t)
    rows = re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)
    return [[words_of(cell).strip() for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL)] for row in rows]


class Outline(HTMLParser):
    """Headings, identities, addresses and open tags."""

    def __init__(self, text):
        super().__init__()
        self.open, self.headings, self.ids, self.addresses, self.attributes = [], [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        found = dict(attrs)
        self.attributes.append((tag, found))
        self.headings += [int(tag[1])] if re.fullmatch(r"h\d", tag) else []
        self.ids += [found["id"]] if "id" in found else []
        self.addresses += [found[name] for name in ("src", "href", "xlink:href", "action") if name in found]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def three(make_system):
    """The untouched input, a good system and one that is hardly worse."""
    return [make_system("noisy", 0), make_system("a", 4.0, seed=1), make_system("b", 3.9, seed=2)]


@pytest.fixture(scope="module")
def differences():
    return [
        pair("noisy", "a", "si_sdri", -4.0), pair("noisy", "b", "si_sdri", -3.9), pair("a", "b", "si_sdri", 0.1, False),
        pair("noisy", "a", "wer", 0.04), pair("noisy", "b", "wer", 0.03), pair("a", "b", "wer", -0.01),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def html(three, differences, tmp_path_factory):
    signals = {"noisy": np.random.default_rng(0).normal(0, 0.1, RATE), "a": np.zeros(RATE)}
    examples = [AudioExample("best: u0001", signals, RATE)]
    return write(tmp_path_factory.mktemp("page"), three, differences, examples, "noisy")


def test_the_answer_comes_first_and_in_words(html):
    text = words_of(html)
    assert "Which of these 2 systems is better, and in what? 24 utterances of 6 speakers." in text
    winner, open_question = (
        "a is better than every other system in WER.",
        "In SI-SDRi, a has the best mean; against b, no difference is shown.",
    )
    assert 0 < text.index(winner) < text.index(open_question) < text.index("Systems by measure")
    assert "a is better than noisy (by 0.040 [0.020, 0.060]) and b (by 0.010 [0.005, 0.015])." in text
    assert "a is better than noisy (by 4.00 [2.00, 6.00]). Against b (0.10 [-1.00, 1.20]), no difference" in text
    assert re.search(r"b better in SI-SDRi \(by 3.90 \[1.95, 5.85\]\) and WER \(by 0.030 \[0.015, 0.045\]\)", text)


def test_means_have_the_intervals_of_speakers_and_the_best_are_named(html, three):
    header, *rows = rows_of(html, "Means with 95 % intervals")
    assert header[1:] == ["SI-SDR in dB higher is better", "SI-SDRi in dB higher is better", "WER lower is better"]
    values = np.array(list(three[1].tables[0].numbers["si_sdri"].values()))
    found = estimate(values, Clusters([(f"s{n % 6}",) for n in range(24)]), draws=1000)
    cells = {row[0].split()[0]: row[1:] for row in rows}
    assert cells["a"][1] == f"{found.mean:.2f} [{found.low:.2f}, {found.high:.2f}] among the best"
    assert cells["b"][1].endswith("among the best") and cells["b"][0].endswith("among the best")
    assert cells["a"][2].endswith("] best") and cells["b"][2].endswith("]")
    assert rows[0][0] == "noisy the untouched input" and cells["noisy"][1] == "0.00 [0.00, 0.00]"


def test_all_parts_are_there(html):
    text = words_of(html)
    for part in (
        "Distributions over",
        "Gain over the input",
        "By condition",
        "Examples",
        "Utterances",
        "How this page",
    ):
        assert part in text
    conditions = rows_of(html, "WER by condition")
    assert [row[:2] for row in conditions[1:]] == [["variant SE", "12"], ["variant SER", "12"]]
    assert sum("best mean" in cell for row in conditions[1:] for cell in row) == 2
    utterances = rows_of(html, "Scores of each utterance")
    assert len(utterances) == 25 and utterances[1][:4] == ["u0000", "s0", "SER", "-5.0"]
    pairs = rows_of(html, "Paired differences")
    assert pairs[1][:5] == ["noisy", "a", "SI-SDRi", "a is better", "-4.00 [-6.00, -2.00]"]
    assert re.search("Distributions of WER. Medians: noisy 0.450, a 0.4", html)
    assert all(value in text for value in FACTS.values())


def test_the_file_asks_for_nothing_and_is_whole_without_its_script(html):
    outline = Outline(html)
    assert outline.open == [] and len(outline.ids) == len(set(outline.ids))
    assert all(a.startswith("data:") or a.removeprefix("#") in outline.ids for a in outline.addresses)
    assert "default-src 'none'" in html and "@import" not in html and "url(" not in html
    assert "<button" not in html  # the script makes them: none is there that does nothing
    folded = [found for tag, found in outline.attributes if tag == "details"]
    assert [("open" in found) for found in folded] == [False, True, False, False]


def test_headings_are_in_order_and_pictures_and_players_have_names(html):
    outline = Outline(html)
    assert outline.headings[0] == 1 and outline.headings.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(outline.headings, outline.headings[1:], strict=False))
    named = [found for tag, found in outline.attributes if tag == "audio" or found.get("role") in ("img", "region")]
    assert len(named) > 10 and all(found["aria-label"] for found in named)
    assert html.count("<caption") == html.count("<table") and '<a class="skip" href="#main">' in html


def test_a_label_is_shown_as_it_is(make_system, tmp_path):
    label = '<b>&"'
    html = write(tmp_path, [make_system(label, 2.0), make_system("b", 1.0)], [pair(label, "b", "wer", -0.01)])
    assert "<b>" not in html and "&lt;b&gt;&amp;" in html
    assert Outline(html).open == []


def test_what_is_missing_is_a_dash_and_said(make_system, tmp_path):
    holes = np.where(np.arange(24) < 5, np.nan, 1.0)
    systems = [make_system("a", 2.0, pesq=holes), make_system("b", 1.0), make_system("c", 1.0, pesq=np.full(24, 3.0))]
    html = write(tmp_path, systems, [pair("a", "c", "pesq", -2.0), pair("a", "c", "wer", -0.01)])
    header, *rows = rows_of(html, "Means with 95 % intervals")
    column = header.index("PESQ higher is better")
    cells = {row[0]: row[column] for row in rows}
    assert cells["untouched input"] == cells["b"] == "-"
    assert cells["a"].startswith("1.00 [1.00, 1.00]") and cells["c"] == "3.00 [3.00, 3.00] best"
    text = words_of(html)
    assert "a has no PESQ for 5 of 24 utterances." in text and "b has no PESQ for 24 of 24 utterances." in text
    assert "nan" not in text.lower()


def test_one_system_is_measured_against_its_input(make_system, tmp_path):
    text = words_of(write(tmp_path, [make_system("a", 2.0)]))
    assert "How good is a, and what does it do to the untouched input?" in text
    assert re.search(
        r"a better in SI-SDRi \(by \d.\d+ \[\d.\d+, \d.\d+\]\) and WER \(by 0.02\d \[0.0\d+, 0.0\d+\]\)", text
    )
    assert "is better than" not in text and "paired differences" not in text


def test_a_system_that_harms_is_called_worse(make_system, tmp_path):
    text = words_of(write(tmp_path, [make_system("a", -2.0)]))
    assert re.search(
        r"a worse in SI-SDRi \(by \d.\d+ \[\d.\d+, \d.\d+\]\) and WER \(by 0.0\d+ \[0.0\d+, 0.0\d+\]\)", text
    )


def test_one_utterance_and_nothing_to_compare_with(tmp_path):
    table = ScoreTable("a", {"loudness": {"u": 2.5}}, {}, ["u"])
    html = write(tmp_path, [System("a", [table])])
    assert rows_of(html, "Means with")[1] == ["a", "2.50"]
    assert "Nothing was compared." in words_of(html) and 'href="#gains"' not in html and "Examples" not in html


def test_several_trainings_count_once(make_system, tmp_path):
    systems = [System("a", [*make_system("", 1.0).tables, *make_system("", 3.0).tables])]
    header, untouched, row = rows_of(write(tmp_path, systems), "Means with")
    mean, low, high = map(float, re.findall(r"-?[\d.]+", row[header.index("SI-SDRi in dB higher is better")]))
    assert 1.8 < mean < 2.2 and low < mean < high


def test_twelve_systems_differ_in_their_looks_and_the_best_is_named(make_system, tmp_path):
    systems = [make_system(f"model {n}", n / 2 + 0.5, seed=n) for n in range(12)]
    best = [pair("model 11", f"model {n}", "wer", -0.01) for n in range(11)]
    html = write(tmp_path, systems, best)
    assert "model 11 is better than every other system in WER." in words_of(html)
    assert len(rows_of(html, "Means with 95 % intervals")) == 1 + 1 + 12
    looks = looks_of([system.label for system in systems], None).values()
    assert len({(look.marker, look.drawn) for look in looks}) == 12


def test_three_thousand_utterances_stay_small_and_say_what_is_left_out(make_system):
    systems = [make_system(f"model {n}", n + 1.0, 3000, pesq=np.linspace(1, 4, 3000)) for n in range(5)]
    scores = Scores(systems, [pair("model 0", "model 1", name, 1.0) for name in ("wer", "pesq", "si_sdri")], None)
    table = utterances_table(scores)
    html = str(templates().get_template("parts.html").module.sortable(table))
    assert html.count("<tr>") == 3001 and len(html) < 1_000_000
    assert table.note == "Left out here, since the page would become too large: SI-SDRi."
    assert [column.note for column in table.columns[-6:]] == scores.labels


def test_what_cannot_be_a_page_is_refused(make_system, tmp_path):
    one = make_system("a", 1.0)
    for systems, reference in (([], None), ([one, one], None), ([one, make_system("b", 1.0)], "c")):
        with pytest.raises(ValueError, match="systems"):
            write(tmp_path, systems, reference=reference)


def test_the_same_input_gives_the_same_bytes(make_system, tmp_path):
    systems = [make_system("a", 2.0)]
    assert write(tmp_path, systems) == write(tmp_path, systems)


def test_examples_are_chosen_by_the_gain_over_the_input(make_system):
    gain = np.array([0.0, 5.0, 1.0, np.nan, 3.0, 2.0, 4.0])
    level = np.arange(7.0)
    a = make_system("a", 1.0, 7, pesq=level + gain, pesq_in=level, wer=1 - gain / 10, wer_in=np.ones(7))
    noisy = make_system("noisy", 0, 7, pesq=level, pesq_in=level)
    wanted = [("best", "u0001"), ("median", "u0004"), ("worst", "u0000")]
    assert chosen_examples([a], "pesq") == chosen_examples([noisy, a], "pesq") == wanted
    assert chosen_examples([noisy, a], "pesq", reference="noisy") == chosen_examples([a], "wer") == wanted
    two = [("best", "u0001"), ("best", "u0006"), ("median", "u0004"), ("median", "u0005"), ("worst", "u0000"),
           ("worst", "u0002")]  # fmt: skip
    assert chosen_examples([a], "pesq", 2) == two
    few = make_system("few", 1.0, 2, pesq=[1.0, 2.0])
    assert chosen_examples([few], "pesq", 3) == [("best", "u0001"), ("best", "u0000")]
    assert chosen_examples([few], "stoi") == []
