#!/usr/bin/env python3
"""Write what can be computed of the cards of docs/models: pictures of the data flow, and the table of the presets.

> python scripts/model_cards.py

A card is the page docs/models/FAMILY.md of a family of networks: the presets whose names begin so. Its text is written
by hand; the picture is drawn from docs/models/flows.yaml, and the rows come from the table of docs/models.md, which
scripts/model_tables.py writes. It takes a second.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flow_pictures
import yaml
from model_tables import KEY, cells_of

from lobes.data.arguments import Parser
from lobes.data.files import write_whole
from lobes.errors import UserError, exit_on_user_error
from lobes.models import list_models
from lobes.reports.tables import replace_section

ROOT = Path(__file__).resolve().parents[1]
CARDS, PICTURES = ROOT / "docs" / "models", ROOT / "docs" / "images" / "flows"
SHOWN = (KEY, "Parameters", "GMAC/s", "Sample rate", "Causal", "Receptive field", "Compared", "Published", "Source")
NUMBERS = ("Parameters", "GMAC/s", "Sample rate")
OTHERS = ("architecture",)  # pictures of flows.yaml that are no family's


def main() -> None:
    """Draw the pictures and write the tables."""
    Parser(description=__doc__.splitlines()[0]).parse_args()
    rows = model_rows()
    for name, flow in flows().items():
        write_whole(PICTURES / f"{name}.svg", flow_pictures.as_svg(picture_title(name), flow))
        if name not in OTHERS:
            replace_section(CARDS / f"{name}.md", "card", card(name, flow, rows))
    print(f"wrote {CARDS} and {PICTURES}")


def flows() -> dict[str, list[Mapping[str, Any]]]:
    """The data flows by family."""
    return yaml.safe_load((CARDS / "flows.yaml").read_text(encoding="utf-8"))


def families() -> list[str]:
    """The families that have a data flow."""
    return [name for name in flows() if name not in OTHERS]


def family_of(preset: str) -> str:
    """The family with which a preset's name begins.

    Raises
    ------
    UserError
        If there is none.
    """
    found = [family for family in families() if preset == family or preset.startswith(f"{family}_")]
    if not found:
        raise UserError(f"{preset}: no family of docs/models/flows.yaml begins its name; give it a flow and a card.")
    return found[0]


def model_rows() -> dict[str, dict[str, str]]:
    """The rows of the table of docs/models.md by preset."""
    text = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    rows = cells_of(text.split("<!-- models:begin -->\n")[1].split("\n<!-- models:end -->")[0])
    return {preset.strip("`"): row for preset, row in rows.items()}


def picture_title(name: str) -> str:
    """The title of a picture."""
    return "Data flow from a manifest to a model" if name in OTHERS else f"Data flow of {name}"


def card(family: str, flow: list[Mapping[str, Any]], rows: Mapping[str, Mapping[str, str]]) -> str:
    """The part of a card that is computed: the picture with its words, and a row for each preset."""
    presets = [preset for preset in list_models() if family_of(preset) == family]
    ruler = ["---:" if title in NUMBERS else "---" for title in SHOWN]
    lines = [SHOWN, ruler, *([rows[preset][title] for title in SHOWN] for preset in presets)]
    return "\n".join(
        [
            f"![{picture_title(family)}: {flow_pictures.in_words(flow)}](../images/flows/{family}.svg)",
            "",
            "## Presets",
            "",
            f"| {' | '.join(lines[0])} |",
            f"|{'|'.join(lines[1])}|",
            *(f"| {' | '.join(line)} |" for line in lines[2:]),
        ]
    )


if __name__ == "__main__":
    with exit_on_user_error():
        main()
