"""The cards of the families: each family has one, its table is that of the registry, and its picture is up to date."""

import importlib
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from lobes.errors import UserError
from lobes.models import list_models

ROOT = Path(__file__).parents[2]


@pytest.fixture
def command(monkeypatch):
    """The script, and the modules that lie next to it."""
    monkeypatch.syspath_prepend(ROOT / "scripts")
    for name in ("model_cards", "model_tables", "flow_pictures"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module("model_cards")


def test_every_preset_belongs_to_a_family_and_every_family_has_presets(command):
    found = {command.family_of(preset) for preset in list_models()}
    assert found == set(command.families()) and command.family_of("bs_bimamba_abl1") == "bs_bimamba"
    with pytest.raises(UserError, match="mamba9_tiny: no family"):
        command.family_of("mamba9_tiny")


def test_every_family_has_its_card_in_the_navigation_and_in_the_page_of_models(command):
    cards = {path.stem for path in command.CARDS.glob("*.md")}
    navigation, models = ((ROOT / name).read_text(encoding="utf-8") for name in ("mkdocs.yml", "docs/models.md"))
    assert cards == set(command.families())
    assert all(f"docs/models/{name}.md" in navigation and f"](models/{name}.md)" in models for name in cards)


def test_cards_and_pictures_are_what_the_command_writes(command):
    rows = command.model_rows()
    for name, flow in command.flows().items():
        picture = (command.PICTURES / f"{name}.svg").read_text(encoding="utf-8")
        assert picture == command.flow_pictures.as_svg(command.picture_title(name), flow), "scripts/model_cards.py"
        if name in command.families():
            page = (command.CARDS / f"{name}.md").read_text(encoding="utf-8")
            shown = page.split("<!-- card:begin -->\n")[1].split("\n<!-- card:end -->")[0]
            assert shown == command.card(name, flow, rows), "write it again: python scripts/model_cards.py"


def test_a_card_has_text_of_its_own(command):
    for name in command.families():
        page = (command.CARDS / f"{name}.md").read_text(encoding="utf-8")
        text, _, rest = page.partition("<!-- card:begin -->")
        assert text.startswith("# ") and "Code: " in text and "\n## What to know\n\n- " in rest


def test_pictures_are_whole_and_ask_for_nothing(command):
    for path in command.PICTURES.glob("*.svg"):
        tree = ElementTree.parse(path).getroot()
        width, height = float(tree.get("width")), float(tree.get("height"))
        for box in tree.iter("{http://www.w3.org/2000/svg}rect"):
            left, top = float(box.get("x", 0)), float(box.get("y", 0))
            assert left >= 0 and left + float(box.get("width")) <= width and top + float(box.get("height")) <= height
        assert tree.find("{http://www.w3.org/2000/svg}desc").text and "href" not in path.read_text(encoding="utf-8")


def test_what_does_not_fit_its_box_is_refused(command):
    with pytest.raises(ValueError, match="longer than a box"):
        command.flow_pictures.as_svg("long", [{"a box with far more letters than there is room for": ""}])


def test_an_output_that_is_used_twice_has_a_way_of_its_own(command):
    flow = [{"first": "[B]"}, {"second": "[B]"}, {"sum": "[B]", "from": "first"}]
    with_way = command.flow_pictures.as_svg("sum", flow)
    without = command.flow_pictures.as_svg("sum", [*flow[:2], {"sum": "[B]"}])
    assert with_way.count("<polyline") == without.count("<polyline") + 1
    with pytest.raises(KeyError, match="third"):
        command.flow_pictures.as_svg("sum", [{"first": ""}, {"sum": "", "from": "third"}])
