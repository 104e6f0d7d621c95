"""The classes and functions that a YAML file names: they must exist, and take the arguments that it gives them."""

from __future__ import annotations

import inspect
import pydoc
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ruamel.yaml.error import MarkedYAMLError

from lobes.config.references import tag_of
from lobes.errors import UserError, did_you_mean

_TAGS = ("!new:", "!name:", "!apply:")
# What HyperPyYAML knows when the references are resolved; Python's own tags would run what they name.
_KNOWN = (*_TAGS, "!module:", "!tuple")
_MISTAKES = (TypeError, ValueError, AssertionError, RuntimeError, ImportError, AttributeError, KeyError)


def check_constructors(tree: Any, path: str | Path) -> None:
    """Look for every `!new:`, `!name:` and `!apply:` in a tree; nothing is made.

    Raises
    ------
    UserError
        If there is no such class or function, or it has no argument of a name: with the nearest name that there is; or
        if a tag is none of HyperPyYAML's.

    Example
    -------
    >>> from ruamel.yaml import YAML
    >>> check_constructors(YAML().load("a: !new:fractions.Fraction {numeratr: 1}"), "x.yaml")
    Traceback (most recent call last):
    ...
    lobes.errors.UserError: x.yaml: a: fractions.Fraction has no argument 'numeratr'. Did you mean 'numerator'?
    """
    _check(tree, str(path), "", set())


def find(name: str) -> Any:
    """The class or function of a dotted name.

    Raises
    ------
    UserError
        If there is none.
    """
    found = pydoc.locate(name)
    if found is None:
        module, _, last = name.rpartition(".")
        parent = pydoc.locate(module) if module else None
        hint = did_you_mean(last, dir(parent)) if parent else ""
        raise UserError(f"there is no class or function {name}.{hint}")
    return found


@contextmanager
def explained() -> Iterator[None]:
    """Make one line of what HyperPyYAML, or a class that it makes an object of, raises for a file's mistakes."""
    try:
        yield
    except MarkedYAMLError as error:
        raise UserError(f"the recipe cannot be loaded: {error.problem or error}.") from error
    except _MISTAKES as error:
        reason = " ".join(", ".join(map(str, error.args)).split()) or type(error).__name__
        made = _being_made(error)
        where = f" in {made}" if made and made not in reason else ""
        raise UserError(f"the recipe cannot be loaded: {reason.rstrip('.')}{where}.") from error


def _being_made(error: BaseException) -> str:
    """The class or function that HyperPyYAML was calling, or nothing."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__) if "callable_string" in frame.f_locals]
    return str(frames[-1].f_locals["callable_string"]) if frames else ""


def _check(node: Any, path: str, place: str, seen: set[int]) -> None:
    if not isinstance(node, list | dict) and not tag_of(node) or id(node) in seen:
        return
    seen.add(id(node))
    _refuse_unknown(tag_of(node), f"{path}: {place}")
    tag = next((tag for tag in _TAGS if tag_of(node).startswith(tag)), "")
    if tag:
        try:
            target = find(tag_of(node).removeprefix(tag))
        except UserError as error:
            raise UserError(f"{path}: {place}: {error}") from error
        if isinstance(node, dict):
            _check_arguments(target, tag_of(node).removeprefix(tag), [str(key) for key in node], f"{path}: {place}")
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in items:
        _check(child, path, f"{place}[{key}]" if place else str(key), seen)


def _refuse_unknown(tag: str, where: str) -> None:
    if tag and not tag.startswith(_KNOWN):
        known = "!new:, !name:, !apply:, !applyref:, !include:, !ref, !copy and !PLACEHOLDER"
        raise UserError(f"{where}: the tag {tag} means nothing here, only {known} do. Write the value without it.")


def _check_arguments(target: Any, name: str, given: list[str], where: str) -> None:
    try:
        arguments = inspect.signature(target).parameters
    except (TypeError, ValueError):  # some that are written in C do not say
        return
    if any(argument.kind is argument.VAR_KEYWORD for argument in arguments.values()):
        return
    for key in given:
        if key not in arguments:
            raise UserError(f"{where}: {name} has no argument {key!r}.{did_you_mean(key, arguments)}")
