"""The demo does every step or fails, compares at equal time and never speaks of a winner."""

import csv
import importlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lobes.errors import UserError

RECIPE = Path(__file__).parents[2] / "recipes" / "PolSESS"


@pytest.fixture
def demo(monkeypatch, tmp_path):
    """The module, with a stand-in for training, data and export."""
    monkeypatch.syspath_prepend(RECIPE)
    for name in ("demo", "demo_page", "counted_variants"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    module = importlib.import_module("demo")
    script = shutil.copy(Path(__file__).with_name("fake_train.py"), tmp_path / "train.py")
    monkeypatch.setattr(module, "TRAIN_SCRIPT", Path(script))
    monkeypatch.setattr(module, "make_data", lambda options: options.output / "corpus" / "mini")
    monkeypatch.setattr(module, "export_and_check", lambda run, exported, mix: exported.mkdir())
    monkeypatch.setattr(module, "separate", lambda exported, mixes, out: out.mkdir())
    return module


def started(folder):
    """Options of each start of a run."""
    return [json.loads(line) for line in (folder / "starts.txt").read_text().splitlines()]


def test_every_result_is_there_and_the_second_model_gets_the_seconds_of_the_first(demo, tmp_path, capsys):
    out = tmp_path / "out"
    demo.main(["--output", str(out), "--steps", "40", "--seed", "5"])
    first, second = (started(out / name)[0] for name in (demo.FIRST, demo.SECOND))
    assert first["--max_steps"] == "40" and "--max_minutes" not in first
    assert float(second["--max_minutes"]) == 12.0 / 60 and "--max_steps" not in second
    assert {first["--seed"], second["--seed"]} == {"5"} and first["--task"] == second["--task"] == "ES"
    assert {path.name for path in out.iterdir()} >= {*demo.MADE_HERE} - {"corpus"}
    screen = capsys.readouterr().out
    assert "takes about" in screen.split("==")[0] and "mixture as it is" in screen


def test_the_table_can_be_kept(demo, tmp_path):
    results = tmp_path / "RESULTS.md"
    results.write_text("# Results\n")
    for seed in ("5", "6", "5"):
        demo.main(["--output", str(tmp_path / "out"), "--steps", "40", "--seed", seed, "--record", str(results)])
    text = results.read_text()
    assert text.count("### The demo, seed 5") == text.count("### The demo, seed 6") == 1
    assert "| spmamba_tiny | 3.00 | 4.50 | 1.50 | 75 % |" in text and "--seed 5 --steps 40" in text
    assert "| 1.25 | 1.50 | 90 % | 0.725 | 0.700 | 40 % |" in text  # PESQ and STOI of input and output, share above
    assert re.search(r"mixture as it is .* 1.25 \| 1.25 \|  \| 0.725 \| 0.725", text)
    assert "- commit: " in text and "- machine: " in text


def test_numbers_are_those_of_the_runs(demo, tmp_path):
    demo.main(["--output", str(tmp_path / "out"), "--steps", "40"])
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    means = {name: summary["models"][name]["means"] for name in (demo.FIRST, demo.SECOND)}
    assert means[demo.FIRST]["si_sdri"] == 1.5 and means[demo.SECOND]["si_sdri"] == 2.5
    assert means[demo.FIRST]["si_sdr_in"] == 3.0  # variant C stays out
    assert {"command", "commit", "seed", "machine"} <= set(summary)
    rows = list(csv.DictReader((tmp_path / "out" / "per_utterance.csv").open()))
    assert [row["model"] for row in rows] == [demo.FIRST] * 4 + [demo.SECOND] * 4
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("<audio") == page.count('class="spectrogram"') == 3 * 4
    assert ">spmamba_tiny</text>" in page and ">convtasnet_tiny</text>" in page  # the curves' legend
    assert "One seed and no interval" in page
    assert "spmamba_tiny, SI-SDRi 1.5 dB" in page
    for kind, item in (("Best", "item0"), ("Median", "item1"), ("Worst", "item3")):
        assert f"{kind} of 4 test items by the SI-SDRi of spmamba_tiny: variant SER ({item})" in page


def test_examples_are_chosen_among_those_that_were_kept_as_sound(demo, tmp_path):
    out = tmp_path / "out"
    demo.main(["--output", str(out), "--steps", "40", "--seed", "5"])
    runs = {name: out / name for name in (demo.FIRST, demo.SECOND)}
    for folder in runs.values():
        shutil.rmtree(folder / "audio" / "item0")
    page = importlib.import_module("demo_page")
    outcomes = {name: demo.collect(folder) for name, folder in runs.items()}
    outcomes[demo.FIRST].utterances[2]["si_sdri"] = 9.0
    titles = [example.title for example in page.page_examples(out, outcomes)]
    assert [(title.split()[0], title.split()[2], title[-7:]) for title in titles] == [
        ("Best", "3", "(item2)"),
        ("Median", "3", "(item1)"),
        ("Worst", "3", "(item3)"),
    ]


def test_no_word_of_a_winner(demo, tmp_path, capsys):
    demo.main(["--output", str(tmp_path / "out"), "--steps", "40"])
    page = re.sub(
        r"<style>.*?</style>|<svg.*?</svg>|src=\"[^\"]*\"", "", (tmp_path / "out" / "report.html").read_text()
    )
    said = capsys.readouterr().out + page
    assert not re.search(r"\b(win|wins|won|winner|beats?|outperforms?|superior|worse|stronger)\b", said, re.IGNORECASE)


def test_a_failing_training_fails_the_demo(demo, tmp_path):
    with pytest.raises(UserError, match="spmamba_tiny failed"):
        demo.main(["--output", str(tmp_path / "out"), "--seed", "666"])
    assert not (tmp_path / "out" / "report.html").exists()


def test_a_second_demo_starts_anew_and_leaves_foreign_files(demo, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("keep")
    demo.main(["--output", str(out), "--steps", "40"])
    demo.main(["--output", str(out), "--steps", "50"])
    assert (out / "mine.txt").read_text() == "keep"
    assert [start["--max_steps"] for start in started(out / demo.FIRST)] == ["50"]


@pytest.mark.parametrize("arguments", [["--steps", "0"], ["--examples", "1"]])
def test_sizes_that_cannot_work_are_refused(demo, arguments):
    with pytest.raises(UserError, match=arguments[0]):
        demo.parse(arguments)


@pytest.mark.slow
def test_the_real_demo_with_a_tiny_budget(tmp_path):
    command = [sys.executable, str(RECIPE / "demo.py"), "--output", str(tmp_path), "--steps", "4", "--examples", "8"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "equals the trained model bit for bit" in done.stdout
    assert list((tmp_path / "separated").glob("*.wav"))
    assert {"hyperparams.yaml", "masknet.ckpt"} <= {path.name for path in (tmp_path / "exported").iterdir()}
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["models"]["spmamba_tiny"]["train_time"]["steps"] == 4
    assert (tmp_path / "report.html").stat().st_size < 3_000_000
