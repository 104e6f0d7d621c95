"""The help of a recipe's train.py: its own options with their defaults and comments, then SpeechBrain's."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lobes.config import Recipe, find_recipe, read_layers, read_recipe
from lobes.config.references import tag_of
from lobes.training.run_options import kinds

_LINE = re.compile(r"^(\w+):(?:.*?\s)?# (.*)$")
_HEADING = re.compile(r"# [A-Z][\w ]*$")
_WIDTH = 34  # of the column with names and defaults


def as_text(argv: list[str]) -> str:
    """The help for a command line with `--help` in it.

    Example
    -------
    >>> as_text(["--help"]).splitlines()[0]
    'usage: python train.py hparams/NAME.yaml --data_folder FOLDER [--key value] ...'
    """
    lines = ["usage: python train.py hparams/NAME.yaml --data_folder FOLDER [--key value] ..."]
    file = next((find_recipe(word) for word in argv[:1] if not word.startswith("-")), None)
    if file is None:
        names = ", ".join(sorted(path.name for path in Path("hparams").glob("*.yaml")))
        lines += ["", f"Recipe files: {names or 'none in this folder'}. For the options of one: train.py FILE --help"]
        return "\n".join([*lines, *_section("How to run", _run_lines(()))])
    preset = next((b for a, b in zip(argv, argv[1:], strict=False) if a == "--preset"), None)
    recipe = read_recipe(file, preset)
    comments = _comments(recipe)
    for title, keys in _groups(recipe):
        lines += _section(title, (_line(key, recipe.tree[key], comments.get(key, "")) for key in keys))
    return "\n".join([*lines, *_section("How to run", _run_lines(recipe.tree))])


def _groups(recipe: Recipe) -> list[tuple[str, list[str]]]:
    """Options under the headings of the files that declare them, those of the recipe's own file first."""
    seen: set[str] = set()
    chain = []
    for layer in read_layers(recipe.path):
        groups: dict[str, list[str]] = {}
        heading = ""
        for line in layer.path.read_text(encoding="utf-8").splitlines():
            heading = line[2:] if _HEADING.match(line) else heading
            key = line.partition(":")[0]
            if key in recipe.kinds and key in layer.keys and key not in seen:
                seen.add(key)
                groups.setdefault(f"{layer.path.name}: {heading}" if heading else layer.path.name, []).append(key)
        chain.append(list(groups.items()))
    network = [key for key in recipe.kinds if key not in seen]
    named = [(f"Network, preset {recipe.tree.get('preset', '')}", network)]
    return [group for groups in reversed(chain) for group in groups] + named


def _comments(recipe: Recipe) -> dict[str, str]:
    """Key -> the comment behind it, that of the highest file which has one."""
    found = {}
    for layer in read_layers(recipe.path):
        for line in layer.path.read_text(encoding="utf-8").splitlines():
            if match := _LINE.match(line):
                found[match[1]] = match[2]
    return found


def _run_lines(keys: Iterable[str]) -> Iterable[str]:
    from speechbrain.utils.run_opts import HELP_TEXTS, RunOptions

    defaults = RunOptions().as_dict()
    for name in sorted(kinds()):
        if name not in keys:
            default = None if kinds()[name].type is bool else defaults[name]
            yield _line(name, default, " ".join(HELP_TEXTS.get(name, "").split()).partition(". ")[0])


def _section(title: str, lines: Iterable[str]) -> list[str]:
    lines = list(lines)
    return ["", f"{title}:", *lines] if lines else []


def _line(key: str, default: Any, comment: str) -> str:
    name = f"  --{key}{_shown(default)}"
    gap = "\n" + " " * _WIDTH if comment and len(name) >= _WIDTH else ""
    return f"{name:{_WIDTH}}{gap} {comment}".rstrip()


def _shown(value: Any) -> str:
    """A default as one would type it."""
    if tag_of(value) == "!PLACEHOLDER":
        return " (must be given)"
    if tag_of(value) == "!ref":
        return f" {value.value}"
    if tag_of(value):
        return ""
    if value is None or isinstance(value, bool):
        return f" {str(value or False).lower()}" if value is not None else " null"
    if isinstance(value, list):
        return f" [{', '.join(_shown(item)[1:] for item in value)}]"
    if isinstance(value, dict):
        return f" {{{', '.join(f'{key}:{_shown(item)}' for key, item in value.items())}}}"
    text = str(value)
    return f" {text.partition(chr(10))[0]}" + (" ..." if "\n" in text else "")
