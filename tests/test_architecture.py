"""The structure holds: imports point one way, files stay short, public names are explained."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CODE = sorted(path for folder in ("lobes", "recipes", "benchmarks", "docs") for path in (ROOT / folder).rglob("*.py"))
LIBRARY = [path for path in CODE if path.is_relative_to(ROOT / "lobes")]
TEXT = {".py", ".md", ".yaml", ".yml", ".toml", ".sh", ".txt", ".lock", ".json", ""}

# A folder may import from itself and from the folders named here; `lobes` itself stands for the version number.
LEAVES = {"errors", "data", "objectives", "metrics"}
BELOW_MODELS = {"errors", "kernels", "scan", "nnet"}
ABOVE_MODELS = LEAVES | BELOW_MODELS | {"models", "config", "hparams_shared"}
ABOVE_RUNS = ABOVE_MODELS | {"runs"}
ALLOWED = {
    "errors": set(),
    "config": {"errors"},
    "exported": set(),
    "data": {"errors"},
    "objectives": {"errors", "nnet"},
    "metrics": {"errors", "data"},
    "kernels": {"errors"},
    "scan": {"errors", "kernels"},
    "nnet": {"errors", "kernels", "scan"},
    "compat": BELOW_MODELS,
    "models": BELOW_MODELS | {"config"},
    "polsess": {"errors", "data"},
    "runs": ABOVE_MODELS,
    "inference": ABOVE_RUNS,
    "onnx": ABOVE_RUNS | {"inference"},
    "evaluation": ABOVE_RUNS,
    "reports": {"errors", "data", "metrics", "runs", "evaluation"},
    "training": ABOVE_RUNS | {"evaluation", "inference"},
    "doctor": ABOVE_RUNS | {"polsess", "training"},
    "commands": ABOVE_RUNS | {"polsess", "training", "inference", "evaluation", "reports"},
    "sweep": ABOVE_RUNS | {"training", "reports"},
    "cli": ABOVE_RUNS
    | {"polsess", "training", "inference", "evaluation", "reports", "doctor", "commands", "onnx", "sweep"},
    "stream_live": ABOVE_RUNS | {"inference"},
}
ALLOWED["recipes"] = ALLOWED["benchmarks"] = ALLOWED["docs"] = ALLOWED["cli"] | {"compat"}
PUBLIC = [
    "lobes:load",
    "lobes:separate",
    "lobes.scan:selective_scan",
    "lobes.scan:backends",
    "lobes.models:list_models",
    "lobes.models:get_model",
    "lobes.models:from_checkpoint",
    "lobes.models.spmamba:SPMamba",
    "lobes.models.masking:MaskingSeparator",
    "lobes.models.tf_gridnet:TFGridNet",
    "lobes.models.mamba_tasnet:MambaTasNetMaskNet",
    "lobes.models:from_upstream",
    "lobes.models:to_upstream",
    "lobes.models.bsrnn:BSRNN",
    "lobes.models.bs_bimamba:BSBiMamba",
    "lobes.models.mbs_net:MBSNet",
    "lobes.models.conv_tasnet:CausalConvTasNet",
    "lobes.polsess.corpus:make_corpus",
    "lobes.inference:Separator",
    "lobes.inference:export_pretrained",
    "lobes.evaluation.complexity:count",
    "lobes.evaluation.complexity:table",
    "lobes.evaluation:evaluate",
    "lobes.evaluation:compare",
    "lobes.evaluation:profile",
    "lobes.compat.mamba_ssm:install",
]


def folder_of(path: Path) -> str:
    """`lobes/nnet/x.py` -> nnet, `lobes/cli.py` -> cli, `recipes/...` -> recipes."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[1] if parts[0] == "lobes" else parts[0]


def imported_folders(source: str) -> set[str]:
    """The folders of lobes that a file imports, anywhere in it."""
    folders = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "use absolute imports"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        folders |= {name.split(".")[1] for name in names if name.startswith("lobes.")}
    return folders - {"__version__"}


def test_imported_folders_sees_every_form():
    source = "import lobes.scan\nfrom lobes import nnet\ndef f():\n    from lobes.models.registry import get_model"
    assert imported_folders(source) == {"scan", "nnet", "models"}


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path):
    folder = folder_of(path)
    if folder == "__init__":  # `load` and `separate` import what they need when they are called
        source = path.read_text(encoding="utf-8")
        first = [node for node in ast.parse(source).body if isinstance(node, ast.Import | ast.ImportFrom)]
        assert not imported_folders("\n".join(map(ast.unparse, first))), "`import lobes` must stay light"
        assert imported_folders(source) <= {"inference"}
        return
    wrong = imported_folders(path.read_text(encoding="utf-8")) - ALLOWED[folder] - {folder}
    assert not wrong, f"{folder} must not import from {sorted(wrong)}"


def tracked() -> list[Path]:
    """The files that git holds or would hold."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if names.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in names.stdout.splitlines() if (ROOT / name).is_file()]


def test_no_file_is_long():
    long = {p.name: n for p in CODE if (n := len(p.read_text(encoding="utf-8").splitlines())) > 400}
    assert not long


def test_no_machine_paths_and_no_registry_hosts():
    pattern = re.compile(
        r"/(?:home|root|Users|work|mnt|opt|scratch)/\w|pypi\.(?:org|python)|pythonhosted|index-url(?! )"
    )
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in tracked()
        if path.suffix in TEXT and not path.is_relative_to(ROOT / "tests")
        for match in pattern.finditer(path.read_text(encoding="utf-8"))
    ]
    assert not found


def test_no_audio_and_no_weights():
    binary = {".wav", ".flac", ".mp3", ".ogg", ".ckpt", ".pt", ".pth", ".onnx", ".safetensors"}
    samples = {ROOT / "docs" / "samples" / f"{name}.flac" for name in ("mixture", "enhanced")}
    assert {path for path in tracked() if path.suffix in binary} <= samples


# An overload is a signature of the function below it; what numba compiles is a part of the function that calls it.
NOT_PUBLIC = {"overload", "njit", "intrinsic"}


def decorators(node: ast.ClassDef | ast.FunctionDef) -> set[str]:
    """Names of the decorators, with or without arguments."""
    called = [item.func if isinstance(item, ast.Call) else item for item in node.decorator_list]
    return {ast.unparse(item).rpartition(".")[2] for item in called}


def public_without_docstring(source: str) -> list[str]:
    """Public classes, functions and methods (but overridden `__x__`) that have no docstring."""
    missing = []

    def visit(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, ast.ClassDef | ast.FunctionDef) or child.name.startswith("_"):
                continue
            if decorators(child) & NOT_PUBLIC:
                continue
            if ast.get_docstring(child) is None:
                missing.append(prefix + child.name)
            if isinstance(child, ast.ClassDef):
                visit(child, f"{prefix}{child.name}.")

    visit(ast.parse(source), "")
    return missing


def test_public_without_docstring_finds_them():
    source = (
        'def a(): pass\ndef _b(): pass\nclass C:\n    """Doc."""\n    def d(self): pass\n    def __len__(self): pass'
    )
    assert public_without_docstring(source) == ["a", "C.d"]


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_public_name_has_a_docstring(path):
    source = path.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(source)), "the module needs a docstring"
    assert not public_without_docstring(source)


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_exist_and_have_an_example(name):
    module, _, attributes = name.partition(":")
    value = importlib.import_module(module)
    for attribute in attributes.split("."):
        value = getattr(value, attribute)
    assert doctest.DocTestParser().get_examples(inspect.getdoc(value) or ""), "an example that runs"


def test_the_architecture_page_names_what_is_public():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    names = {name.replace(":", ".") for name in PUBLIC if name.count(".") == name.split(":")[0].count(".")}
    assert not {name for name in names if name not in page}


@pytest.mark.parametrize("module", ["lobes", "lobes.cli", "lobes.errors"])
def test_light_modules_import_nothing_heavy(module):
    heavy = (
        "{'torch', 'speechbrain', 'scipy', 'matplotlib', 'numba', 'torchmetrics', 'pandas', 'optuna', 'tensorboard'}"
    )
    code = f"import sys, {module}; print(*sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == ""


def test_training_imports_stay_quick():
    heavy = "{'speechbrain', 'scipy', 'matplotlib', 'numba', 'torchmetrics'}"
    code = (
        f"import sys, lobes.models, lobes.polsess.mmipc, lobes.objectives; print(*sorted({heavy} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == ""
