"""Fuzz targets: options on the command line, and recipe files, which say what runs or are refused in one line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NamedTuple

from fuzz_changes import EVIL, STRANGE, Rng, change_text

from lobes.config import read_recipe
from lobes.training.checks import check_objects
from lobes.training.launch import plain_settings, read_command_line

ROOT = Path(__file__).resolve().parents[1]
RECIPES = ("custom/spmamba", "PolSESS/spmamba_tiny", "VoiceBank/mbs_net", "VoiceBank/bsrnn_mini", "LibriMix/spmamba")
TEXTS = (*STRANGE, "yes", "no", "on", "off", "True", "FALSE", "None", "1.5", "-0", "+3", "1e3", "1e-3", "0x10",
         "1_000", "٣", ".5",
         "1,5", "1 2", "(1, 2)", "[1, 2", "[a, b]", "[[[[", "{a: 1}", "{a}", "!ref <lr>", "<lr>",
         "!new:os.system [true]", "x\ny",
         "-", "--", "--lr", "#", "a #b", "a: b", "&a", "*a", "|", ">", "\\", "%", "@", "`", "\ud800", "\r",
         "\x1b[0m", "fp16",
         "1", "2", "3", "7", "0.01", "0.5", "true", "false", "null", "fp32", "[0.9, 1.1]", "[pesq]", "name",
         "cuda:99", "gpu", "all", "-inf", "NaN", "1e400", "9223372036854775808", "4294967296", "2**3")  # fmt: skip


class Words(NamedTuple):
    """A command line."""

    argv: list[str]
    what: str


class Files(NamedTuple):
    """The files of a recipe: name -> text."""

    files: dict[str, str]
    what: str


class Target:
    """Options of recipes with texts of all kinds."""

    name = "options"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.recipes = [str(recipe_path(name)) for name in RECIPES]
        self.keys = {file: [*read_recipe(file).kinds, "device", "debug", "max_grad_norm"] for file in self.recipes}

    def change(self, rng: Rng) -> Words:
        """One recipe, with one option or two."""
        file = self.recipes[int(rng.integers(len(self.recipes)))]
        argv = ["--data_folder", str(self.folder)]
        for _ in range(int(rng.choice([1, 1, 1, 2]))):
            key, text = str(rng.choice(self.keys[file])), str(rng.choice(TEXTS))
            changed = key[:-1] + str(rng.choice(list("xyz_"))) if rng.random() < 0.1 else key
            argv += [f"--{changed}={text}"] if rng.random() < 0.3 else [f"--{changed}", text]
        argv = argv if rng.random() < 0.9 else argv[: int(rng.integers(len(argv)))]
        return Words([file, *argv], " ".join([Path(file).stem, *argv[2:]])[:200])

    def run(self, case: Words) -> str:
        """Resolve the recipe: what is wrong with the result, or nothing."""
        settings = plain_settings(read_command_line(case.argv)[0])
        typed = dict(pairs(case.argv[1:]))
        wrong = [
            f"{key} is {settings[key]!r}, typed was {text!r}"
            for key, text in typed.items()
            if lost(settings, key, text)
        ]
        return ", ".join(wrong)

    def command(self, case: Words) -> list[str]:
        """The same by the recipe's own program."""
        return [str(Path(case.argv[0]).parents[1] / "train.py"), *case.argv]


class Recipes:
    """Recipe files with a line, a word or a value changed; objects are made of what is let through."""

    name = "recipes"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shared = ROOT / "hparams_shared"
        self.base = (ROOT / "recipes/PolSESS/hparams/spmamba.yaml").read_text(encoding="utf-8")
        self.base = self.base.replace("../../../hparams_shared", str(shared))
        self.tiny = (ROOT / "recipes/PolSESS/hparams/spmamba_tiny.yaml").read_text(encoding="utf-8").replace(
            "base: spmamba.yaml", f"base: {folder}/base.yaml")  # fmt: skip
        self.shared = (shared / "training.yaml").read_text(encoding="utf-8")
        self.separation = (shared / "separation.yaml").read_text(encoding="utf-8").replace(
            "base: training.yaml", f"base: {folder}/training.yaml")  # fmt: skip

    def change(self, rng: Rng) -> Files:
        """The files of a recipe, one of which is changed."""
        files = {"base": self.base, "tiny": self.tiny, "training": self.shared, "separation": self.separation}
        files["base"] = files["base"].replace(
            str(ROOT / "hparams_shared") + "/separation.yaml", f"{self.folder}/separation.yaml"
        )
        name = str(rng.choice(["base", "tiny", "training", "separation"]))
        files[name], what = change_text(rng, files[name], (*EVIL, *EVIL, *STRANGE))
        return Files(files, f"{name}.yaml: {what}"[:200])

    def write(self, case: Files, folder: Path) -> Path:
        """Put the files into a folder."""
        for name, text in case.files.items():
            (folder / f"{name}.yaml").write_text(text, encoding="utf-8", errors="surrogatepass")
        return folder / "tiny.yaml"

    def run(self, case: Files) -> str:
        """Resolve the recipe and make its objects."""
        from lobes.config import load

        argv = [str(self.write(case, self.folder)), "--data_folder", str(self.folder)]
        text = read_command_line([*argv, "--output_folder", str(self.folder / "run")])[0]
        hparams = load(text)
        check_objects(hparams)
        missing = [key for key in ("batch_size", "modules", "seed") if key not in hparams]
        return f"no {', '.join(missing)}" if missing else ""

    def command(self, case: Files) -> list[str]:
        """The same by the recipe's own program."""
        argv = [str(self.write(case, self.folder)), "--data_folder", str(self.folder)]
        return [str(ROOT / "recipes/PolSESS/train.py"), *argv, "--output_folder", str(self.folder / "run")]


def recipe_path(name: str) -> Path:
    """`custom/spmamba` -> its file."""
    recipe, _, stem = name.partition("/")
    return ROOT / "recipes" / recipe / "hparams" / f"{stem}.yaml"


def pairs(argv: list[str]) -> list[tuple[str, str]]:
    """The options of a command line that has been accepted."""
    found, rest = [], list(argv)
    while rest:
        word = rest.pop(0)
        name, equals, text = word[2:].partition("=")
        takes = not equals and rest and not rest[0].startswith("--")
        found.append((name, text if equals else rest.pop(0) if takes else "true"))
    return found


def lost(settings: dict[str, Any], key: str, text: str) -> bool:
    """Whether a setting is not what was typed; lists are not compared."""
    if key not in settings or text.startswith(("[", "{")):
        return False
    value = settings[key]
    if value is None or isinstance(value, bool):
        return text not in ("null", "true", "True", "TRUE", "false", "False", "FALSE")
    if isinstance(value, int | float):
        return float(text) != value
    return str(value) != text


if __name__ == "__main__":
    sys.exit("run scripts/fuzz.py --target options")
