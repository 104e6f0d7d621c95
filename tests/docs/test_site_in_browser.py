"""The site in a real browser, opened as files: nothing is wider than the window, nothing is wrong, nothing is fetched.

Skipped where no Chromium is installed. The screenshots stay in pytest's temporary folder.
"""

from __future__ import annotations

import pytest

PAGES = (
    "index",
    "docs/models",
    "docs/architecture",
    "docs/models/spmamba",
    "docs/costs",
    "recipes/PolSESS/RESULTS",
    "names/lobes.scan",
)
# What the theme lets scroll or keeps outside of the window until it is asked for.
MAY_SCROLL = ".md-typeset__scrollwrap, pre, .highlight, .doc-signature, .md-sidebar, .md-search, .md-tabs, svg"
BACKGROUND = "getComputedStyle(document.body).backgroundColor"


@pytest.mark.parametrize("width", [1400, 390])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_its_window_and_asks_for_nothing(browser, site, name, width, tmp_path):
    page = site / f"{name}.html"
    browser.open(page, width)
    browser.screenshot(tmp_path / f"{width}.png")
    assert browser.too_wide(MAY_SCROLL) == [] and browser.errors() == []
    requests = browser.requests()
    assert page.as_uri() in requests and all(address.startswith(site.as_uri()) for address in requests)


def test_the_site_is_as_dark_as_the_system(browser, site):
    seen = []
    for dark in (False, True, False):
        browser.open(site / "index.html", 1400, dark)
        seen.append(browser.run(BACKGROUND))
    assert seen[0] == seen[2] == "rgb(255, 255, 255)" and seen[1] != seen[0]


def test_names_in_tables_are_not_broken(browser, site):
    browser.open(site / "docs" / "models.html", 1400)
    lines = browser.run("""Array.from(document.querySelectorAll("td code"), (code) => code.getClientRects().length)""")
    assert len(lines) > 50 and set(lines) == {1}
