"""The YAML file of a model's folder, made without running anything that the folder's author chose.

HyperPyYAML is a programming language: `!new:`, `!name:` and `!apply:` call any function, `!applyref:` does while it
looks for references, `!include:` reads any file, `<key.attribute>` looks up any attribute, a text in brackets may hold
any of Python's tags. Here the nodes of a file are looked at first, and what is not in `lobes.runs.callables` is
refused. Then the references are resolved, the nodes of the resulting text are looked at again, and it is these very
nodes of which the objects are made, by a loader that knows no other tags. `trust` leaves the file to HyperPyYAML.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from hyperpyyaml import core, load_hyperpyyaml
from ruamel.yaml import YAML, SafeLoader
from ruamel.yaml.nodes import Node, ScalarNode

from lobes.config.references import Growth, resolve_references
from lobes.errors import UserError, visible
from lobes.runs.callables import ATTRIBUTES, MODEL, complaint
from lobes.runs.yaml_nodes import (
    COLLECTIONS,
    REFERENCE,
    STANDARD,
    WHOLE,
    all_nodes,
    at,
    compose,
    explained,
    read_text,
    tree_of,
)

ADVICE = (
    "A model's file is not allowed to by itself. If you would run a program of whoever made it, allow it: --trust on "
    "the command line, trust=True in Python."
)
MERGE = "tag:yaml.org,2002:merge"
_FILE = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)*", re.ASCII)
_SUM = re.compile(r"[\w\s.+\-*/%()<>\[\]]*")  # letters of a text with references in which one may calculate

logger = logging.getLogger(__name__)


class Wish(NamedTuple):
    """What a file wants to do beyond what is allowed, and where it says so."""

    path: Path
    line: int
    what: str  # "run os.system"


def load_file(path: Path, overrides: Any = None, trust: bool = False) -> dict[str, Any]:
    """Make what a model's YAML file describes.

    Arguments
    ---------
    path : Path
    overrides : dict or str, optional
        Other values for some keys. They are the caller's own and are not checked.
    trust : bool
        Run whatever the file names; it is logged.

    Returns
    -------
    dict

    Raises
    ------
    UserError
        If the file is no YAML, or wants to run or read what is not allowed; nothing has been made then.

    Example
    -------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "hyperparams.yaml")
    >>> _ = path.write_text("a: 3\\nb: !ref <a> * 2\\nc: (1, 2)")
    >>> load_file(path)
    {'a': 3, 'b': 6, 'c': (1, 2)}
    >>> _ = path.write_text("a: !apply:os.getcwd []")
    >>> load_file(path)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    lobes.errors.UserError: ...hyperparams.yaml, line 1: it wants to run os.getcwd. A model's file is not allowed to...
    """
    content, trusted = read_text(path), set()
    if allow(wishes_of(path, content), trust):
        with path.open(encoding="utf-8") as file:
            return load_hyperpyyaml(file, overrides)
    tree = tree_of(content, path)
    if overrides:
        added = YAML().load(overrides) if isinstance(overrides, str) else overrides
        core.recursive_update(tree, added, must_match=True)
        trusted = set(_tags(added))
    with explained(path):
        resolve_references(tree, path, Growth(WHOLE))
        text = StringIO()
        YAML().dump(tree, text)
    return _make(text.getvalue(), path, trusted)


def load_text(text: str, path: Path, trust: bool = False) -> dict[str, Any]:
    """Make what a text without references describes; `path` is where it comes from.

    `trust` says that `allow` has been asked, and leaves the text to HyperPyYAML.

    Raises
    ------
    UserError
        As `load_file`.

    Example
    -------
    >>> load_text("a: 1", Path("x.yaml"))
    {'a': 1}
    """
    if trust:
        return load_hyperpyyaml(text)
    allow(wishes_of(path, text), trust=False)
    return _make(text, path)


def wishes_of(
    path: Path,
    text: str,
    known: Mapping[str, set[str]] = MODEL,
    below: Sequence[str] = (),
    seen: tuple[Path, ...] = (),
    resolved: bool = False,
    included: set[Path] | None = None,
) -> list[Wish]:
    """What a file wants to do beyond what is allowed, in the order of its lines; nothing is made.

    Arguments
    ---------
    path : Path
        The file; includes are looked for in its folder.
    text : str
        What it holds.
    known : mapping
        Kind of tag -> names that are allowed.
    below : sequence of str
        Keys of the node that counts; by default all.
    seen : tuple of Path
        The files that include this one.
    resolved : bool
        Whether there should be no references and includes any more.
    included : set of Path, optional
        Files that have been looked at already: each is once, however often it is included.

    Example
    -------
    >>> wishes_of(Path("x.yaml"), "a: {b: !new:os.Popen []}")[0].what
    'run os.Popen'
    >>> wishes_of(Path("x.yaml"), "a: {b: !new:os.Popen []}", below=["c"])
    []
    """
    root = at(compose(text, path), list(below))
    wishes, included = [], set() if included is None else included
    for node, is_key in all_nodes(root):
        tag, line = str(node.tag), node.start_mark.line + 1
        if resolved and tag in ("!ref", "!copy"):
            wishes.append(Wish(path, line, f"look up {node.value[:60]!r}"))
        elif tag.startswith("!include:") and not is_key and not resolved:
            wishes += _included(path, line, tag.removeprefix("!include:"), known, seen, included)
        elif what := _key(node) if is_key else _value(node, tag, known):
            wishes.append(Wish(path, line, visible(what)))
    return sorted(wishes, key=lambda wish: (wish.path != path, wish.line))


def allow(wishes: list[Wish], trust: bool, advice: str = ADVICE) -> bool:
    """Whether there are wishes, all of them granted by `trust`, which is logged.

    Raises
    ------
    UserError
        If there are wishes and no trust.
    """
    if not wishes:
        return False
    unique = list(dict.fromkeys(wish.what for wish in wishes))
    if trust:
        logger.warning("%s: trusted, so it may %s", wishes[0].path, ", ".join(unique))
        return True
    path, line, what = wishes[0]
    more = f", and {len(unique) - 1} more ({', '.join(unique[1:4])}{', ...' * (len(unique) > 4)})" * (len(unique) > 1)
    raise UserError(f"{path}, line {line}: it wants to {what}{more}. {advice}")


def _value(node: Node, tag: str, known: Mapping[str, set[str]]) -> str:
    """What a value wants to do that is not allowed."""
    if isinstance(node, ScalarNode) and tag == "!tuple":
        return f"read {node.value[:60]!r} as code" if set(node.value) & set("!&*{}%@`|>") else ""
    if tag in COLLECTIONS or tag == "!PLACEHOLDER" or (tag in STANDARD and isinstance(node, ScalarNode)):
        return ""
    if tag in ("!ref", "!copy") and isinstance(node, ScalarNode):
        return _reference(node.value)
    if tag.startswith(("!new:", "!name:", "!apply:")):
        return complaint(tag, node, known)
    named = tag.startswith(("!applyref:", "!module:")) or (":python/" in tag and tag.count(":") > 2)
    name = tag.rpartition(":")[2] if named else ""
    if tag.startswith("!include:"):
        return f"read {tag.partition(':')[2]}"
    return f"run {name}" if name else f"make a {tag.replace('tag:yaml.org,2002:', '!!')}"


def _key(node: Node) -> str:
    """Keys are plain words and numbers."""
    tag = str(node.tag)
    if tag == MERGE:
        return "merge mappings (`<<`)"
    return "" if isinstance(node, ScalarNode) and tag in STANDARD else f"make a key of {tag}"


def _reference(text: str) -> str:
    """A reference leads to a key, perhaps to an attribute that is allowed; powers and products of texts are no sums."""
    for name in REFERENCE.findall(text):
        attribute = name.partition(".")[2]
        if "." in name and attribute not in ATTRIBUTES:
            return f"look up the attribute {attribute!r}"
    rest = REFERENCE.sub("0", text)
    formats = "%" in rest and ("'" in rest or '"' in rest)  # "'%999999999d' % <a>"
    if "**" in rest or formats or ("*" in rest and not _SUM.fullmatch(rest)):
        return f"calculate {text[:60]!r}"
    return ""


def _included(
    path: Path, line: int, name: str, known: Mapping[str, set[str]], seen: tuple[Path, ...], included: set[Path]
) -> list[Wish]:
    """What an included file wants, if it is one of the same folder."""
    file = path.parent / name
    if not _FILE.fullmatch(name) or not file.is_file() or not _lies_in(file, path.parent):
        return [Wish(path, line, f"read {visible(name)}")]
    if file in (*seen, path):
        raise UserError(f"{path}, line {line}: includes itself.")
    if file in included:
        return []
    included.add(file)
    return wishes_of(file, read_text(file), known, seen=(*seen, path), included=included)


def _lies_in(file: Path, folder: Path) -> bool:
    """Whether a file, links followed, lies in its folder; the hub's cache keeps files in `blobs` and links to them."""
    folder, real = folder.resolve(), file.resolve()
    blobs = folder.parents[1] / "blobs" if folder.parent.name == "snapshots" else folder
    return real.is_relative_to(folder) or real.is_relative_to(blobs)


def _tags(node: Any) -> Iterator[str]:
    """The tags in a tree of ruamel.yaml."""
    yield str(getattr(getattr(node, "tag", None), "value", None) or "")
    below = node.values() if isinstance(node, Mapping) else node if isinstance(node, list) else ()
    for child in below:
        yield from _tags(child)


# ---- from nodes to objects
class _Maker(SafeLoader):
    """Makes objects of nodes that have been looked at: of plain values, and of what the three tags name."""

    def construct_object(self, node: Node, deep: bool = True) -> Any:
        """As HyperPyYAML does it: arguments are made whole before a function is called."""
        return super().construct_object(node, deep=True)


def _tuple(loader: _Maker, node: Node) -> tuple[Any, ...]:
    return tuple(yaml.load(f"[{loader.construct_scalar(node)[1:-1]}]", Loader=yaml.SafeLoader))


_Maker.add_constructor("!tuple", _tuple)
for _tag, _function in (
    ("!new:", core._construct_object),
    ("!name:", core._construct_name),
    ("!apply:", core._apply_function),
):
    _Maker.add_multi_constructor(_tag, _function)


def _make(text: str, path: Path, trusted: Collection[str] = ()) -> dict[str, Any]:
    """Make a resolved text whose nodes are allowed, or carry tags of the caller's own overrides."""
    root = compose(text, path)
    for node, is_key in all_nodes(root):
        tag = str(node.tag)
        what = _key(node) if is_key else "" if tag in trusted else _value(node, tag, MODEL)
        if what or (tag in ("!ref", "!copy", "!PLACEHOLDER")):
            raise UserError(f"{path}: when its references are resolved, it wants to {what or tag}. {ADVICE}")
    made = _Maker(text).construct_document(root)
    return {key: value for key, value in made.items() if not str(key).startswith("__")}
