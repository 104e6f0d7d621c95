"""A slip in a YAML file of a user's own is one line that names the file, the place and the nearest right name."""

from __future__ import annotations

from pathlib import Path

import pytest

from lobes.config import load, resolve
from lobes.errors import UserError

CUSTOM = Path(__file__).parents[2] / "recipes" / "custom" / "hparams" / "spmamba.yaml"
PART = "size: !PLACEHOLDER\ndouble: !ref <size> * 2\n"

SLIPS = {
    "a key that is given twice": ("a: 1\nb: 2\na: 3\n", "own.yaml, line 3: this is no valid YAML: found duplicate key"),
    "a tab": ("a:\n\tb: 1\n", "own.yaml, line 2: this is no valid YAML: found character a tab"),
    "a bracket that stays open": ("a: [1, 2\n", "own.yaml, line 2: this is no valid YAML"),
    "no mapping": ("- a\n", "must hold `key: value` lines"),
    "nothing": ("", "must hold `key: value` lines"),
    "a missing base": ("base: non.yaml\n", "non.yaml, the base of .*own.yaml. The folder has: .*own"),
    "itself as base": ("base: own.yaml\n", "own.yaml: its base .*own.yaml has it as a base again"),
    "two bases": ("base: [a.yaml, b.yaml]\n", "base: expected the path of one file"),
    "with as text": ("base: base.yaml\nwith: extra\n", "with: expected a list of keys"),
    "without as text": ("base: base.yaml\nwithout: lr\n", "without: expected a list of keys"),
    "two unknown keys": ("base: base.yaml\nlrr: 1\nstep: 2\n", "'lrr' is no key .*'lr'.*'step' is no key .*'steps'"),
    "a number as a key": ("base: base.yaml\n3: 1\n", "3 is no key of base.yaml"),
    "a number as a key of a base": ("lr: 1\n3: 1\n", "own.yaml: expected names as keys, got 3"),
    "an object as a key": ("lr: 1\n!new:torch.nn.Linear [1, 2]: 3\n", "own.yaml: expected names as keys, got"),
    "a missing include": ("a: !include:non.yaml\n", "own.yaml includes .*non.yaml under a, which does not exist"),
    "an unknown key of an include": ("a: !include:part.yaml {siz: 3}\n", "'siz' is no key of part.yaml. Did .* 'size'"),
    "an include without its value": ("a: {b: !include:part.yaml {double: 3}}\n", "size is not set"),
    "an unknown reference": ("lr: 1\na: !ref <lrr>/x\n", "own.yaml: there is no <lrr> to refer to. Did you mean 'lr'"),
    "an unknown part": ("a: {lr: 1}\nb: !ref <a[lrr]>\n", "there is no <a.lrr.> to refer to. Did you mean 'lr'"),
    "a circle": ("a: !ref <b>\nb: !ref x<a>\n", "<b> refers to itself"),
    "an unknown class": ("a: {b: !new:torch.nn.Linea [1, 2]}\n", "a.b.: there is no class or .* torch.nn.Linea. Did"),
    "an unknown module": ("a: !name:torc.nn.Linear\n", "a: there is no class or function torc"),
    "an unknown function": ("a: !applyref:lobes.exported.num_source [ES]\n", "a: there is no function lobes.exported"),
    "an unknown argument": ("a: [!new:torch.nn.Linear {in_featurs: 1}]\n", "a.0.: .* has no argument 'in_featurs'"),
    "an unknown argument of a function": (
        "a: !name:torch.optim.lr_scheduler.StepLR\n    gama: 0.5\n", "StepLR has no argument 'gama'.*'gamma'"),
    "text for a number": ("base: base.yaml\nlr: fast\n", "lr: expected a number above 0, got 'fast'"),
    "a number in quotes": ("base: base.yaml\nsteps: '3'\n", "steps: expected a whole number, got '3'"),
    "a list for a number": ("base: base.yaml\nlr: [1, 2]\n", r"lr: expected a number above 0, got \[1, 2\]"),
    "infinity": ("base: base.yaml\nlr: .inf\n", "lr: expected a number above 0, got inf"),
    "yes": ("base: base.yaml\nflag: yes\n", "flag: expected true or false, got 'yes'"),
    "null": ("base: base.yaml\nname: null\n", "name: expected text, got None"),
    "a number for a text": ("base: base.yaml\nname: 5\n", "name: expected text, got 5"),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "part.yaml").write_text(PART)
    (tmp_path / "base.yaml").write_text("lr: 0.1\nsteps: 5\nflag: false\nname: a\n")
    return tmp_path


@pytest.mark.parametrize("slip", SLIPS)
def test_C01_C03_C04_a_slip_in_a_file(folder, slip):
    text, message = SLIPS[slip]
    (folder / "own.yaml").write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        resolve(folder / "own.yaml")
    assert len(str(caught.value).splitlines()) == 1


RECIPE_SLIPS = {
    "SpeechBrain's name": ("clip_grad_norm: 5\n", "'clip_grad_norm' is no key of spmamba.yaml or .*'max_grad_norm'"),
    "a nested argument": (
        "lr_scheduler: !name:torch.optim.lr_scheduler.ReduceLROnPlateau\n    facter: 0.5\n",
        "own.yaml: lr_scheduler: .*ReduceLROnPlateau has no argument 'facter'. Did you mean 'factor'"),
    "an option of another preset": ("preset: convtasnet_tiny\nn_layers: 3\n", "'n_layers' is no key .* convtas"),
    "a value of the preset": ("n_layers: 2.5\n", "n_layers: expected a whole number from 1 up, got 2.5"),
    "a list": ("test_metrics: si_sdr\n", "test_metrics: expected a list such as"),
    "an object's place": ("checkpointer: 3\n", "checkpointer: expected an object"),
}  # fmt: skip


@pytest.mark.parametrize("slip", RECIPE_SLIPS)
def test_C01_a_slip_in_a_recipe_of_ones_own(tmp_path, slip):
    text, message = RECIPE_SLIPS[slip]
    (tmp_path / "own.yaml").write_text(f"base: {CUSTOM}\n{text}")
    with pytest.raises(UserError, match=message):
        resolve(tmp_path / "own.yaml", {"data_folder": "x"})


def test_a_file_of_bytes_is_no_yaml(tmp_path):
    (tmp_path / "own.yaml").write_bytes(b"a: \xff\xfe\n")
    with pytest.raises(UserError, match=r"own.yaml.*this is no valid YAML"):
        resolve(tmp_path / "own.yaml")


def test_references_are_those_of_hyperpyyaml(tmp_path):
    (tmp_path / "part.yaml").write_text(PART)
    (tmp_path / "all.yaml").write_text(
        "late: !ref <n>/<text>\nn: 3\ntext: a\nsum: !ref (<n> + 1) ** 2 // <n>\nshare: !ref <n> / 2\n"
        "list: [!ref <n>, b]\n"
        "net: !new:collections.Counter {x: !ref <n>}\nsame: {again: !ref <net>}\ncopied: !copy <net>\n"
        "deep: {a: {b: !ref <text>}}\nof: !ref <deep[a][b]>\nincluded: !include:part.yaml {size: !ref <n>}\n"
        "twice: !ref <included[double]>\nattribute: !ref <net.most_common>\n"
        "length: !applyref:builtins.len [!ref <text>]\n"
    )
    found = load(resolve(tmp_path / "all.yaml"))
    assert (found["late"], found["sum"], found["share"], found["list"]) == ("3/a", 5, 1.5, [3, "b"])
    assert found["same"]["again"] is found["net"] and found["copied"] == found["net"] is not found["copied"]
    assert (found["of"], found["included"], found["twice"], found["length"]) == ("a", {"size": 3, "double": 6}, 6, 1)
    assert found["attribute"]() == [("x", 3)]


def test_an_error_inside_of_a_class_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        load("a: !new:fractions.Fraction [1, 0]")
    with pytest.raises(UserError, match="the recipe cannot be loaded: Invalid argument to class fractions.Fraction"):
        load("a: !new:fractions.Fraction [1, 2, 3, 4]")
