"""The source distribution and the wheel: built, checked, and used where nothing else of the checkout is."""

from __future__ import annotations

import email
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from filelock import FileLock

from lobes import __version__

ROOT = Path(__file__).resolve().parents[1]
LEFT_OUT = {".gitattributes", ".gitignore", ".pre-commit-config.yaml"}  # of the checkout alone, as are .ci and .github
NOT_COPIED = shutil.ignore_patterns(".git", ".venv*", ".cache", ".*_cache", ".hypothesis", "*.egg-info", "__pycache__")
BIN = "Scripts" if os.name == "nt" else "bin"


def ignored(folder: str, names: list[str]) -> set[str]:
    """What a copy of the checkout leaves out: its history, environments, and what was made in it."""
    made = {"results", "build", "dist", "data"} if Path(folder).parent in (ROOT.parent, ROOT / "recipes") else set()
    return set(NOT_COPIED(folder, names)) | made


def python(*words: object, cwd: Path) -> None:
    """Run a module of this environment; what it prints is shown when it fails."""
    done = subprocess.run([sys.executable, "-m", *map(str, words)], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> Path:
    """A folder with the source distribution and the wheel that is built from it, both checked by twine.

    Processes that share the tests build it once.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "built"
    folder.mkdir(exist_ok=True)
    with FileLock(folder / "lock"):
        source = folder / "source"  # building writes next to setup.py, where other tests look
        if not (folder / "done").exists():
            shutil.copytree(ROOT, source, ignore=ignored)
            python("build", "--no-isolation", "--outdir", folder, source, cwd=folder)
            python("twine", "check", "--strict", *folder.glob("lobes-*"), cwd=folder)
            (folder / "done").touch()
    return folder


@pytest.fixture(scope="session")
def wheel(built) -> Path:
    return next(built.glob("*.whl"))


def tracked() -> set[str]:
    """The files that git holds or would hold; of a copy without its history, all files."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode == 0:
        return {name for name in done.stdout.splitlines() if (ROOT / name).is_file()}
    found = {path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file()}
    return {path.as_posix() for path in found if not {"__pycache__", "lobes.egg-info"} & set(path.parts)}


def test_the_source_distribution_holds_every_file(built):
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    files = {name for name in tracked() if not name.startswith((".ci/", ".github/"))}
    assert files - LEFT_OUT <= held
    made = {name for name in held if name.startswith(("lobes.egg-info", "PKG-INFO", "setup.cfg"))}
    folders = {parent.as_posix() for name in held for parent in Path(name).parents}
    assert held - files - made - folders - {""} == set()


def test_the_wheel_holds_the_package_the_recipes_and_what_they_share(wheel):
    held = set(zipfile.ZipFile(wheel).namelist())
    names = {name for name in tracked() if name.startswith("lobes/")}
    names |= {f"lobes/{name}" for name in tracked() if name.startswith(("recipes/", "hparams_shared/"))}
    assert names <= held
    assert all(name.startswith(("lobes/", f"lobes-{__version__}.dist-info/")) for name in held)
    assert {f"lobes/reports/templates/report.{e}" for e in ("html", "css")} <= held


def test_the_metadata_are_complete(wheel):
    with zipfile.ZipFile(wheel) as archive:
        info = f"lobes-{__version__}.dist-info"
        found = email.message_from_string(archive.read(f"{info}/METADATA").decode())
        assert b"Apache License" in archive.read(f"{info}/licenses/LICENSE")
    assert (found["Version"], found["License-Expression"]) == (__version__, "Apache-2.0")
    assert found["Summary"] and found["Author"] and found["Keywords"] and found["Requires-Python"] == ">=3.10,<3.13"
    assert found["License-File"] == "LICENSE" and "# Lobes" in found.get_payload()
    assert not [line for line in found.get_all("Classifier") if line.startswith("License ::")]
    assert len(found.get_all("Classifier")) > 8
    assert all(line.partition(", ")[2].startswith("https://") for line in found.get_all("Project-URL"))


class Installed:
    """The wheel in an environment of its own, used from an empty folder."""

    def __init__(self, environment: Path, folder: Path) -> None:
        self.environment, self.folder = environment, folder
        folder.mkdir()

    def __call__(self, *words: object, program: str = "lobes") -> str:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        clean["PYTHONDONTWRITEBYTECODE"] = "1"
        command = [str(self.environment / BIN / program), *map(str, words)]
        done = subprocess.run(command, cwd=self.folder, env=clean, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="session")
def installed(wheel, tmp_path_factory) -> Installed:
    """The wheel alone, with the dependencies of this environment, but not its Lobes."""
    folder = tmp_path_factory.mktemp("installed")
    python("venv", "--without-pip", folder / "env", cwd=folder)
    alone = ("--quiet", "--no-deps", "--no-index", "--ignore-installed")
    python("pip", "--python", folder / "env", "install", *alone, wheel, cwd=folder)
    (site,) = (path.parent for path in (folder / "env").rglob("lobes-*.dist-info"))
    paths = sysconfig.get_paths()
    others = sorted({paths["purelib"], paths["platlib"]})
    (site / "dependencies.pth").write_text("\n".join(others) + "\n", encoding="utf-8")
    return Installed(folder / "env", folder / "empty")


def use(lobes: Installed) -> None:
    """What a stranger does first: look, then train a network on their own files."""
    code = "import lobes; print(lobes.__file__)"
    assert Path(lobes("-c", code, program="python").strip()).is_relative_to(lobes.environment)
    assert lobes("--version") == f"lobes {__version__}\n"
    names = {line.split()[0] for line in lobes("recipe", "list").splitlines()}
    assert names == {f"{path.parents[1].name}/{path.name}" for path in ROOT.glob("recipes/*/hparams/*.yaml")}
    assert lobes("models").split() == sorted(path.stem for path in (ROOT / "hparams_shared/models").glob("*.yaml"))
    rng = np.random.default_rng(0)
    for split in ("train", "valid", "test"):
        sources = 0.1 * rng.standard_normal((2, 4000))
        for part, signal in {"mix": sources.sum(0), "s1": sources[0], "s2": sources[1]}.items():
            (lobes.folder / "data" / split / part).mkdir(parents=True)
            soundfile.write(lobes.folder / "data" / split / part / "a.wav", signal, 8000)
    options = "--preset convtasnet_tiny --max_steps 2 --batch_size 1 --num_workers 0 --precision fp32 --device cpu"
    words = ["--data_folder", "data", *options.split(), "--test_metrics", "[si_sdr]", "--scoring_workers", 0]
    lobes("train", "custom/spmamba.yaml", *words)
    (summary,) = lobes.folder.glob("results/**/summary.json")
    assert json.loads(summary.read_text())["n"] == 1
    (start,) = map(json.loads, (summary.parent / "starts.jsonl").read_text().splitlines())
    assert start["command"].startswith("lobes train custom/spmamba.yaml --data_folder data --preset convtasnet_tiny ")
    lobes("separate", summary.parent, "data/test/mix/a.wav", "-o", "out")
    assert len(list((lobes.folder / "out").glob("*.wav"))) == 2


def test_an_installed_wheel_is_enough(installed):
    use(installed)


@pytest.mark.slow
def test_a_wheel_in_an_empty_environment_is_enough(wheel, tmp_path):
    """As above, with the dependencies that the wheel itself asks for: about 3 GB from the package registry."""
    python("venv", tmp_path / "env", cwd=tmp_path)
    lobes = Installed(tmp_path / "env", tmp_path / "empty")
    try:
        lobes("-m", "pip", "download", "-q", "--no-deps", "-d", tmp_path / "probe", "filelock", program="python")
    except AssertionError:
        pytest.skip("no package registry can be reached")
    lobes("-m", "pip", "install", "-q", "--disable-pip-version-check", wheel, program="python")
    use(lobes)
