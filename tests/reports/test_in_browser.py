"""Pages in a real browser: nothing is wider than the window, nothing is fetched, sounds play, rows are sorted by keys.

Skipped where no Chromium is installed. The screenshots stay in pytest's temporary folder.
"""

import importlib
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from lobes.evaluation.comparison import compare
from lobes.reports.evaluation_page import write_evaluation_page
from lobes.reports.html import AudioExample
from lobes.runs.record import collect

ROOT = Path(__file__).parents[2]
RATE = 8000
LONG = "bs_bimamba_small_causal_with_a_name_that_has_no_place_to_break"
WINDOWS = [(1400, False), (1400, True), (390, False), (390, True)]  # width in pixels, dark
PLAY = """(async () => {
  const lengths = [];
  for (const player of document.querySelectorAll("audio")) { await player.play(); lengths.push(player.duration); }
  return [lengths, Array.from(document.querySelectorAll("audio")).filter((player) => !player.paused).length];
})()"""
PAPER = 718  # pixels: A4 between margins of a centimetre
OPEN_ALL = "for (const folded of document.querySelectorAll('details')) folded.open = true"


@pytest.fixture(scope="module")
def evaluation(make_system, tmp_path_factory):
    """An evaluation of three systems with an example of one second."""
    systems = [make_system("noisy", 0, 40), make_system("a <b>&\"'", 4.0, 40, 1), make_system(LONG, 1.0, 40, 2)]
    signal = 0.1 * np.sin(2000 * np.arange(RATE) / RATE)
    examples = [AudioExample("best: u0001", {"noisy": signal, LONG: signal}, RATE)]
    page = tmp_path_factory.mktemp("evaluation") / "report.html"
    facts = {"command": f"lobes evaluate noisy {LONG}", "seed": "5"}
    return write_evaluation_page(page, LONG, systems, compare(systems), examples, reference="noisy", facts=facts)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The demo's page of two models that a stand-in for the training made."""
    fake = ROOT / "tests" / "recipes" / "fake_train.py"
    spec = importlib.util.spec_from_file_location("fake_train", fake)
    training = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(training)
    out = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "recipes" / "PolSESS")
        for name in ("demo_page", "counted_variants"):
            patch.delitem(sys.modules, name, raising=False)
        page = importlib.import_module("demo_page")
        for preset in ("spmamba_tiny", "convtasnet_tiny"):
            options = {"--preset": preset, "--output_folder": str(out / preset), "--seed": "5", "--task": "ES"}
            training.main("", options)
        outcomes = {name: collect(out / name) for name in ("spmamba_tiny", "convtasnet_tiny")}
        page.write_page(out, "ES", outcomes, {"seed": "5", "command": "python demo.py"})
    return out / "report.html"


@pytest.fixture(params=["evaluation", "demo"])
def page(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("width, dark", WINDOWS)
def test_a_page_fits_its_window_and_asks_for_nothing(browser, page, width, dark, tmp_path):
    browser.open(page, width, dark)
    browser.run(OPEN_ALL)
    browser.screenshot(tmp_path / f"{width}{'-dark' * dark}.png")
    assert browser.too_wide() == [] and browser.errors() == []
    assert browser.requests() == [page.as_uri()]
    background = browser.run("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(21, 23, 26)" if dark else "rgb(253, 253, 252)")


def test_every_player_plays_and_has_a_length(browser, page):
    browser.open(page, 1400)
    lengths, playing = browser.run(PLAY)
    assert len(lengths) >= 2 and all(0.4 < length < 2 for length in lengths)
    assert playing == 1  # the others have stopped


def test_nothing_is_cut_off_on_paper(browser, page, tmp_path):
    browser.open(page, PAPER)
    browser.print_preview()
    browser.run(OPEN_ALL)
    browser.screenshot(tmp_path / "print.png")
    assert browser.too_wide("svg") == []
    useless = "Array.from(document.querySelectorAll('audio, nav, .hint'))"
    assert not browser.run(f"{useless}.some((element) => element.checkVisibility())")


def focus(browser, find, most=60):
    """Press Tab until an element has the focus."""
    for _ in range(most):
        browser.press("Tab")
        if browser.run(f"document.activeElement === {find}"):
            return
    raise AssertionError(f"the keyboard does not reach {find}")


def test_rows_are_sorted_by_keys(browser, evaluation):
    browser.open(evaluation, 1400)
    head = "document.querySelector('main table').tHead.rows[0].cells[2]"
    rows = "document.querySelector('main table').tBodies[0].rows"
    means = f"Array.from({rows}, (row) => parseFloat(row.cells[2].textContent))"
    focus(browser, f"{head}.querySelector('button')")
    for key, order in (("Enter", "descending"), (" ", "ascending")):
        browser.press(key)
        assert browser.run(f"{head}.getAttribute('aria-sort')") == order
        assert browser.run(means) == sorted(browser.run(means), reverse=order == "descending")
        assert (
            browser.run("document.querySelector('[role=status]').textContent") == f"Sorted by SI-SDRi in dB, {order}."
        )
    assert browser.run("document.querySelectorAll('[aria-sort]').length") == 1


def test_the_first_tab_skips_to_the_results(browser, page):
    browser.open(page, 390)
    browser.press("Tab")
    assert browser.run("document.activeElement.getBoundingClientRect().left") > 0
    browser.press("Enter")
    assert browser.run("document.activeElement.id") == "main"


def test_utterances_are_folded_and_can_be_filtered(browser, evaluation):
    browser.open(evaluation, 390)
    rows = "document.querySelectorAll('#all-utterances tbody tr')"
    shown = f"Array.from({rows}).filter((row) => row.checkVisibility()).length"
    assert browser.run(f"{rows}.length") == 40 and browser.run(shown) == 0
    browser.run(OPEN_ALL)
    browser.run("document.getElementById('filter').focus()")
    browser.send("Input.insertText", text="S3 se")
    assert browser.run("document.querySelector('output').textContent") == f"{browser.run(shown)} of 40 rows"
    assert 0 < browser.run(shown) < 40


@pytest.mark.parametrize("width", [390, 1400])
def test_a_table_says_that_it_scrolls_only_where_it_does(browser, page, width):
    browser.open(page, width)
    browser.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    said = browser.run("Array.from(document.querySelectorAll('.hint'), (hint) => hint.checkVisibility())")
    boxes = browser.run("""Array.from(document.querySelectorAll(".hint + .scroll"),
      (box) => box.checkVisibility() && box.scrollWidth > box.clientWidth + 1)""")
    assert said == boxes and (any(said) if width == 390 else not said[0])


def test_without_its_script_the_page_has_all_it_says(browser, page):
    browser.send("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(page, 390)
        assert browser.run("document.querySelectorAll('button').length") == 0
        sections = browser.run("document.querySelectorAll('main > section').length")
        assert sections == browser.run("document.querySelectorAll('nav a').length") >= 4
        assert not browser.run("document.querySelector('.hint, .filter').checkVisibility()")
        assert browser.run("document.documentElement.scrollWidth") == 390
    finally:
        browser.send("Emulation.setScriptExecutionDisabled", value=False)
