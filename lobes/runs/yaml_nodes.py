"""YAML text of unknown origin as nodes: read whole or refused in one line, before anything is made of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML, SafeLoader, Tag
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import CollectionEndEvent, CollectionStartEvent
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from lobes.errors import UserError

LARGEST = 256 * 1024  # bytes of a file; the longest of ours has 10 kB
WHOLE = 2_000_000  # letters when every alias, copy and reference is written out
DEEPEST = 40  # levels
STANDARD = tuple(f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "timestamp"))
COLLECTIONS = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")
REFERENCE = re.compile(r"<([^>]*)>")
_BRACKETS = re.compile(r"^\(.*\)$")
_PART = re.compile(r"[^\[\]]+")


def read_text(path: Path) -> str:
    """The text of a YAML file.

    Raises
    ------
    UserError
        If it is larger than any such file, or no UTF-8.
    """
    if path.stat().st_size > LARGEST:
        raise UserError(f"{path}: {path.stat().st_size:,} bytes, expected a YAML file of at most {LARGEST:,}.")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: no YAML file: not UTF-8 at byte {error.start}.") from error


def compose(text: str, path: str | Path) -> MappingNode:
    """The nodes of a text with one mapping; nothing is made of them.

    Arguments
    ---------
    text : str
    path : str or Path
        For messages.

    Returns
    -------
    ruamel.yaml.nodes.MappingNode

    Raises
    ------
    UserError
        If it is no YAML, has several documents or directives, is no mapping, is nested too deeply, or would be too
        large when aliases and references are written out.

    Example
    -------
    >>> node = compose("a: !new:x.Y {b: 1}", "x.yaml")
    >>> [(key.value, value.tag) for key, value in node.value]
    [('a', '!new:x.Y')]
    """
    if directive := re.search(r"^%.*", text, re.MULTILINE):
        line = text.count("\n", 0, directive.start()) + 1
        raise UserError(f"{path}, line {line}: a directive, {directive[0][:40]!r}, has no place in a model's file.")
    with explained(path):
        _refuse_depth(text, path)
        root = SafeLoader(text).get_single_node()
    if not isinstance(root, MappingNode):
        raise UserError(f"{path} must hold `key: value` lines at the top level.")
    _refuse_large(root, path)
    for node, _ in all_nodes(root):
        _mark_tuple(node)
    return root


def tree_of(text: str, path: str | Path) -> Any:
    """The text as a tree of ruamel.yaml that keeps tags and comments, after the checks of `compose`.

    Example
    -------
    >>> dict(tree_of("a: 1", "x.yaml"))
    {'a': 1}
    """
    compose(text, path)
    with explained(path):
        return YAML().load(text)


def children(node: Node) -> list[Node]:
    """The nodes below a node, keys first."""
    if isinstance(node, MappingNode):
        return [*(key for key, _ in node.value), *(value for _, value in node.value)]
    return list(node.value) if isinstance(node, SequenceNode) else []


def all_nodes(root: Node | None) -> Iterator[tuple[Node, bool]]:
    """Every node once, and whether it is a key."""
    waiting, seen = [(root, False)] if root is not None else [], set()
    while waiting:
        node, is_key = waiting.pop()
        if (id(node), is_key) in seen:
            continue
        seen.add((id(node), is_key))
        yield node, is_key
        keys = {id(key) for key, _ in node.value} if isinstance(node, MappingNode) else set()
        waiting += [(child, id(child) in keys) for child in children(node)]


def at(root: Node, keys: list[str]) -> Node | None:
    """The node at a path of keys, or None.

    Example
    -------
    >>> at(compose("a: {b: 1}", "x.yaml"), ["a", "b"]).value
    '1'
    """
    node: Node | None = root
    for key in keys:
        pairs = node.value if isinstance(node, MappingNode) else ()
        node = next((value for name, value in pairs if name.value == key), None)
    return node


def keys_of(reference: str) -> list[str]:
    """The keys in a reference, without its attribute.

    Example
    -------
    >>> keys_of("model[separator].x")
    ['model', 'separator']
    """
    return _PART.findall(reference.partition(".")[0])


@contextmanager
def explained(path: str | Path) -> Iterator[None]:
    """One line for what is no YAML, with the line where it stops being that."""
    try:
        yield
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{path}, line {mark.line + 1}" if mark else f"{path}"
        raise UserError(f"{where}: no valid YAML: {str(error.problem or error.context).splitlines()[0]}.") from error
    except (YAMLError, ValueError, LookupError, AttributeError) as error:  # `!!int ""`: what Python raises
        raise UserError(f"{path}: no valid YAML: {' '.join(str(error).split())[:200]}.") from error
    except RecursionError as error:
        raise UserError(f"{path}: nested too deeply, expected at most {DEEPEST} levels.") from error


def _mark_tuple(node: Node) -> None:
    """HyperPyYAML takes a text in brackets for a tuple, also one in quotes, which are lost on the way; not a block.

    Its own way to say so, `add_implicit_resolver`, changes all that ruamel.yaml reads from then on.
    """
    text = isinstance(node, ScalarNode) and str(node.tag) == STANDARD[0] and node.style not in ("|", ">")
    if text and _BRACKETS.match(node.value):
        node.ctag = Tag(suffix="!tuple")


def _refuse_depth(text: str, path: str | Path) -> None:
    """Stop at nesting while reading: the library takes the square of the depth in time."""
    loader, depth = SafeLoader(text), 0
    while loader.check_event():
        event = loader.get_event()
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if depth > DEEPEST:
            raise UserError(f"{path}, line {event.start_mark.line + 1}: is nested deeper than {DEEPEST} levels.")


def _refuse_large(root: MappingNode, path: str | Path) -> None:
    """Stop at nesting, cycles and growth: a few lines of aliases may stand for a million of values."""
    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()

    def size(node: Node, depth: int) -> int:
        if id(node) in sizes:
            return sizes[id(node)]
        if depth > DEEPEST or id(node) in open_nodes:
            reason = "refers to itself" if id(node) in open_nodes else f"is nested deeper than {DEEPEST} levels"
            raise UserError(f"{path}, line {node.start_mark.line + 1}: {reason}.")
        open_nodes.add(id(node))
        _refuse_twice(node, path)
        below = _referred(root, node) if isinstance(node, ScalarNode) else children(node)
        total = len(node.value) + 1 + sum(size(child, depth + 1) for child in below)
        open_nodes.discard(id(node))
        if total > WHOLE:
            raise UserError(f"{path}, line {node.start_mark.line + 1}: would become more than {WHOLE:,} letters.")
        sizes[id(node)] = total
        return total

    size(root, 0)


def _refuse_twice(node: Node, path: str | Path) -> None:
    seen: set[str] = set()
    for key, _ in node.value if isinstance(node, MappingNode) else ():
        if isinstance(key, ScalarNode) and key.value in seen:
            raise UserError(f"{path}, line {key.start_mark.line + 1}: the key {key.value[:40]!r} stands there twice.")
        seen.add(str(key.value))


def _referred(root: MappingNode, node: ScalarNode) -> list[Node]:
    """The nodes that a text refers to, once for each time. A text without the tag counts too: it may be filled in."""
    names = REFERENCE.findall(node.value) if str(node.tag) in ("!ref", "!copy") else []
    return [found for name in names if (found := at(root, keys_of(name))) is not None]
