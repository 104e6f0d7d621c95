"""The import graph of the library, file by file: no cycle, none hidden in a string, no name that means two things."""

from __future__ import annotations

import ast
import re
from collections import Counter
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / "lobes").rglob("*.py"))
}
NAMED = re.compile(r"lobes(\.\w+)+")


def docstrings(tree: ast.AST) -> set[int]:
    """The constants that are docstrings, by identity."""
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef)
    bodies = (node.body for node in ast.walk(tree) if isinstance(node, owners) and node.body)
    return {id(body[0].value) for body in bodies if isinstance(body[0], ast.Expr)}


def modules_of(dotted: str) -> set[str]:
    """The file that a dotted name leads into, and the packages on the way, which are imported as well."""
    parts = dotted.split(".")
    prefixes = [".".join(parts[:n]) for n in range(1, len(parts) + 1)]
    return {name for name in prefixes if name in FILES}


def references(source: str) -> set[str]:
    """Modules of lobes that a source imports anywhere in it, or names in a string that is no docstring."""
    tree = ast.parse(source)
    skipped, found = docstrings(tree), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(*(modules_of(alias.name) for alias in node.names))
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.update(*(modules_of(f"{node.module}.{alias.name}") for alias in node.names))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            if NAMED.fullmatch(node.value):
                found |= modules_of(node.value)
    return found


def graph() -> dict[str, set[str]]:
    """Module -> the modules that it refers to; `lobes` itself holds the version alone."""
    found = {name: references(path.read_text(encoding="utf-8")) - {name, "lobes"} for name, path in FILES.items()}
    # a package imports its own files, and its files import it by being in it: only what it names counts
    return {name: {other for other in others if not name.startswith(f"{other}.")} for name, others in found.items()}


def test_references_sees_every_form():
    source = '"""lobes.cli"""\nimport lobes.scan\nfrom lobes.nnet import stft\nhome = "lobes.runs.weights"\n'
    assert {"lobes.scan", "lobes.nnet.stft", "lobes.runs.weights"} <= references(source)
    assert "lobes.cli" not in references(source)


def test_no_cycle_between_files():
    try:
        TopologicalSorter(graph()).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_a_class_name_means_one_thing():
    classes = Counter(
        node.name
        for path in FILES.values()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    )
    assert not {name for name, count in classes.items() if count > 1}


def test_nothing_is_mocked_outside_of_tests():
    code = [*FILES.values(), *(ROOT / "recipes").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]
    assert not [path for path in code if "unittest.mock" in path.read_text(encoding="utf-8")]


def test_only_runs_knows_the_file_names_of_a_run_folder():
    names = ast.parse((ROOT / "lobes" / "runs" / "names.py").read_text(encoding="utf-8"))
    texts = {node.value for node in ast.walk(names) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    texts = {text for text in texts if re.fullmatch(r"\w+\.(csv|json|yaml|ckpt|txt|lock)", text)}
    assert {"hyperparams.yaml", "summary.json", "learning_curve.csv"} <= texts
    for name, path in FILES.items():
        if name == "lobes.runs.names":
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        skipped = docstrings(tree)
        constants = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and id(n) not in skipped}
        assert not constants & texts, f"{name} spells out a file name of lobes.runs.names"


def private_reads(source: str) -> set[str]:
    """Private names of lobes that a test imports, and private attributes of anything but itself."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lobes"):
            found |= {alias.name for alias in node.names if alias.name.startswith("_") and alias.name != "__version__"}
        elif isinstance(node, ast.Attribute) and re.match(r"_[a-zA-Z]", node.attr):
            owner = node.value
            if not (isinstance(owner, ast.Name) and owner.id in ("self", "cls")):
                found.add(ast.unparse(node))
    return found


# Tags of parameters, and what other libraries document under such a name.
FOREIGN = {"_no_weight_decay", "_no_reinit", "_exit", "_replace", "_fields", "_getframe"}
# PyTorch's own: what a module and a node of a graph hold, and operators.
FOREIGN |= {"_parameters", "_buffers", "_input_metadata"}
FOREIGN |= {"_C", "_dispatch_tls_local_exclude_set"}  # what the dispatcher leaves out at this moment
FOREIGN |= {"_to_copy", "_unique2", "_local_scalar_dense", "_pack_padded_sequence"}


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("*.py")), ids=lambda path: path.name)
def test_tests_read_no_private_names(path):
    found = {name for name in private_reads(path.read_text(encoding="utf-8")) if name.rpartition(".")[2] not in FOREIGN}
    assert not found
