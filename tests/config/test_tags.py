"""YAML that a recipe file may hold and that means nothing here, or runs what it names, is one line and runs nothing."""

from __future__ import annotations

import pytest

from lobes.config import load, resolve
from lobes.errors import UserError

ODD = {
    "a tag of Python that runs": ("lr: !!python/object/apply:os.mkdir [CANARY]",
     "the tag .*os.mkdir means nothing here"),
    "a tag of Python that imports": ("lr: !!python/name:os.system", "the tag .*os.system means nothing here"),
    "a tuple of Python": ("lr: !!python/tuple [1]", "the tag .* means nothing here"),
    "a tag that nobody knows": ("lr: !foo 1", "the tag !foo means nothing here, only !new:"),
    "a number as text": ("lr: !!str 3", "the tag .*:str means nothing here"),
    "a tag and no number": ("steps: !!int x", "this is no valid YAML: invalid literal"),
    "an anchor inside of itself": ("steps: &a [1, *a]", "own.yaml, line 2: holds itself"),
    "a mapping inside of itself": ("steps: &a {b: {c: *a}}", "own.yaml, line 2: holds itself"),
    "a merge key": ("<<: {lr: 3}", "own.yaml: the file has a merge key"),
    "a merge key further down": ("steps: {<<: {lr: 3}}", "own.yaml: steps has a merge key"),
    "a module for a number": ("lr: !module:os", "lr: expected a number above 0, got !module:os"),
    "a class for a number": ("lr: !name:fractions.Fraction", "lr: expected a number above 0, got !name:fractions"),
    "a tuple for a number": ("steps: !tuple (1, 2)", "steps: expected a whole number, got !tuple"),
    "an alias without anchor": ("lr: *a", "own.yaml, line 2: this is no valid YAML: found undefined alias"),
    "two documents": ("---\na: 1", "this is no valid YAML"),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_C01_yaml_that_means_nothing_here(tmp_path, name):
    text, message = ODD[name]
    (tmp_path / "base.yaml").write_text("lr: 0.1\nsteps: 5\n")
    (tmp_path / "own.yaml").write_text(f"base: base.yaml\n{text.replace('CANARY', str(tmp_path / 'canary'))}\n")
    with pytest.raises(UserError, match=message) as caught:
        resolve(tmp_path / "own.yaml")
    assert len(str(caught.value).splitlines()) == 1 and not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: !new:torch.nn.Linear [x, 2]", "loaded: Invalid argument to class torch.nn.Linear, "),
        ("a: !new:fractions.Fraction [x]", "loaded: Invalid literal for Fraction: 'x' in fractions.Fraction."),
        ("a: !new:torch.nn.MultiheadAttention [4, 3]", "divisible by num_heads in torch.nn.MultiheadAttention"),
    ],
)
def test_C01_a_class_that_refuses_its_arguments_is_named(text, message):
    with pytest.raises(UserError, match=message):
        load(text)
