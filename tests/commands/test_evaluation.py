"""`lobes evaluate` from the words of the command line to its files."""

import csv
import json
import sys
import types

import numpy as np
import pytest

from lobes import cli
from lobes.commands.examples import audio_examples
from lobes.commands.result_tables import as_latex, as_page, escaped
from lobes.commands.system_words import open_systems
from lobes.data import audio
from lobes.errors import exit_on_user_error
from lobes.evaluation.candidates import UntouchedMixture
from lobes.evaluation.clusters import Estimate
from lobes.evaluation.comparison import ALL, PairedDifference
from lobes.evaluation.intervals import MeasureMeans, means_of
from lobes.evaluation.items import CheckedItems
from lobes.evaluation.manifest import open_manifest
from lobes.evaluation.score_tables import ScoreTable, System
from lobes.inference.by_name import load_separator

RATE, ITEMS = 8000, 10
THEIRS = """
import torch

class Less:
    "Takes a share of the noise away, which it knows."
    sample_rate, num_sources, asked = 8000, 1, []

    def __init__(self, share, rate=8000):
        self.share, self.sample_rate = float(share), rate

    def __call__(self, mix):
        if mix.shape[0] != self.sample_rate:
            self.asked.append(self.share)
        noise = torch.sin(torch.arange(mix.shape[0]) ** 2 / (self.sample_rate / 8000) ** 2) / 20
        return ((mix - self.share * noise) * 3)[None]

def less(share="0.5"):
    return Less(share)

def wide(share="0.5"):
    return Less(share, 16000)
"""


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Ten items of as many speakers, and the models `theirs:less` and `theirs:wide`, in the current folder."""
    rng, lines = np.random.default_rng(0), ["ID,mix_wav,s1_wav,speaker"]
    for number in range(ITEMS):
        samples = 4000 if number % 2 else 8001
        clean = rng.standard_normal(samples) * (0.03 + 0.01 * number)
        noise = np.sin(np.arange(samples) ** 2.0) / 20
        for part, wave in (("mix", clean + noise), ("s1", clean)):
            audio.write(tmp_path / f"{part}_{number}.wav", wave, RATE, "FLOAT")
        lines.append(f"u{number},mix_{number}.wav,s1_{number}.wav,p{number}")
    (tmp_path / "test.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "theirs.py").write_text(THEIRS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "theirs", raising=False)
    return tmp_path


@pytest.fixture
def lobes(monkeypatch, capsys):
    """lobes(*words): exit code, standard output and standard error of the command, in this process."""

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["lobes", *map(str, words)])
        with exit_on_user_error(), pytest.raises(SystemExit) as stop:
            cli.main()
        return stop.value.code, *capsys.readouterr()

    return call


SETTINGS = ("--metric", "si_sdr", "--workers", "0", "--device", "cpu")
PLAIN = ("--data", "test.csv", "-o", "out", *SETTINGS, "--no-report")


def rows_of(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def mean(path):
    return np.mean([float(row["si_sdr"]) for row in rows_of(path)])


def test_several_systems_have_tables_of_their_own_and_one_page(data, lobes):
    words = ("half=theirs:less", "most=theirs:less=0.9", "weak=theirs:less=0.9@0.5", "both=theirs:less+theirs:less=0.9")
    code, out, err = lobes("evaluate", *words, "noisy", *PLAIN)
    assert code == 0 and out.endswith("wrote out\n") and "half" in out, err
    labels = ["half", "most", "weak", "both", "noisy"]
    means = {label: mean(data / "out" / label / "per_utterance.csv") for label in labels}
    assert means["noisy"] < means["weak"] < means["both"] < means["most"] and means["half"] < means["most"]
    summary = json.loads((data / "out" / "summary.json").read_text())
    assert list(summary["systems"]) == labels and summary["n"] == ITEMS and summary["sample_rate"] == RATE
    assert summary["means"]["si_sdr"]["most"]["mean"] == pytest.approx(means["most"], abs=1e-5)
    pairs = {(one["first"], one["second"]) for one in summary["differences"]}
    assert pairs == {*((label, "noisy") for label in labels[:4]), *((label, "half") for label in labels[1:4])}
    page = (data / "out" / "results.md").read_text()
    assert [line.split(" | ")[0].strip("| ") for line in page.splitlines() if line.startswith("| ")][1:6] == labels
    assert "- si_sdr, most and half: most is better" in page and "bootstrap of speakers" in page
    assert "| duration below 1 s | 5 |" not in page, "fewer than eight utterances are no condition"
    code, out, _ = lobes("compare", "out/most", "out/noisy")
    assert code == 0 and "most is better" in out


def test_the_same_call_again_separates_nothing_and_a_changed_model_is_seen(data, lobes):
    words = ("evaluate", "a=theirs:less", "b=theirs:less=0.9", *PLAIN)
    assert lobes(*words)[0] == 0
    import theirs

    first = (data / "out" / "results.md").read_text()
    assert len(theirs.Less.asked) == 2 * ITEMS
    theirs.Less.asked.clear()
    assert lobes(*words)[0] == 0 and theirs.Less.asked == [] and (data / "out" / "results.md").read_text() == first
    theirs.less = lambda share="0.5": theirs.Less(0.4 if share == "0.5" else share)
    assert lobes(*words)[0] == 0 and theirs.Less.asked == [0.4] * ITEMS
    assert (data / "out" / "results.md").read_text() != first


def test_one_system_keeps_its_files_and_the_mixture_is_shown(data, lobes):
    code, out, _ = lobes("evaluate", "theirs:less", *PLAIN)
    assert code == 0 and out.split()[:2] == ["n", "SI-SDR"]
    assert sorted(path.name for path in (data / "out").iterdir()) == [
        "per_utterance.csv", "results.md", "results.tex", "summary.json",
    ]  # fmt: skip
    page = (data / "out" / "results.md").read_text()
    assert "\n| less | " in page and "\n| noisy | " in page and "less and noisy: less is better" in page
    assert json.loads((data / "out" / "summary.json").read_text())["n"] == ITEMS


def test_the_mixture_alone_and_files_alone_need_no_model(data, lobes):
    code, out, _ = lobes("evaluate", "noisy", *PLAIN)
    assert code == 0 and (data / "out" / "results.tex").is_file()
    for number in range(ITEMS):
        audio.write(data / "files" / f"u{number}.wav", audio.read_mono(data / f"s1_{number}.wav"), RATE, "FLOAT")
    code, _, err = lobes("evaluate", "outputs:files", *PLAIN)
    assert code == 0 and mean(data / "out" / "per_utterance.csv") == 100, err


def test_models_of_several_rates_are_scored_at_the_lowest(data, lobes, caplog):
    assert lobes("evaluate", "theirs:wide", "theirs:less", *PLAIN)[0] == 0
    assert json.loads((data / "out" / "summary.json").read_text())["sample_rate"] == RATE
    assert "wide: works at 16000 Hz; its outputs are scored at 8000 Hz" in caplog.text
    assert lobes("evaluate", "noisy", *PLAIN, "--rate", "4000")[0] == 0


@pytest.mark.parametrize(
    "words, message",
    [
        (["theirs:less", "outputs:gone"], "outputs:gone: no such folder"),
        (["theirs:less@2"], "expected a strength"),
        (["theirs:less", "nowhere:f"], "nowhere:f: cannot be imported"),
        (["theirs:less", "x=theirs:less", "x=noisy"], "x: two systems have this label"),
        (["noisy", "--task", "ES"], "--task ES is for manifests of PolSESS"),
        (["noisy", "--group-by", "gone"], "has no column gone"),
        (["noisy", "--metric", "pesk"], "Did you mean 'pesq'?"),
    ],
)
def test_mistakes_are_one_line_and_leave_no_file(data, lobes, words, message):
    code, out, err = lobes("evaluate", *words, *PLAIN)
    assert code == 2 and not out and message in err and err.count("\n") == 1 and err.startswith("error: ")
    assert not (data / "out").exists()


def test_conditions_group_the_means(data, lobes):
    assert lobes("evaluate", "theirs:less", *PLAIN, "--group-by", "duration")[0] == 0
    summary = json.loads((data / "out" / "summary.json").read_text())
    assert list(summary["groups"]) == ["1 to 2 s", "below 1 s"]
    assert {"input_snr", "duration", "speaker"} <= set(rows_of(data / "out" / "per_utterance.csv")[0])


def test_nothing_measured_is_said_and_no_reason_to_stop(data, lobes, caplog):
    code, _, _ = lobes("evaluate", "theirs:less", *PLAIN[:4], "--metric", "wer", *PLAIN[6:])
    assert code == 0 and "there is nothing to compare" in caplog.text
    assert not (data / "out" / "results.md").exists() and (data / "out" / "summary.json").is_file()


# ---- the page and its examples
def test_the_report_gets_systems_differences_and_examples(data, lobes, monkeypatch):
    """The page itself is not made here: what it is given counts."""
    given = {}

    def write(path, title, systems, differences, examples, **more):
        given.update(title=title, systems=systems, differences=differences, examples=examples, **more)
        path.write_text("page")
        return path

    page = types.ModuleType("page")
    page.chosen_examples = lambda systems, measure, reference: [("best", "u3"), ("worst", "u0")]
    page.write_evaluation_page = write
    monkeypatch.setitem(sys.modules, "lobes.reports.evaluation_page", page)
    assert lobes("evaluate", "a=theirs:less", "b=theirs:less=0.9", *PLAIN[:-1])[0] == 0
    assert (data / "out" / "report.html").read_text() == "page"
    assert [one.label for one in given["systems"]] == ["a", "b", "noisy"] and given["reference"] == "noisy"
    assert [one.title for one in given["examples"]] == ["best: u3", "worst: u0"]
    assert list(given["examples"][0].signals) == ["mixture", "target", "a", "b"]
    assert {"command", "commit", "machine", "data"} <= set(given["facts"])
    assert {(one.first, one.second) for one in given["differences"]} == {("a", "noisy"), ("b", "noisy"), ("b", "a")}
    assert lobes("evaluate", "noisy", *PLAIN[:-1])[0] == 0
    assert [one.label for one in given["systems"]] == ["noisy"] and given["reference"] is None


def test_the_page_is_written(data, lobes):
    pytest.importorskip("lobes.reports.evaluation_page")
    code, _, err = lobes("evaluate", "theirs:less", *PLAIN[:-1])
    assert code == 0, err
    page = (data / "out" / "report.html").read_text(encoding="utf-8")
    assert "less" in page and "noisy" in page and "median: u" in page


def test_examples_stand_at_the_level_of_the_mixture_in_the_order_of_the_targets(data):
    x = np.random.default_rng(0).standard_normal((2, 4000)) / 10
    for name, wave in (("mix", x.sum(0)), ("s1", x[0]), ("s2", x[1])):
        audio.write(data / f"{name}.wav", wave, RATE, "FLOAT")
    (data / "two.csv").write_text("ID,mix_wav,s1_wav,s2_wav\na,mix.wav,s1.wav,s2.wav\n")
    for number in (1, 2):
        audio.write(data / "swapped" / f"a_s{number}.wav", 5 * x[2 - number], RATE, "FLOAT")
    candidates = [*open_systems(["outputs:swapped"], load_separator), UntouchedMixture()]
    items = CheckedItems(open_manifest("two.csv"), 2, RATE, ("si_sdr",))
    for one in candidates:
        one.prepare({"a": ("mix.wav", items.headers["a"])}, 2)
    [example] = audio_examples([("median", "a")], items, candidates)
    assert list(example.signals) == ["mixture", "target 1", "target 2", "swapped 1", "swapped 2"]
    assert example.sample_rate == RATE and items.load(items.rows[0]).conditions["overlap"] == "80 % and above"
    for number in "12":
        np.testing.assert_allclose(example.signals[f"swapped {number}"], example.signals[f"target {number}"], atol=1e-4)


def test_of_long_items_a_page_has_the_beginning(data):
    for name in ("mix", "s1"):
        audio.write(data / f"{name}.wav", np.random.default_rng(0).standard_normal(25 * RATE) / 10, RATE)
    (data / "long.csv").write_text("ID,mix_wav,s1_wav\na,mix.wav,s1.wav\n")
    items = CheckedItems(open_manifest("long.csv"), 1, RATE, ("si_sdr",))
    [example] = audio_examples([("median", "a")], items, [UntouchedMixture()])
    assert example.title == "median: a, the first 20 s"
    assert {len(signal) for signal in example.signals.values()} == {20 * RATE}


# ---- tables
def means(**of):
    return [
        MeasureMeans("si_sdr", 9, 0, {label: Estimate(value, value - 1, value + 1, 0.0) for label, value in of.items()})
    ]


def difference(first, second, mean, p):
    return PairedDifference(first, second, "si_sdr", ALL, 9, 0, 3, Estimate(mean, mean / 2, 2 * mean, p), p, 0.9, 0.95)


def test_the_table_for_latex_compiles_and_marks_what_is_shown():
    found = as_latex(means(**{"my_model@0.5": 2.0, "noisy": -1.0}), [difference("noisy", "my_model@0.5", -3.0, 0.001)])
    lines = found.splitlines()
    assert "\\begin{tabular}{lr}" in lines and lines[-1] == "\\end{tabular}"
    assert r"System & si\_sdr $\uparrow$ \\" in lines
    assert r"my\_model@0.5 & $2.00$ [$1.00$, $3.00$] \\" in lines
    assert r"noisy & $-3.00$ [$-1.50$, $-6.00$]$^{*}$ \\" in lines
    assert r"\multicolumn{2}{l}{Difference to my\_model@0.5 ($^{*}$ $p < 0.05$, Holm)} \\" in lines
    assert [line for line in lines if line.endswith("rule")] == ["\\toprule", "\\midrule", "\\midrule", "\\bottomrule"]
    assert escaped(r"\a{b}~<%") == r"\textbackslash{}a\{b\}\textasciitilde{}\textless{}\%"


def test_a_page_without_differences_has_the_scores_alone():
    page = as_page("T", means(noisy=1.0), {"noisy": "0"}, [], False)
    assert (
        "| noisy | 1.00 [0.00, 2.00] | 0 |" in page and "Differences" not in page and "nothing says who speaks" in page
    )


def test_means_are_over_the_utterances_that_all_systems_have_and_word_errors_by_words():
    ids = [f"u{n}" for n in range(20)]
    rates = {ID: 1.0 if n < 10 else 0.0 for n, ID in enumerate(ids)}
    words = {ID: 3.0 if n < 10 else 1.0 for n, ID in enumerate(ids)}
    full = ScoreTable("a", {"wer": rates, "wer_words": words, "stoi": dict.fromkeys(ids, 0.5)}, {}, ids)
    lacks = ScoreTable("b", {"wer": rates, "stoi": {**dict.fromkeys(ids, 0.25), "u0": np.nan}}, {}, ids)
    wer, stoi = means_of([System("a", [full]), System("b", [lacks])], ["wer", "stoi"])
    assert wer.of["a"].mean == pytest.approx(0.75) and wer.of["b"].mean == pytest.approx(0.75)
    assert (stoi.n, stoi.left_out) == (19, 1) and stoi.of["b"].mean == pytest.approx(0.25)


def test_an_interval_of_few_speakers_holds_only_what_the_measure_can_be():
    ids = [f"u{n}" for n in range(12)]
    speaker = {"speaker": {ID: "often" if n < 9 else f"p{n}" for n, ID in enumerate(ids)}}
    numbers = {
        "wer": {ID: 0.1 + 0.8 * (n < 9) for n, ID in enumerate(ids)},
        "stoi": {ID: 0.9 - 0.8 * (n < 9) for n, ID in enumerate(ids)},
        "si_sdr": {ID: 0.1 + 0.8 * (n < 9) for n, ID in enumerate(ids)},
    }
    wer, stoi, level = means_of([System("a", [ScoreTable("a", numbers, speaker, ids)])], ["wer", "stoi", "si_sdr"])
    assert level.of["a"].low < -1 and wer.of["a"].low == 0 and wer.of["a"].high == pytest.approx(level.of["a"].high)
    assert stoi.of["a"].high == 1 and stoi.of["a"].low == pytest.approx(1 - level.of["a"].high)


def test_groups_count_equally_and_speakers_make_intervals_longer():
    ids = [f"u{n}" for n in range(40)]
    scores = {ID: float(n // 10) for n, ID in enumerate(ids)}
    variant = {ID: "SE" if n < 30 else "C" for n, ID in enumerate(ids)}
    words = {"variant": variant, "speaker": {ID: f"p{n // 10}" for n, ID in enumerate(ids)}}
    [plain] = means_of([System("a", [ScoreTable("a", {"pesq": scores}, {}, ids)])], ["pesq"])
    system = System("a", [ScoreTable("a", {"pesq": scores}, words, ids)])
    assert means_of([system], ["pesq"], "variant")[0].of["a"].mean == pytest.approx((1 + 3) / 2)
    clustered = means_of([system], ["pesq"])[0].of["a"]
    assert clustered.high - clustered.low > 2 * (plain.of["a"].high - plain.of["a"].low)
