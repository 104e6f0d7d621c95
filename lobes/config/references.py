"""The references of HyperPyYAML, resolved so that a value which looks like one stays what it is.

HyperPyYAML looks for `<name>` again in every text that it has put together, and calculates with it. A folder called
`a<b>c` or `1 #2` would not survive that, so the tags `!ref`, `!copy`, `!include:`, `!applyref:` are resolved here.
"""

from __future__ import annotations

import copy
import math
import pydoc
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hyperpyyaml.core import parse_arithmetic
from ruamel.yaml import YAML, Tag
from ruamel.yaml.comments import CommentedSeq
from ruamel.yaml.error import MarkedYAMLError

from lobes.errors import UserError, did_you_mean

NAME = re.compile(r"<([^>]*)>")
_PART = re.compile(r"[^\[\]]+")


def read_yaml(path: str | Path) -> Any:
    """Read a YAML file without making its objects.

    Raises
    ------
    UserError
        If it is no mapping, or no YAML: with the line.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        if "&" in text and "*" in text:
            _refuse_circles(YAML().compose(text), path)
        tree = YAML().load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        problem = str(error.problem or error.context).partition("\n")[0].replace("'\\t'", "a tab (use blanks)")
        raise UserError(f"{path}{line}: this is no valid YAML: {problem}.") from error
    except (OSError, UserError):
        raise
    except Exception as error:  # a tag such as !!int before what is none: ruamel.yaml raises what Python does
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise UserError(f"{path}: this is no valid YAML: {reason}.") from error
    if not isinstance(tree, dict):
        raise UserError(f"{path} must hold `key: value` lines at the top level.")
    _refuse_merges(tree, path, "")
    return tree


def _refuse_merges(node: Any, path: str | Path, place: str) -> None:
    """Say no to merge keys, which would hide what a file sets."""
    if getattr(node, "merge", None):
        raise UserError(
            f"{path}: {place or 'the file'} has a merge key (<<). Write the keys themselves, or base: FILE."
        )
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in children:
        _refuse_merges(child, path, f"{place}[{key}]" if place else str(key))


def _refuse_circles(node: Any, path: str | Path, above: tuple[int, ...] = ()) -> None:
    """Say no to an anchor inside of which its own alias stands: ruamel.yaml makes null of it."""
    if id(node) in above:
        line = node.start_mark.line + 1
        raise UserError(f"{path}, line {line}: holds itself: an alias (*) stands inside of its own anchor (&).")
    pairs = node.value if isinstance(node.value, list) else ()
    for child in (part for pair in pairs for part in (pair if isinstance(pair, tuple) else (pair,))):
        _refuse_circles(child, path, (*above, id(node)))


def tag_of(value: Any) -> str:
    """The YAML tag of a value; empty for plain ones."""
    return str(getattr(getattr(value, "tag", None), "value", None) or "")


class Growth:
    """How many letters references and includes may still add to a tree; without a number, as many as there are."""

    NODE, FILE = 100, 20_000  # what a node that is written out, and a file that is read, cost in time

    def __init__(self, most: float = math.inf) -> None:
        self.left = most

    def add(self, value: Any, path: Path, more: int = 0) -> None:
        """Count a value that is about to be written out once more, and what else that costs.

        Raises
        ------
        UserError
            If that is more than may be added.
        """
        waiting = [value]
        self.left -= more
        while waiting and self.left < math.inf:
            node = waiting.pop()
            below = [*node, *node.values()] if isinstance(node, dict) else list(node) if isinstance(node, list) else []
            waiting += below
            self.left -= self.NODE + (0 if below else len(str(getattr(node, "value", node))))
            if self.left < 0:
                raise UserError(f"{path}: what it refers to and includes would become too large when written out.")


def resolve_references(tree: Any, path: str | Path, growth: Growth | None = None) -> None:
    """Replace the references in a tree of ruamel.yaml by what they refer to, in place.

    `path` is the file, for messages and for the includes, which are relative to it; `growth` limits what they add.

    Raises
    ------
    UserError
        If a reference leads nowhere or to itself, a placeholder is not filled in, a file or a function is missing.

    Example
    -------
    >>> tree = YAML().load("a: 3\\nb: !ref <a> * 2\\nc: !ref results/<d>\\nd: x")
    >>> tree["d"] = "1 #<a>"
    >>> resolve_references(tree, "x.yaml")
    >>> dict(tree)
    {'a': 3, 'b': 6, 'c': 'results/1 #<a>', 'd': '1 #<a>'}
    """
    _Resolver(tree, Path(path), growth or Growth()).visit(tree, "")


class _Resolver:
    """Walks a tree; a node is resolved where it stands, so that what refers to it gets the same object."""

    def __init__(self, tree: Any, path: Path, growth: Growth) -> None:
        self.tree, self.path, self.growth = tree, path, growth
        self.open: list[str] = []  # names that are being looked up

    def visit(self, node: Any, place: str) -> Any:
        if isinstance(node, list | dict):
            for key in list(range(len(node)) if isinstance(node, list) else node):
                node[key] = self.visit(node[key], f"{place}[{key}]" if place else str(key))
        tag = tag_of(node)
        if tag == "!PLACEHOLDER":
            raise UserError(f"{place} is not set. Give it on the command line: --{place} VALUE")
        if tag in ("!ref", "!copy"):
            value = self.text(str(node.value))
            if tag == "!ref":
                return value
            value = self.visit(value, place)
            self.growth.add(value, self.path)
            return copy.deepcopy(value)
        if tag.startswith("!include:"):
            return self.include(tag.partition(":")[2], node, place)
        if tag.startswith("!applyref:"):
            return self.call(tag.partition(":")[2], node, place)
        return node

    def text(self, text: str) -> Any:
        """The value of a text with names in it: the value itself, a calculation with numbers, or a text."""
        if whole := NAME.fullmatch(text):
            return self.look_up(whole[1])
        values = {name: self.look_up(name) for name in NAME.findall(text)}
        for name in NAME.findall(text):
            self.growth.add(values[name], self.path)
        filled = NAME.sub(lambda match: str(values[match[1]]), text)
        numbers = values and all(isinstance(value, int | float) for value in values.values())
        try:
            return parse_arithmetic(filled) if numbers else filled
        except ArithmeticError as error:
            raise UserError(f"{self.path}: {text} cannot be calculated: {error}.") from error

    def look_up(self, name: str) -> Any:
        """The value at `key[key]`; `.attribute` behind it becomes a call that HyperPyYAML makes."""
        if name in self.open:
            raise UserError(f"{self.path}: <{name}> refers to itself, through {', '.join(self.open)}.")
        self.open.append(name)
        keys, _, attribute = name.partition(".")
        node = self.tree
        for key in _PART.findall(keys):
            if not isinstance(node, dict) or key not in node:
                known = node if isinstance(node, dict) else ()
                raise UserError(f"{self.path}: there is no <{name}> to refer to.{did_you_mean(key, map(str, known))}")
            if tag_of(node[key]) in ("!ref", "!copy") or tag_of(node[key]).startswith(("!include:", "!applyref:")):
                node[key] = self.visit(node[key], key)
            node = node[key]
        self.open.pop()
        if not attribute:
            return self.visit(node, keys) if tag_of(node) == "!PLACEHOLDER" else node
        call = CommentedSeq([node, attribute])
        call.yaml_set_ctag(Tag(suffix="!apply:getattr"))
        return call

    def include(self, name: str, overrides: Any, place: str) -> Any:
        """Another file, with other values for some of its keys."""
        file = self.path.parent / name
        if not file.is_file():
            raise UserError(f"{self.path} includes {file} under {place}, which does not exist.")
        tree = read_yaml(file)
        self.growth.add(tree, self.path, Growth.FILE)
        if not isinstance(overrides, Mapping) and (isinstance(overrides, list) or overrides.value):
            raise UserError(f"{self.path}: {place}: expected `key: value` lines for keys of {name}.")
        self.override(tree, overrides if isinstance(overrides, Mapping) else {}, name, place)
        resolve_references(tree, file, self.growth)
        return tree

    def override(self, tree: Any, overrides: Mapping[Any, Any], name: str, place: str) -> None:
        """Other values for keys of a file, also inside of its plain mappings."""
        for key, value in overrides.items():
            if key not in tree:
                hint = did_you_mean(str(key), map(str, tree))
                raise UserError(f"{self.path}: {place}: {key!r} is no key of {name}.{hint}")
            if isinstance(value, Mapping) and isinstance(tree[key], Mapping) and not tag_of(value):
                self.override(tree[key], value, f"{name}[{key}]", f"{place}[{key}]")
            else:
                tree[key] = value

    def call(self, name: str, node: Any, place: str) -> Any:
        """What a function returns for these arguments."""
        function: Callable[..., Any] | None = pydoc.locate(name)  # type: ignore[assignment]
        if function is None:
            raise UserError(f"{self.path}: {place}: there is no function {name}.")
        try:
            if isinstance(node, list):
                return function(*node)
            return function(**node) if isinstance(node, dict) else function()
        except (TypeError, ValueError) as error:
            raise UserError(f"{self.path}: {place}: {name} does not take these arguments: {error}.") from error
