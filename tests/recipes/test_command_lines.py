"""C01-C06 of programs in recipes: what is mistyped is one line and exit code 2, before anything is done."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from lobes.errors import UserError

RECIPES = Path(__file__).parents[2] / "recipes"
# program, its words that must be there, an option that takes a number and one that takes text
PROGRAMS = {
    "comparison.py": (["custom", "--hparams", "spmamba", "--data_folder", "d"], "--jobs", "--name"),
    "mixers.py": ([], "--steps", "--output"),
    "recordings.py": (["folder"], None, "--mirror"),
    "LibriMix/librimix_prepare.py": (["d", "s"], "--num_spks", "--mode"),
    "PolSESS/polsess_prepare.py": (["d", "s"], "--sample_rate", "--check_files"),
    "PolSESS/realdata.py": (["--recordings", "r"], "--steps", "--preset"),
    "PolSESS/demo.py": ([], "--examples", "--output"),
    "VoiceBank/voicebank_prepare.py": (["d", "s"], None, "--train_set"),
    "VoiceBank/realdata.py": (["--recordings", "r"], "--minutes", "--device"),
    "VoiceBank/rivals.py": (["--recordings", "r"], None, "--recogniser"),
    "WSJ0Mix/wsj0mix_prepare.py": (["d", "s"], "--num_spks", "--mode"),
    "custom/custom_prepare.py": (["d", "s"], "--sample_rate", None),
}


def call(program: str, words: list[str], monkeypatch) -> str:
    """The one line that a program ends with."""
    path = RECIPES / program
    monkeypatch.syspath_prepend(path.parent)
    monkeypatch.setattr(sys, "argv", [path.name])
    spec = importlib.util.spec_from_file_location(f"called_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    with pytest.raises(UserError) as caught:
        module.main([*PROGRAMS[program][0], *words])
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@pytest.mark.parametrize("program", PROGRAMS)
def test_C02_a_misspelt_option_names_the_nearest(program, monkeypatch):
    option = next(filter(None, PROGRAMS[program][:0:-1]))
    misspelt = option[:-1] + "x"
    assert f"unknown option {misspelt}. Did you mean {option!r}?" in call(program, [misspelt, "1"], monkeypatch)


@pytest.mark.parametrize("program", PROGRAMS)
def test_C02_an_option_twice_without_value_or_empty(program, monkeypatch):
    option = next(filter(None, PROGRAMS[program][:0:-1]))
    assert f"{option} is given twice" in call(program, [option, "1", option, "2"], monkeypatch)
    assert "expected one argument" in call(program, [option], monkeypatch)
    assert f"{option} is empty" in call(program, [option, ""], monkeypatch)
    assert f"{option} is empty" in call(program, [f"{option}="], monkeypatch)


@pytest.mark.parametrize("text", ["no", "-1", "0", "nan", "inf", "1_000", "0x10", "9" * 30, "٣"])
@pytest.mark.parametrize("program", [name for name in PROGRAMS if PROGRAMS[name][1]])
def test_C02_a_number_that_cannot_be(program, text, monkeypatch):
    option = PROGRAMS[program][1]
    if option == "--minutes" and text == "9" * 30:
        pytest.skip("minutes have no upper end")
    assert f"argument {option}: expected " in call(program, [f"{option}={text}"], monkeypatch)


def test_C02_part_of_a_name_is_not_the_name(monkeypatch):
    assert "unknown option --exam. " in call("PolSESS/demo.py", ["--exam", "3"], monkeypatch)
