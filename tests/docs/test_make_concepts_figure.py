"""The picture of docs/concepts.md: its layers are those that PolSESS keeps, and it is drawn."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from lobes.polsess import variants

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def make_figure():
    spec = importlib.util.spec_from_file_location("make_concepts_figure", ROOT / "docs" / "make_concepts_figure.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("variant", variants.ALL_VARIANTS)
def test_layers_are_those_of_the_recipe(make_figure, variant):
    parts = {"scene": "scene", "event": "event", "reverb": "sp1_reverb"}
    dropped = variants.DROPPED[variant]
    expected = [layer for layer, part in parts.items() if part not in dropped]
    if variant in variants.OUTDOOR_VARIANTS:  # no room
        expected = [layer for layer in expected if layer != "reverb"]
    assert make_figure.kept(variant) == expected


def test_figure_is_drawn(make_figure, tmp_path):
    make_figure.main(["--output", str(tmp_path / "figure.png")])
    assert (tmp_path / "figure.png").read_bytes()[:4] == b"\x89PNG"
