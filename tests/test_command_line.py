"""C02 of the `lobes` command: every option of every sub-command refuses what cannot be meant, before the work."""

from __future__ import annotations

import sys

import pytest
import typer

from lobes import cli

# words that are complete, so that one more is what is wrong
WORDS = {
    "compare": ["a=a.csv", "b=b.csv"],
    "corpus": ["out"],
    "doctor": [],
    "enhance": ["model", "mix.wav", "-o", "out"],
    "evaluate": ["model", "--data", "test.csv", "-o", "out"],
    "export": ["run", "out"],
    "info": [],
    "models": [],
    "profile": ["model"],
    "recipe": ["copy", "custom", "mine"],
    "shard": ["train.csv", "-o", "out"],
    "size": ["preset", "--mixer", "lstm"],
    "stream": ["model", "mix.wav", "out.wav"],
    "sweep": ["sweep.yaml"],
    "separate": ["model", "mix.wav", "-o", "out"],
    "train": ["custom/spmamba.yaml"],
}
WITHOUT_OPTIONS = {"info", "recipe", "train"}  # those of `train` are the recipe's: tests/commands/test_recipes.py
COMMANDS = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]
OPTIONS = [
    (command, max(param.opts, key=len), param)
    for command in COMMANDS
    for param in COMMANDS[command].params
    if param.param_type_name == "option" and not param.is_eager
]
NUMBERS = [
    ("compare", "--level"), ("corpus", "--indoor-share"), ("corpus", "--sample-rate"), ("corpus", "--seconds"),
    ("corpus", "--seed"), ("corpus", "--train"), ("evaluate", "--save-audio"), ("evaluate", "--workers"),
    ("profile", "--minutes"), ("profile", "--seconds"), ("profile", "--threads"), ("stream", "--chunk-ms"),
    ("shard", "--megabytes"), ("shard", "--seed"), ("sweep", "--workers"), ("sweep", "--threads"),
]  # fmt: skip


@pytest.fixture
def refused(monkeypatch, capsys, tmp_path):
    """The one line that a command ends with, and nothing is done."""
    monkeypatch.chdir(tmp_path)

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["lobes", *words])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        out, err = capsys.readouterr()
        assert caught.value.code == 2 and not out and err.count("\n") == 1 and err.startswith("error: "), err
        assert not list(tmp_path.iterdir())
        return err

    return call


def test_C02_every_command_is_in_the_table():
    assert set(COMMANDS) == set(WORDS) and {command for command, _, _ in OPTIONS} == set(WORDS) - WITHOUT_OPTIONS


@pytest.mark.parametrize(
    "words", [["info"], ["recipe", "list"], ["recipe", "show", "custom"], ["recipe", "copy", "custom", "mine"]]
)
def test_C02_a_command_without_options_refuses_one(refused, words):
    assert "No such option: --verbose" in refused(*words, "--verbose")


@pytest.mark.parametrize(("command", "option", "param"), OPTIONS, ids=[f"{one[0]}{one[1]}" for one in OPTIONS])
def test_C02_an_option_misspelt_twice_empty_or_without_its_value(refused, command, option, param):
    words = [command, *WORDS[command]]
    assert option in refused(*words, f"{option[:-1]}_", "1").partition(f"{option[:-1]}_")[2]  # the nearest
    given = option in words or "-o" in words and option == "--out"
    if param.is_flag:
        assert f"{option} is given twice" in refused(*words, option, option)
        return
    assert "requires an argument" in (message := refused(*words, option)) and f"lobes {command} --help" in message
    if not param.multiple:
        assert f"{option} is given twice" in refused(*words, option, "1", option, "1")
    if not given:
        assert f"{option} is empty" in refused(*words, option, "")
        assert f"{option} is empty" in refused(*words, f"{option}=")


@pytest.mark.parametrize("text", ["x", "nan", "inf", "-inf", "1e400", "1_0", "٣", "0x10", " 1", "9" * 400])
@pytest.mark.parametrize(("command", "option"), NUMBERS)
def test_C02_what_is_no_number(refused, command, option, text):
    message = refused(command, *WORDS[command], f"{option}={text}")
    assert f"{option}: expected a" in message and f"got {text!r}" in message


@pytest.mark.parametrize("command", [command for command, words in WORDS.items() if words])
def test_C02_an_empty_argument(refused, command):
    assert "is empty: expected a value" in refused(command, "", *WORDS[command][1:])
