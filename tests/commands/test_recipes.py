"""`lobes recipe` and `lobes train`: what they print, copy and start."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from lobes import cli
from lobes.commands.recipes import COPIED
from lobes.config.recipe_folders import all_recipes, recipe_files

ROOT = Path(__file__).parents[2]
RECIPES = sorted(all_recipes())


@pytest.fixture
def lobes(monkeypatch, capsys, tmp_path):
    """Call the command in this process, in an empty folder: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["lobes", *map(str, words)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        return int(caught.value.code or 0), *capsys.readouterr()

    return call


def test_list_has_every_file_with_what_it_is(lobes):
    code, out, _ = lobes("recipe", "list")
    lines = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert code == 0
    assert set(lines) == {f"{path.parents[1].name}/{path.name}" for path in ROOT.glob("recipes/*/hparams/*.yaml")}
    assert all(len(text) > 20 and "base:" not in text for text in lines.values())
    assert lines["PolSESS/spmamba_tiny.yaml"].endswith("some minutes in all")


def test_an_installation_without_recipes_says_so(lobes, monkeypatch, tmp_path):
    monkeypatch.setattr("lobes.config.recipe_folders._PACKAGE", tmp_path / "lobes")
    code, out, err = lobes("recipe", "list")
    assert code == 2 and not out and "expected the recipes in" in err and "reinstall" in err


def test_show_prints_the_page_or_the_file(lobes):
    assert lobes("recipe", "show", "custom")[1] == (ROOT / "recipes" / "custom" / "README.md").read_text()
    file = ROOT / "recipes" / "PolSESS" / "hparams" / "spmamba_tiny.yaml"
    assert lobes("recipe", "show", "PolSESS/spmamba_tiny")[1] == f"# {file}\n{file.read_text()}"


@pytest.mark.parametrize("name", RECIPES)
def test_a_copy_has_all_that_the_training_imports(lobes, name):
    source = all_recipes()[name]
    code, out, _ = lobes("recipe", "copy", name, "mine")
    copied = {path.relative_to("mine").as_posix() for path in Path("mine").rglob("*") if path.is_file()}
    assert code == 0 and copied >= {"train.py", "README.md", *(f"hparams/{p.name}" for p in recipe_files(source))}
    assert all((Path("mine") / path).read_bytes() == (source / path).read_bytes() for path in copied)
    for script in Path("mine").glob("*.py"):
        tree = ast.walk(ast.parse(script.read_text(encoding="utf-8")))
        modules = {node.module for node in tree if isinstance(node, ast.ImportFrom)}
        assert not [m for m in modules if (source / f"{m}.py").is_file() and f"{m}.py" not in copied]
    assert out.splitlines()[1] == f"lobes train {Path('mine', recipe_files(source)[0].name)} --data_folder DATA"


def test_a_copy_overwrites_nothing(lobes):
    Path("mine").mkdir()
    assert lobes("recipe", "copy", "custom", "mine")[0] == 0
    Path("mine", "train.py").write_text("changed")
    code, _, err = lobes("recipe", "copy", "custom", "mine")
    assert code == 2 and "mine is there already" in err and Path("mine", "train.py").read_text() == "changed"
    Path("file").write_text("")
    assert "file is there already" in lobes("recipe", "copy", "custom", "file")[2]


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["recipe", "copy", "Custm", "mine"], "no such recipe: Custm. There are"),
        (["recipe", "show", "custom/none"], "There are custom/spmamba.yaml"),
        (["recipe", "lst"], "Did you mean 'list'? See: lobes recipe --help"),
        (["train", "PolSESS/none.yaml", "--data_folder", "x"], "no such recipe file: PolSESS/none.yaml"),
        (["train", "--data_folder", "x"], "x"),
        (["train"], "Missing argument 'file'. See: lobes train --help"),
    ],
)
def test_mistakes_are_one_line_and_code_2(lobes, words, part):
    code, out, err = lobes(*words)
    assert code == 2 and not out and err.count("\n") == 1 and err.startswith("error: ") and part in err
    assert not list(Path().iterdir())


def test_train_is_the_script_with_every_word_as_it_was_typed(lobes, monkeypatch):
    started = []

    def exec_(program, words):
        started.append((program, words))
        raise SystemExit(7)

    monkeypatch.setattr("os.execv", exec_)
    monkeypatch.setattr("lobes.commands.recipes.EXEC_RETURNS", False)
    words = ["--data_folder", "my data", "--help", "--lr=0.5", "--debug", "-h"]
    assert lobes("train", "custom/spmamba", *words)[0] == 7
    folder = ROOT / "recipes" / "custom"
    script, file = str(folder / "train.py"), str(folder / "hparams" / "spmamba.yaml")
    assert started == [(sys.executable, [sys.executable, script, file, *words])]


def test_where_exec_would_return_train_waits_and_gives_the_exit_code(lobes, monkeypatch):
    monkeypatch.setattr("lobes.commands.recipes.EXEC_RETURNS", True)
    monkeypatch.setattr("subprocess.call", lambda words: 130 if words[1].endswith("train.py") else 0)
    code = lobes("train", ROOT / "recipes" / "custom" / "hparams" / "spmamba.yaml")[0]
    assert code == 130


def run(*words, cwd):
    return subprocess.run([sys.executable, *map(str, words)], cwd=cwd, capture_output=True, text=True)


def test_train_gives_the_exit_codes_of_train_py(tmp_path):
    words = ("custom/spmamba.yaml", "--data_folder", tmp_path / "none", "--batch_size", "0")
    done = run("-m", "lobes.cli", "train", *words, cwd=tmp_path)
    same = run("train.py", "hparams/spmamba.yaml", *words[1:], cwd=ROOT / "recipes" / "custom")
    assert done.returncode == same.returncode == 2 and "batch_size" in done.stderr
    assert done.stderr == same.stderr and done.stdout == same.stdout


def test_a_copy_trains_and_writes_down_a_command_that_can_be_typed(tmp_path, lobes):
    rng = np.random.default_rng(0)
    for split in ("train", "valid", "test"):
        sources = 0.1 * rng.standard_normal((2, 4000))
        for part, signal in {"mix": sources.sum(0), "s1": sources[0], "s2": sources[1]}.items():
            (tmp_path / "data" / split / part).mkdir(parents=True)
            soundfile.write(tmp_path / "data" / split / part / "a.wav", signal, 8000)
    lobes("recipe", "copy", "custom", "mine")
    options = "--preset convtasnet_tiny --max_steps 1 --num_workers 0 --precision fp32 --scoring_workers 0"
    words = ["--data_folder", "data", *options.split(), "--test_metrics", "[si_sdr]", "--batch_size", "1"]
    done = run("-m", "lobes.cli", "train", "mine/spmamba.yaml", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (summary,) = tmp_path.glob("results/**/summary.json")  # in the folder from which it was called
    called = (summary.parent / "hyperparams.yaml").read_text().splitlines()[1]
    assert called.startswith("# command: lobes train mine/hparams/spmamba.yaml --data_folder data ")


def test_the_files_of_a_copy_are_few():
    assert COPIED == ("train.py", "*_prepare.py", "*_metadata.py", "*_download.py", "README.md", "hparams/*.yaml")
