"""A hostile YAML file in a model's folder runs nothing and reads nothing, whichever way it is opened.

`CANARY` in a hostile text stands for a file that appears if it runs. That each text would run is tested as well.
"""

from __future__ import annotations

import itertools
import pickle
import random
import shutil
import subprocess
import sys
from pathlib import Path

import hyperpyyaml.core
import numpy as np
import pytest
import ruamel.yaml.resolver
import torch

from lobes.cli import app
from lobes.data import audio
from lobes.errors import UserError
from lobes.inference import Separator, export_pretrained
from lobes.runs import callables
from lobes.runs.checkpoints import write_meta
from lobes.runs.continuation import admit
from lobes.runs.fine_tune import start_from
from lobes.runs.folder import read_run
from lobes.runs.safe_yaml import load_file, wishes_of

GOOD = "a: 1\nb: !ref <a> + 1\nc: {d: (1, 2)}\n"
# The six ways in which HyperPyYAML runs code or reads a file by design.
ROUTES = {
    "apply": "!apply:os.system ['touch CANARY']",
    "new": "!new:subprocess.Popen [[touch, CANARY]]",
    "python": "!!python/object/apply:os.system ['touch CANARY']",
    "applyref": "!applyref:os.system ['touch CANARY']",
    "tuple": '"(!!python/object/apply:os.system [touch CANARY])"',
    "include": "!include:/etc/hostname",
}
# Other words for the same, as whole files.
VARIANTS = {
    "verbatim tag": "x: !<!apply:os.system> ['touch CANARY']",
    "escaped tag": "x: !%61pply:os.system ['touch CANARY']",
    "escaped name": "x: !apply:os%2Esystem ['touch CANARY']",
    "tag directive": "%TAG !e! !apply:\n---\nx: !e!os.system ['touch CANARY']",
    "redirected !!": "%TAG !! tag:yaml.org,2002:python/object/\n---\nx: !!apply:os.system ['touch CANARY']",
    "redirected !": "%TAG ! tag:yaml.org,2002:python/object/\n---\nx: !apply:os.system ['touch CANARY']",
    "version directive": "%YAML 1.1\n---\nx: !apply:os.system ['touch CANARY']",
    "verbatim python tag": "x: !<tag:yaml.org,2002:python/object/apply:os.system> ['touch CANARY']",
    "in a key": "? !apply:os.system ['touch CANARY']\n: 1",
    "python in a key": "? !!python/object/apply:os.system ['touch CANARY']\n: 1",
    "tuple as a key": "? (!!python/object/apply:os.system [touch CANARY])\n: 1",
    "tuple by tag": "x: !tuple '(!!python/object/apply:os.system [touch CANARY])'",
    "tuple deep in a list": "x: [[[{y: '(!!python/object/apply:os.system [touch CANARY])'}]]]",
    "tuple in a reference": "y: '!!python/object/apply:os.system [touch CANARY]'\nx: !ref (<y>)",
    "tag in a reference": "y: os.system\nx: !ref <z>\nz: !apply:os.system ['touch CANARY']",
    "behind an alias": "x: &a !apply:os.system ['touch CANARY']\ny: *a",
    "in a merge": "<<: {x: !apply:os.system ['touch CANARY']}",
    "in a copy": "x: !copy <y>\ny: [!apply:os.system ['touch CANARY']]",
    "below an allowed class": (
        "x: !new:speechbrain.utils.parameter_transfer.Pretrainer\n"
        "  loadables: {a: !apply:os.system ['touch CANARY']}"
    ),
    "in a hidden key": "__x: !apply:os.system ['touch CANARY']",
    "new with arguments by name": "x: !new:subprocess.Popen {args: [touch, CANARY]}",
    "python new": "x: !!python/object/new:subprocess.Popen [[touch, CANARY]]",
    "applyref with arguments by name": "x: !applyref:os.system {command: touch CANARY}",
    "applyref in a key's value of a list": "x: [1, [2, !applyref:os.system ['touch CANARY']]]",
    "eval by name": "x: !apply:builtins.eval [\"__import__('os').system('touch CANARY')\"]",
    "through an allowed module": "x: !apply:random._os.system ['touch CANARY']",
    "through the first key of exports": "x: !apply:lobes.exported.Lobes%20(x).errors.os.system ['touch CANARY']",
    "partial that a class calls": (
        "x: !new:speechbrain.nnet.containers.Sequential\n  input_shape: [1]\n"
        "  layer: !name:os.system {command: touch CANARY}"
    ),
}  # fmt: skip
# Not code by themselves: reached, looked up, read or grown.
OTHERS = {
    "attribute": "x: !new:lobes.exported.MixAndOnes\ny: !ref <x.__class__>",
    "attribute chain": "x: !new:lobes.exported.MixAndOnes\ny: !ref <x.forward.__globals__>",
    "attribute by call": "x: !apply:getattr [1, __class__]",
    "attribute by a copy": "x: !new:lobes.exported.MixAndOnes\ny: !copy <x.__dict__>",
    "module": "x: !module:os ''",
    "name": "x: !name:os.system ''",
    "python name": "x: !!python/name:os.system ''",
    "python module": "x: !!python/module:os ''",
    "prefix of an allowed name": "x: !new:lobes.models.spmamba.SPMamba.__init__ []",
    "longer than an allowed name": "x: !new:lobes.models.spmamba.torch.nn.Linear [1, 1]",
    "function of an allowed kind": "x: !new:torch.manual_seed [1]",
    "class by apply": "x: !apply:lobes.exported.MixAndOnes []",
    "include above": "x: !include:../secret.yaml",
    "include above by a detour": "x: !include:part/../../secret.yaml",
    "include through a link": "x: !include:link.yaml",
    "include of nothing": "x: !include:none.yaml",
    "hooks": (
        "x: !new:speechbrain.utils.parameter_transfer.Pretrainer\n"
        "  custom_hooks: {a: !name:torch.hamming_window}"
    ),
    "conditions": "x: !new:speechbrain.utils.parameter_transfer.Pretrainer {conditions: {a: true}}",
    "paths": "x: !new:speechbrain.utils.parameter_transfer.Pretrainer {paths: {a: /etc/passwd}}",
    "paths above": "x: !new:speechbrain.utils.parameter_transfer.Pretrainer {paths: {a: b/../../c.ckpt}}",
    "address": "x: !new:speechbrain.utils.parameter_transfer.Pretrainer {paths: {a: 'https://x.org/a.ckpt'}}",
    "address by reference": (
        "w: 'https://x.org'\n"
        "x: !new:speechbrain.utils.parameter_transfer.Pretrainer {paths: {a: !ref <w>/a.ckpt}}"
    ),
    "home": "x: !new:speechbrain.utils.parameter_transfer.Pretrainer {collect_in: ~/x}",
    "by position": "x: !new:speechbrain.utils.parameter_transfer.Pretrainer [/tmp/x]",
    "layer by name": "x: !new:speechbrain.lobes.models.dual_path.SBRNNBlock [1, 1, 1, pack_padded_sequence]",
    "hook with arguments": "x: !name:lobes.exported.load_strictly {path: /etc/passwd}",
    "seed of an object": "x: !apply:random.seed [!new:lobes.exported.MixAndOnes ]",
    "power": "x: 9\ny: !ref <x> ** 9 ** 9",
    "product of texts": "x: 1\ny: !ref '<x> * \"a\" * 999999999'",
    "aliases that grow": "a: &a [1,2,3,4,5,6,7,8,9]\n"
    + "\n".join(f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]" for old, new in itertools.pairwise("abcdefgh")),
    "copies that grow": "a: [1,2,3,4,5,6,7,8,9]\n"
    + "\n".join(f"{new}: [{', '.join([f'!copy <{old}>'] * 9)}]" for old, new in itertools.pairwise("abcdefgh")),
    "texts that grow": "a: 1234567890\n"
    + "\n".join(f"{new}: !ref {f'<{old}>' * 10}" for old, new in itertools.pairwise("abcdefgh")),
    "texts that grow behind references": "t0: {x: 1234567890}\n"
    + "\n".join(f"r{n}: !ref <t{n}>\nt{n + 1}:\n  x: !ref {f'<r{n}[x]>' * 10}" for n in range(9)),
    "copies that grow behind references": "t0: {x: [1, 2, 3, 4, 5, 6, 7, 8, 9]}\n"
    + "\n".join(f"r{n}: !ref <t{n}>\nt{n + 1}:\n  x:\n" + f"  - !copy <r{n}[x]>\n" * 99 for n in range(9)),
    "includes that grow": "\n".join(f"k{n}: !include:a0.yaml" for n in range(9)),
    "format by number": "x: 3\ny: !ref \"'%0999999999d' % <x>\"",
    "format of a text": "x: 3\ny: !ref '\"%999999999s\" % <x>'",
    "directive behind a mark": "\ufeff%YAML 1.1\n---\nx: 1",
    "tag before nothing": 'x: !!int ""',
    "tag before another word": "x: !!bool maybe",
    "itself": "x: &a [*a]",
    "a circle": "x: !ref <y>\ny: !ref <x>",
    "depth": f"x: {'[' * 5000}{']' * 5000}",
    "depth without end": f"x: {'[' * 20000}",
    "two documents": "x: 1\n---\ny: 2",
    "a key twice": "x: 1\nx: 2",
    "no text": "x: \x00",
    "unknown tag": "x: !thing 1",
    "set": "x: !!set {a, b}",
    "binary": "x: !!binary aGk=",
    "size": "x: " + "a" * 300_000,
}  # fmt: skip


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Short paths: HyperPyYAML breaks long lines, and takes no text of two lines for a tuple."""
    monkeypatch.chdir(tmp_path)


def put(folder: Path, text: str) -> Path:
    path = folder / "model" / "hyperparams.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text.replace("CANARY", "canary"), encoding="utf-8")
    (folder / "secret.yaml").write_text("password: 1234\n")
    link = path.with_name("link.yaml")
    if not link.is_symlink():
        link.symlink_to(folder / "secret.yaml")
        (path.parent / "part").mkdir()
        for number in range(9):
            (path.parent / f"a{number}.yaml").write_text(
                "".join(f"k{one}: !include:a{number + 1}.yaml\n" for one in range(9))
            )
        (path.parent / "a9.yaml").write_text("a: 1\n")
    return path


def first_resolvers() -> list:
    """What ruamel.yaml resolves before HyperPyYAML has added to it."""
    return [one for one in ruamel.yaml.resolver.implicit_resolvers if one[1] != "!tuple"]


def ran(folder: Path) -> bool:
    """Whether the canary is there; a process that was started gets a moment."""
    for child in list(getattr(subprocess, "_active", ())):
        child.wait()
    return (folder / "canary").exists()


@pytest.mark.parametrize("text", [f"x: {value}" for value in ROUTES.values()] + list(VARIANTS.values()))
def test_S01_code_in_a_file_is_refused_and_not_run(text: str, tmp_path: Path):
    path = put(tmp_path, text)
    with pytest.raises(UserError, match=r"hyperparams\.yaml(, line \d+)?: ") as caught:
        load_file(path)
    assert not ran(tmp_path)
    assert "\n" not in str(caught.value) and "password" not in str(caught.value)
    assert "--trust" in str(caught.value) or "directive" in str(caught.value)


@pytest.mark.parametrize("case", OTHERS)
def test_S01_what_reaches_reads_or_grows_is_refused(case: str, tmp_path: Path):
    path = put(tmp_path, OTHERS[case])
    with pytest.raises(UserError, match=r"(hyperparams|a\d)\.yaml") as caught:
        load_file(path)
    assert "\n" not in str(caught.value) and "password" not in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("route", [route for route in ROUTES if route != "include"])
def test_S01_the_routes_run_with_trust_which_is_logged(route: str, tmp_path: Path, caplog, monkeypatch):
    path = put(tmp_path, f"{GOOD}x: {ROUTES[route]}\n")
    monkeypatch.setattr(ruamel.yaml.resolver, "implicit_resolvers", first_resolvers())  # as in a new process
    if route == "new":
        load_file(path, trust=True)["x"].wait()
    else:
        load_file(path, trust=True)
    assert ran(tmp_path)
    assert "trusted, so it may " in caplog.text and str(path) in caplog.text
    assert {"new": "subprocess.Popen", "tuple": "as code"}.get(route, "run os.system") in caplog.text


@pytest.mark.parametrize(
    "text", ["!new:a%1b[2Jb%0A []", '!ref "<\\e]0;x\\a>"', "!include:%1b[2J ''", '!ref "<\\u202ea>"']
)
def test_S01_no_name_in_a_file_steers_the_screen(text: str, tmp_path: Path, caplog):
    path = put(tmp_path, f"x: {text}")
    with pytest.raises(UserError, match=r"\\(x1b|u202e)") as caught:
        load_file(path)
    assert str(caught.value).isprintable()
    with pytest.raises(Exception, match="."):
        load_file(path, trust=True)
    assert all(record.getMessage().isprintable() for record in caplog.records)


def test_S01_the_text_that_is_looked_at_is_the_one_that_is_used(tmp_path: Path, monkeypatch):
    """Somebody else may write the file while it is read."""
    from lobes.runs import safe_yaml

    path, read = put(tmp_path, GOOD), safe_yaml.read_text

    def read_and_change(file: Path) -> str:
        text = read(file)
        file.write_text("x: !applyref:os.system ['touch canary']")
        return text

    monkeypatch.setattr(safe_yaml, "read_text", read_and_change)
    assert load_file(path)["b"] == 2 and not ran(tmp_path)


def test_S01_trust_of_a_file_that_asks_for_nothing_says_nothing(tmp_path: Path, caplog):
    assert load_file(put(tmp_path, GOOD), trust=True) == load_file(put(tmp_path, GOOD))
    assert not caplog.records


def test_the_message_names_file_line_wish_and_trust(tmp_path: Path):
    path = put(tmp_path, f"{GOOD}x: !new:my_networks.Net\ny: {ROUTES['apply']}\nz: !new:my_networks.Net {{a: 1}}\n")
    with pytest.raises(UserError) as caught:
        load_file(path)
    assert str(caught.value).startswith(f"{path}, line 4: it wants to run my_networks.Net, and 1 more (run os.system).")
    assert str(caught.value).endswith("allow it: --trust on the command line, trust=True in Python.")


def test_a_good_file_gives_what_hyperpyyaml_gives(tmp_path: Path):
    text = (
        "a: 3\no: (1, a, 2.5, yes, 1e-3, 010)\np: '(1, 2)'\nq: |\n  (1, 2)\nb: !ref <a> * 2 - 1\n"
        "c: [1.0, yes, null, 'x', 1e-3]\nd: {e: !ref <c>, f: !ref n<a>/<b>}\n"
        "__g: !apply:torch.manual_seed [!ref <a>]\nh: !name:torch.hamming_window {periodic: false}\n"
        "i: &i [1, 2]\nj: *i\nk: !copy <i>\nl: !new:lobes.exported.EnhanceModel {model: !ref <m>}\n"
        "m: !new:lobes.exported.MixAndOnes\nn: !ref <l.model>\n"
    )
    path = put(tmp_path, text)
    assert not wishes_of(path, text)
    # In a process of its own: HyperPyYAML's first reading of a text in quotes and brackets differs from its others.
    code = "import pickle, sys, hyperpyyaml; h = hyperpyyaml.load_hyperpyyaml(open(sys.argv[1])); \\\n"
    code += "sys.stdout.buffer.write(pickle.dumps({k: v for k, v in h.items() if k not in 'lmn'}))"
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, check=True)
    expected = pickle.loads(done.stdout)
    made = load_file(path)
    assert [key for key in made if key not in "lmn"] == list(expected)
    simple = "abcdijkopq"
    assert made["p"] == (1, 2) and made["q"] == "(1, 2)\n"
    assert all(made[key] == expected[key] and type(made[key]) is type(expected[key]) for key in simple)
    assert made["d"]["e"] is made["c"] and made["j"] is made["i"] and made["k"] is not made["i"]
    assert made["n"] is made["m"] is made["l"].model and made["h"].keywords == {"periodic": False}


def test_overrides_are_the_callers_own(tmp_path: Path):
    path = put(tmp_path, GOOD)
    assert load_file(path, {"a": 5})["b"] == 6
    assert str(load_file(path, "a: !new:fractions.Fraction [1, 2]\nb: 1")["a"]) == "1/2"
    path.write_text(f"{GOOD}x: !new:fractions.Fraction [1, 2]\n")
    with pytest.raises(UserError, match="run fractions.Fraction"):
        load_file(path, {"a": 5})


def test_includes_stay_in_the_folder_and_are_looked_at_too(tmp_path: Path):
    path = put(tmp_path, "x: !include:part/inner.yaml {b: 2}\n")
    inner = path.parent / "part" / "inner.yaml"
    inner.write_text("a: 1\nb: 1\n")
    assert load_file(path) == {"x": {"a": 1, "b": 2}}
    inner.write_text("a: 1\nb: 1\nc: !apply:os.system ['x']\n")
    with pytest.raises(UserError, match=r"inner\.yaml, line 3: it wants to run os\.system"):
        load_file(path)
    inner.write_text("b: !include:../hyperparams.yaml\n")
    with pytest.raises(UserError, match=r"read \.\./hyperparams\.yaml"):
        load_file(path)
    inner.write_text("b: !include:inner.yaml\n")
    path.write_text("x: !include:part/inner.yaml\n")
    with pytest.raises(UserError, match="read inner.yaml|includes itself"):
        load_file(path)


def test_includes_of_the_hubs_cache_are_links_to_its_own_files(tmp_path: Path):
    snapshot, blobs = tmp_path / "m" / "snapshots" / "abc", tmp_path / "m" / "blobs"
    for folder in (snapshot, blobs):
        folder.mkdir(parents=True)
    (blobs / "1").write_text("x: !include:part.yaml\n")
    (blobs / "2").write_text("a: 1\n")
    (snapshot / "hyperparams.yaml").symlink_to("../../blobs/1")
    (snapshot / "part.yaml").symlink_to("../../blobs/2")
    assert load_file(snapshot / "hyperparams.yaml") == {"x": {"a": 1}}


# ------------------------------------------------------------------------------------------------ the list
def shipped_names() -> set[str]:
    """`!new:a.B` of all YAML files that the repository ships."""
    import re

    root = Path(__file__).resolve().parents[2]
    files = [*root.glob("hparams_shared/**/*.yaml"), *root.glob("recipes/**/*.yaml")]
    return {tag for file in files for tag in re.findall(r"!(?:new|name|apply|applyref):[\w.]+", file.read_text())}


def test_the_list_holds_all_that_shipped_files_name():
    listed = {kind + name for kind, known in callables.TRAINING.items() for name in known}
    listed |= {f"!applyref:{name}" for name in callables.RESOLVED}
    assert len(shipped_names()) > 20
    assert shipped_names() <= listed, "add the new names to lobes/runs/callables.py, after a look at their arguments"


def test_the_list_holds_all_public_names_of_folders():
    import lobes.exported

    listed = {name for known in callables.TRAINING.values() for name in known} | callables.RESOLVED
    assert {f"lobes.exported.{name}" for name in lobes.exported.__all__} <= listed


@pytest.mark.parametrize("kind", ["!new:", "!name:", "!apply:"])
def test_each_listed_name_is_what_its_kind_calls(kind: str):
    import inspect
    import pydoc

    for name in callables.TRAINING[kind] - {"lobes_test_stand_in.Tiny", "lobes_test_stand_in.Unsaved"}:
        found = pydoc.locate(name)
        assert inspect.isclass(found) if kind == "!new:" else callable(found), name


# ------------------------------------------------------------------------------------------------ every entry
@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    for name in ("mix", "s1", "s2"):
        audio.write(tmp_path / f"{name}.wav", np.full(800, 0.1, np.float32), 8000)
    path = tmp_path / "test.csv"
    path.write_text("ID,duration,mix_wav,s1_wav,s2_wav\na,0.1,mix.wav,s1.wav,s2.wav\n")
    return path


def command(*words: object) -> None:
    app(list(map(str, words)), prog_name="lobes", standalone_mode=False)


def entries(folder: Path, manifest: Path, monkeypatch: pytest.MonkeyPatch) -> dict:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(folder))
    monkeypatch.chdir(manifest.parent)
    sound, out = manifest.parent / "mix.wav", manifest.parent / "out"
    return {
        "Separator": lambda: Separator.from_hparams(folder),
        "hub id": lambda: Separator.from_hparams("owner/name"),
        "separate": lambda: command("separate", folder, sound, "-o", out),
        "enhance": lambda: command("enhance", folder, sound, "-o", out),
        "evaluate": lambda: command("evaluate", folder, "--data", manifest, "-o", out),
        "hub id, evaluate": lambda: command("evaluate", "owner/name", "--data", manifest, "-o", out, "--workers", 0),
        "separate, pinned": lambda: command("separate", "owner/name", sound, "-o", out, "--revision", "a" * 40),
    }


@pytest.mark.parametrize("route", ROUTES)
def test_S01_an_exported_folder_through_every_entry(route: str, run: Path, manifest: Path, monkeypatch):
    folder = export_pretrained(run, manifest.parent / "exported")
    path = folder / "hyperparams.yaml"
    value = ROUTES[route].replace("CANARY", "canary")
    path.write_text(f"{path.read_text()}extra: {value}\n")
    (folder / "SHA256SUMS").unlink()
    for name, enter in entries(folder, manifest, monkeypatch).items():
        with pytest.raises(UserError, match="it wants to (run|read)"):
            enter()
        assert not ran(manifest.parent), name
    network = torch.nn.Conv1d(1, 2, 3, bias=False)
    start_from(torch.nn.ModuleDict({"conv": network}), folder)  # takes weights alone
    assert not ran(manifest.parent) and not (manifest.parent / "out" / "mix_s1.wav").exists()


@pytest.mark.parametrize("route", ROUTES)
def test_S01_a_run_folder_through_every_entry(route: str, run: Path, manifest: Path, monkeypatch):
    path = run / "hyperparams.yaml"
    value = ROUTES[route].replace("CANARY", "canary")
    assert "Tiny {" in path.read_text()
    path.write_text(path.read_text().replace("Tiny {", f"Tiny {{inner: [{value} ], "))
    every = entries(run, manifest, monkeypatch)
    every["export"] = lambda: command("export", run, manifest.parent / "exported")
    every["read_run"] = lambda: read_run(run)
    for name, enter in every.items():
        with pytest.raises(UserError, match="it wants to (run|read)"):
            enter()
        assert not ran(manifest.parent), name
    start_from(torch.nn.ModuleDict({"conv": torch.nn.Conv1d(1, 2, 3, bias=False)}), run)
    assert not ran(manifest.parent) and not (manifest.parent / "exported").exists()


@pytest.mark.parametrize("route", ROUTES)
def test_S01_code_elsewhere_in_a_run_folder_is_not_made(route: str, run: Path, tmp_path: Path):
    path = run / "hyperparams.yaml"
    value = ROUTES[route].replace("CANARY", "canary")
    path.write_text(f"{path.read_text()}optimizer_of_mine: {value}\n")
    Separator.from_hparams(run)
    assert not ran(tmp_path)


def finished_run(folder: Path) -> Path:
    """The folder of a run with an empty checkpoint."""
    checkpoint = folder / "run" / "save" / "CKPT+1"
    checkpoint.mkdir(parents=True)
    write_meta(checkpoint, {"unixtime": 0.0, "end-of-epoch": True})
    return folder / "run"


@pytest.mark.parametrize("route", ROUTES)
def test_S01_a_start_that_only_tests_takes_no_code_from_the_folder(route: str, tmp_path: Path):
    """What a finished run was trained with comes from its folder: everything else is the user's own recipe."""
    run = finished_run(tmp_path)
    value = ROUTES[route].replace("CANARY", "canary")
    base = f"output_folder: {run}\nsave_folder: {run}/save\n"
    (run / "hyperparams.yaml").write_text(f"# command: x\n{base}lr_scheduler: {value}\n")
    mine = f"{base}lr_scheduler: !name:torch.optim.lr_scheduler.StepLR {{step_size: 1}}\n"
    with pytest.raises(UserError, match="line 4: it wants to (run|read).*Give another --output_folder"):
        admit(mine, "recipes/custom/train.py", test_only=True)
    assert not ran(tmp_path)
    (run / "hyperparams.yaml").write_text(f"# command: x\n{base}lr_scheduler: !name:my.Own {{a: 1}}\n")
    own = f"{base}lr_scheduler: !name:my.Own {{a: 2}}\n"
    assert "a: 1" in admit(own, "recipes/custom/train.py", test_only=True).text


def test_S01_a_start_that_only_tests_makes_no_folders_of_its_run_folder(tmp_path: Path):
    run, elsewhere = finished_run(tmp_path), tmp_path / "elsewhere"
    base = f"output_folder: {run}\nsave_folder: {run}/save\n"
    hostile = f"budget: !new:lobes.exported.SafeCheckpointer {{checkpoints_dir: {elsewhere}}}\n"
    (run / "hyperparams.yaml").write_text(f"# command: x\n{base}{hostile}")
    mine = f"{base}budget: !new:lobes.exported.Budget {{max_steps: 1}}\n"
    with pytest.raises(UserError, match=r"run lobes\.exported\.SafeCheckpointer with folders to write to"):
        admit(mine, "recipes/custom/train.py", test_only=True)
    assert not elsewhere.exists()


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("starts.jsonl", "[1]\n"),
        ("starts.jsonl", "{\n"),
        ("starts.jsonl", "[" * 20000),
        ("starts.jsonl", '{"cwd": 3}\n'),
        ("hyperparams.yaml", "# command: x\na: 1\n"),
        ("hyperparams.yaml", "# command: x\nsave_folder: [1]\noutput_folder: a\n"),
        ("hyperparams.yaml", '# command: x\nsave_folder: b\noutput_folder: a\ndata_folder: "a\\0b"\n'),
        ("hyperparams.yaml", "# command: x\nsave_folder: b\noutput_folder: a\ncheckpointer: {recoverables: 3}\n"),
    ],
)
def test_S01_odd_files_of_a_run_folder_are_one_line(file: str, text: str, tmp_path: Path):
    run = finished_run(tmp_path)
    base = f"# command: x\noutput_folder: {run}\nsave_folder: {run}/save\n"
    (run / "hyperparams.yaml").write_text(base)
    (run / file).write_text(text)
    with pytest.raises(UserError, match="no record of a start|no file of a training"):
        admit(base, "recipes/custom/train.py")


@pytest.mark.parametrize("counts", ["[1]", '{"steps": "x", "seconds": []}', "[" * 20000, '{"steps": NaN}', "1" * 5000])
def test_S01_odd_counts_in_a_checkpoint_count_as_none(counts: str, tmp_path: Path):
    run = tmp_path / "run"
    checkpoint = run / "save" / "CKPT+1"
    checkpoint.mkdir(parents=True)
    for name in ("budget.ckpt", "stopping.ckpt"):
        (checkpoint / name).write_text(counts)
    write_meta(checkpoint, {"unixtime": 0.0, "end-of-epoch": True})
    base = f"# command: x\noutput_folder: {run}\nsave_folder: {run}/save\nN_epochs: 5\n"
    (run / "hyperparams.yaml").write_text(base)
    assert admit(base, "recipes/custom/train.py").step == 0


def test_S01_tables_of_others_do_not_steer_the_screen(tmp_path: Path, capsys):
    for name in "ab":
        (tmp_path / f"{name}.csv").write_text("ID,speaker,x\x1b[2J\nu1,a,1\nu2,b,2\n")
    command("compare", tmp_path / "a.csv", tmp_path / "b.csv")
    assert "x\\x1b[2J" in (shown := capsys.readouterr().out) and "\x1b" not in shown


def test_S01_the_card_of_a_hostile_run_holds_its_words_as_words(make_run, tmp_path: Path):
    header = "# Lobes 1 <b>\n# command: python train.py `a` | <script>\n"
    run = make_run(header=header)
    path, checkpoint = run / "hyperparams.yaml", next((run / "save").iterdir())
    text = path.read_text().replace("task: SB", 'task: "S|B\\e[2J\\n<i>"')
    path.write_text(text.replace("limits: ", 'limits: "<img src=x>"\nother: '))
    with (checkpoint / "CKPT.yaml").open("a") as file:
        file.write(f'"{{x}}": 1\n"{{:>99999999}}": 2\n3: 4\nlarge: {"1" * 400}\n')
    card = (export_pretrained(run, tmp_path / "out") / "README.md").read_text()
    assert all(line.isprintable() for line in card.splitlines()) and "{x} 1" in card and len(card) < 5000
    assert "<i>" not in card and "<img" not in card and "<b>" not in card and "`python train.py 'a' \\|" in card


@pytest.mark.parametrize(
    "separator",
    ["!name:torch.hann_window", "{a: 1}", "!new:torch.nn.Linear [1, 1]", *(
        f"!new:lobes_test_stand_in.Tiny {{num_sources: 2, sample_rate: {rate}}}" for rate in ("0", "-1", "x", ".nan")
    )],
)  # fmt: skip
def test_S01_what_is_no_separator_is_one_line(separator: str, run: Path):
    (run / "hyperparams.yaml").write_text(f"modules:\n  separator: {separator}\n")
    with pytest.raises(UserError, match=r"expected a (network|separator)|do not fit"):
        read_run(run)


def test_a_network_of_ones_own_is_refused_pleasantly_and_runs_with_trust(
    run: Path, manifest: Path, monkeypatch, caplog
):
    monkeypatch.setattr(callables, "NEW", callables.NEW)
    callables.NEW.discard("lobes_test_stand_in.Tiny")
    try:
        sound, out = manifest.parent / "mix.wav", manifest.parent / "out"
        with pytest.raises(UserError, match=r"line \d+: it wants to run lobes_test_stand_in\.Tiny\..*--trust"):
            command("separate", run, sound, "-o", out)
        command("separate", run, sound, "-o", out, "--trust")
        assert (out / "mix_s1.wav").is_file() and caplog.text.count("it may run lobes_test_stand_in.Tiny") == 1
        command("export", run, manifest.parent / "exported", "--trust")
        with pytest.raises(UserError, match="run lobes_test_stand_in.Tiny"):
            Separator.from_hparams(manifest.parent / "exported")
        assert Separator.from_hparams(manifest.parent / "exported", trust=True).num_sources == 2
        command("evaluate", run, "--data", manifest, "-o", out, "--workers", 0, "--metric", "si_sdr", "--trust")
    finally:
        callables.NEW.add("lobes_test_stand_in.Tiny")


def test_python_files_of_a_folder_are_never_imported(run: Path, tmp_path: Path):
    folder = export_pretrained(run, tmp_path / "exported")
    for name in ("custom", "torch", "speechbrain", "lobes"):
        (folder / f"{name}.py").write_text(f"open({str(tmp_path / 'canary')!r}, 'w')")
    Separator.from_hparams(folder)
    assert not ran(tmp_path)


# ------------------------------------------------------------------------------------------------ weights
def pretrainer_of(folder: Path, more: str) -> Path:
    path = folder / "hyperparams.yaml"
    path.write_text(path.read_text().replace("  loadables:\n", f"{more}  loadables:\n"))
    (folder / "SHA256SUMS").unlink()
    return folder


def test_S01_weights_come_from_the_folder_alone(run: Path, tmp_path: Path, monkeypatch):
    """A path behind a hub id names the file of the folder; nothing is fetched, no folder to collect in is made."""
    import speechbrain.utils.parameter_transfer as transfer

    folder = export_pretrained(run, tmp_path / "out")
    monkeypatch.setattr(transfer, "fetch", lambda *_, **__: pytest.fail("fetched"))
    pretrainer_of(folder, "  paths: {masknet: owner/name/masknet.ckpt}\n  collect_in: saved\n")
    monkeypatch.chdir(tmp_path)
    Separator.from_hparams(folder)
    assert not (tmp_path / "saved").exists()


def test_S02_an_evil_pickle_runs_nothing(run: Path, tmp_path: Path, monkeypatch):
    import os

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "canary"),)

    folder = export_pretrained(run, tmp_path / "exported")
    (folder / "SHA256SUMS").unlink()
    for protocol in (0, 2, 4):
        (folder / "masknet.ckpt").write_bytes(pickle.dumps(Evil(), protocol=protocol))
        with pytest.raises(UserError, match="cannot be read"):
            Separator.from_hparams(folder)
        torch.save(Evil(), folder / "masknet.ckpt", pickle_protocol=max(2, protocol))
        for enter in (Separator.from_hparams, lambda path: start_from(torch.nn.Linear(1, 1), path)):
            with pytest.raises(UserError, match="cannot be read"):
                enter(folder)
    assert not ran(tmp_path)


def tensors() -> dict[str, torch.Tensor]:
    """Weights of the right shape that no network takes as they are."""
    right = torch.ones(2, 1, 3)
    return {
        "no data": torch.empty(2, 1, 3, device="meta"),
        "sparse": right.to_sparse(),
        "complex": torch.complex(right, right),
        "quantised": torch.quantize_per_tensor(right, 0.1, 0, torch.qint8),
    }


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", ["no data", "sparse", "complex", "quantised", 3, b"key", ("a", 1)])
def test_S02_tensors_of_other_kinds_and_keys_are_refused_in_one_line(case: object, run: Path, tmp_path: Path):
    folder = export_pretrained(run, tmp_path / "exported")
    (folder / "SHA256SUMS").unlink()
    state = torch.load(folder / "masknet.ckpt", weights_only=True)
    state |= {"model.conv.weight": tensors()[case]} if isinstance(case, str) else {case: torch.ones(1)}
    torch.save(state, folder / "masknet.ckpt")
    network = torch.nn.ModuleDict({"conv": torch.nn.Conv1d(1, 2, 3, bias=False)})
    for enter in (Separator.from_hparams, lambda path: start_from(network, path)):
        with pytest.raises(UserError, match="expected tensors of real numbers under names, but 1 are"):
            enter(folder)


def test_S02_weights_that_unpack_to_far_more_are_refused(run: Path, tmp_path: Path):
    import zipfile

    from lobes.models import from_checkpoint

    folder = export_pretrained(run, tmp_path / "exported")
    (folder / "SHA256SUMS").unlink()
    path = folder / "masknet.ckpt"
    with zipfile.ZipFile(path) as whole:
        members = {member.filename: whole.read(member) for member in whole.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bomb:
        for name, content in members.items():
            bomb.writestr(name, content + bytes(1 << 24) * name.endswith("data.pkl"))
    for enter in (Separator.from_hparams, lambda folder: from_checkpoint(folder / "masknet.ckpt")):
        with pytest.raises(UserError, match=r"bytes unpack to 16,\d{3},\d{3}, expected at most 20 times"):
            enter(folder)


def test_S02_checkpoints_put_into_an_exported_folder_are_not_used(run: Path, tmp_path: Path):
    """`SHA256SUMS` covers no folders: with `save` the folder must not become a run's."""
    folder = export_pretrained(run, tmp_path / "exported")
    shutil.copytree(run / "save", folder / "save")
    weights = next((folder / "save").glob("CKPT+*/separator.ckpt"))
    torch.save({"conv.weight": torch.full((2, 1, 3), 9.0)}, weights)
    network = torch.nn.ModuleDict({"conv": torch.nn.Conv1d(1, 2, 3, bias=False)})
    start_from(network, folder)
    assert network["conv"].weight.max() < 9
    assert Separator.from_hparams(folder).num_sources == 2


# ------------------------------------------------------------------------------------------------ random files
FRAGMENTS = [
    "!apply:lobes_test_canary.run [1]", "!new:lobes_test_canary.Run", "!applyref:lobes_test_canary.run [1]",
    "!!python/object/apply:lobes_test_canary.run [1]", "(!!python/object/apply:lobes_test_canary.run [1])",
    "!name:lobes_test_canary.run", "!apply:", "!new:", "!!python/object/apply:", "!<!apply:lobes_test_canary.run> [1]",
    "!%61pply:lobes_test_canary.run [1]", "!ref ", "!copy ", "<masknet>", "<masknet.model>", "<masknet.__class__>",
    "&a ", "*a", "\n", "lobes", ": ", "? ", "<<: ", "{", "}", "[", "]", "(", ")", "'", '"', "|",
    ">", "#", "%TAG ! !a:\n---\n",
    "lobes_test_canary.run", "lobes.exported.", "os.system", "!", "-", "  ",
]  # fmt: skip


@pytest.fixture
def canary_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A module whose functions say that they have run."""
    (tmp_path / "lobes_test_canary.py").write_text(
        "ran = []\ndef run(*a, **k):\n    ran.append(a)\nclass Run:\n    def __init__(self, *a, **k):\n"
        "        ran.append(a)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import lobes_test_canary

    yield lobes_test_canary
    sys.modules.pop("lobes_test_canary")


def mutated(text: str, rng: random.Random) -> str:
    for _ in range(rng.randint(1, 3)):
        start = rng.randrange(len(text))
        end = start + rng.choice([0, 0, 1, 5, 40])
        text = text[:start] + rng.choice(FRAGMENTS) * rng.choice([1, 1, 1, 2]) + text[end:]
    if rng.random() < 0.5:
        text += f"\nx{rng.randrange(9)}: {rng.choice(FRAGMENTS)}{rng.choice(FRAGMENTS)}\n"
    return text


def test_S01_no_mutation_of_a_good_file_runs_anything(run: Path, tmp_path: Path, canary_module, monkeypatch):
    """What is made is on the list, in each of many files; enough of them are refused, and enough are made."""
    folder = export_pretrained(run, tmp_path / "exported")
    path, calls = folder / "hyperparams.yaml", []
    good = path.read_text()
    located = hyperpyyaml.core.pydoc.locate
    monkeypatch.setattr(hyperpyyaml.core.pydoc, "locate", lambda name: (calls.append(name), located(name))[1])
    rng, made, refused = random.Random(0), 0, 0
    for _ in range(250):
        path.write_text(mutated(good, rng))
        try:
            load_file(path)
            made += 1
        except UserError as error:
            assert "\n" not in str(error)
            refused += 1
        except Exception:  # of a class that was given nonsense: one line for who opens the folder
            pass
    assert not canary_module.ran and made > 10 and refused > 100
    listed = {name for known in callables.MODEL.values() for name in known} | {"getattr"}
    assert {name for name in calls if name not in listed and not callables.NEEDED.fullmatch(name)} == set()
    load_file(put(tmp_path, "x: !apply:lobes_test_canary.run [1]"), trust=True)
    assert canary_module.ran
    shutil.rmtree(folder)
