"""`python -m lobes.compat.mamba_ssm`: what it runs, what it refuses, and networks of others that train with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lobes.compat.mamba_ssm.__main__ import main

THEIRS = Path(__file__).parent / "theirs"
ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: object, folder: Path = ROOT) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "lobes.compat.mamba_ssm", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.fixture
def refused(clean, capsys, monkeypatch):
    """Run a command that ends before a script starts; return its exit code and output."""
    monkeypatch.setattr(sys, "argv", sys.argv)

    def refuse(*given: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main(list(given))
        return (caught.value.code, *capsys.readouterr())

    return refuse


def test_usage(refused):
    assert refused()[0] == 2
    code, out, err = refused("--help")
    assert code == 0 and out.startswith("usage: python -m lobes.compat.mamba_ssm") and not err


@pytest.mark.parametrize(
    "given, line",
    [
        (["nothing.py"], "nothing.py: no such file; expected a Python script"),
        (["-m"], "-m: expected the name of a module after it"),
        (["--shadows", "train.py"], "--shadows: no such option; expected --shadow, -m MODULE or a script"),
    ],
)
def test_a_mistake_is_one_line(refused, given, line):
    code, out, err = refused(*given)
    assert code == 2 and not out and err.startswith(f"error: {line}") and err.count("\n") == 1


def test_an_installed_package_is_one_line(refused, tmp_path):
    (tmp_path / "train.py").write_text("")
    (tmp_path / "mamba_ssm.py").write_text("")  # next to the script, as in repositories that bring their own
    code, _, err = refused(str(tmp_path / "train.py"))
    assert code == 2 and f"({tmp_path / 'mamba_ssm.py'})" in err and "--shadow" in err


def test_networks_of_others_train_unmodified_and_what_is_missing_has_a_place(tmp_path):
    """One process: their script, and then an import that is not offered, in a module of its own."""
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "later.py").write_text("\nfrom mamba_ssm import Mamba2\n")
    (tmp_path / "package" / "all.py").write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(THEIRS)!r})\n"
        "assert sys.argv[1:] == ['--steps', '12'] and __name__ == '__main__', (sys.argv, __name__)\n"
        "import train\n"
        "train.main()\n"
        "import package.later\n"
    )
    done = run("-m", "package.all", "--steps", "12", folder=tmp_path)
    losses = json.loads(done.stdout)
    assert losses.keys() == {"dual_path", "enhancer", "patches"}, done.stderr
    assert all(last < 0.7 * first for first, last in losses.values())
    assert done.returncode == 2 and "Traceback" not in done.stderr
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith("error: mamba_ssm.Mamba2 is not offered")
    assert line.endswith(f"({tmp_path / 'package' / 'later.py'}, line 2)")


@pytest.mark.slow
def test_a_script_with_workers_that_start_anew():
    """A spawned worker runs the script's imports once more, as every worker does on macOS and Windows."""
    done = run(THEIRS / "train.py", "--steps", 1, "--workers", 1, "--networks", "enhancer")
    assert done.returncode == 0 and json.loads(done.stdout).keys() == {"enhancer"}, done.stderr


@pytest.mark.parametrize("name", ["dual_path", "enhancer", "patches"])
def test_their_networks_give_the_numbers_of_the_loop_over_time(stand_in, monkeypatch, name):
    monkeypatch.syspath_prepend(THEIRS)
    for module in ("dual_path", "enhancer", "patches", "train"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    import train

    network, loss_of, inputs, targets = train.examples(name, 2)
    found = []
    for backend in ("auto", "reference"):
        monkeypatch.setenv("LOBES_SCAN_BACKEND", backend)
        network.zero_grad()
        loss = loss_of(network(inputs), targets)
        loss.backward()
        found.append({"loss": loss.detach(), **{key: weight.grad for key, weight in network.named_parameters()}})
    for key, expected in found[1].items():
        assert torch.allclose(found[0][key], expected, rtol=1e-3, atol=1e-5 * float(expected.abs().max()) + 1e-7), key
    for module in ("dual_path", "enhancer", "patches", "train"):
        monkeypatch.delitem(sys.modules, module, raising=False)
