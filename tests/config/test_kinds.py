"""Kinds of values: what a text stands for, and what is refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lobes.config import read_recipe
from lobes.config.kinds import Kind, kind_of
from lobes.config.lists import read_list
from lobes.config.table import ELSEWHERE, KNOWN
from lobes.config.words import read_words
from lobes.errors import UserError


@pytest.mark.parametrize(
    "default, text, value",
    [
        (1, "7", 7), (1, "-7", -7), (1, "+7", 7), (1, "1e3", 1000), (1, "007", 7),
        (1.0, "1e-3", 0.001), (1.0, "1e3", 1000.0), (1.0, ".5", 0.5), (1.0, "5.", 5.0), (1.0, "-2", -2.0),
        (False, "true", True), (False, "True", True), (True, "false", False),
        ("a", "1e3", "1e3"), ("a", "", ""), ("a", "null", "null"), ("a", "true", "true"), ("a", " a ", " a "),
        ([0.5], "[1, 2e-1]", [1.0, 0.2]), (["a"], "[no, 007, exp #1, a: b]", ["no", "007", "exp #1", "a: b"]),
        (["a"], "[]", []), (["a"], '["a, b", \'c]\']', ["a, b", "c]"]),
        (None, "null", None), (None, "1", 1), (None, "0.5", 0.5), (None, "true", True), (None, "no", "no"),
        (None, "[{a: 1, b: [x, 2]}]", [{"a": 1, "b": ["x", 2]}]), ({"a": 1}, "{a: 2, b: c}", {"a": 2, "b": "c"}),
    ],
)  # fmt: skip
def test_a_text_is_read_by_the_kind_of_the_default(default, text, value):
    found = kind_of(default).read(text)
    assert found == value and type(found) is type(value) and not kind_of(default).problem(found)


@pytest.mark.parametrize(
    "default, text",
    [
        (1, "1.0"), (1, "1.5"), (1, "1e-3"), (1, ""), (1, " 1"), (1, "1_0"), (1, "\u0661"),
        (1, "true"), (1, "null"), (1, "[1]"),
        (1.0, "nan"), (1.0, "inf"), (1.0, "1e999"), (1.0, "1,5"), (1.0, "1e"), (1.0, "."), (1.0, "0x1"),
        (False, "yes"), (False, "on"), (False, "1"), (False, ""), (False, "tRue"),
        ([1.0], "[a]"), ([1.0], "1"), ([1.0], "[1"), ([1.0], "[1] 2"), ([1.0], "[1, [2]]"),
        (["a"], "a"), (["a"], "{a: b}"),
        (["a"], "[it's]"), ({"a": 1}, "[a]"), ({"a": 1}, "{a}"),
    ],
)  # fmt: skip
def test_what_is_no_value_is_a_problem(default, text):
    kind = kind_of(default)
    assert kind.problem(kind.read(text))


@pytest.mark.parametrize("value", [True, 1.0, "1", None, [1], float("nan")])
def test_a_value_of_a_file_is_of_the_same_kind(value):
    assert Kind(int).problem(value)


def test_ranges():
    unit = Kind(float, above=0, high=1)
    assert [bool(unit.problem(x)) for x in (0, 1e-9, 1, 1.1)] == [True, False, False, True]
    assert Kind(int, low=1, null=True).problem(None) == "" and Kind(int, low=1).problem(0)


def test_a_part_of_a_loss_that_there_is_not():
    kind = KNOWN["loss_weights"]
    assert kind.problem({"magnitud": 1.0}) and kind.problem({"magnitude": -1.0}) and not kind.problem({"magnitude": 1})


def test_names_of_other_projects_lead_to_what_there_is():
    targets = {name for name in ELSEWHERE.values() if " " not in name}
    assert targets <= set(KNOWN) | {"skip_prep"}


@settings(max_examples=200, deadline=None)
@given(st.recursive(st.text("ab #:!<1", min_size=1).map(lambda t: f"x{t}x"), lambda item: st.lists(item, max_size=3)))
def test_lists_come_back(value):
    def typed(item):
        return f"[{', '.join(map(typed, item))}]" if isinstance(item, list) else f'"{item}"'

    if isinstance(value, list):
        assert read_list(typed(value)) == value


@pytest.mark.parametrize(
    "words, found",
    [
        (["--a=b=c"], {"a": "b=c"}), (["--a="], {"a": ""}), (["--a", ""], {"a": ""}), (["--a", "-1"], {"a": "-1"}),
        (["--a=--b"], {"a": "--b"}), (["--f", "--a", "b"], {"f": "true", "a": "b"}), (["--f", "false"], {"f": "false"}),
        (["--m", "a", "b", "--a", "c"], {"m": ["a", "b"], "a": "c"}), (["--a", "--b=c"], None), (["--a"], None),
        (["--a", "b", "--a", "b"], None), (["--a", "b", "c"], None), (["--"], None), (["-a", "b"], None),
    ],
)  # fmt: skip
def test_words(words, found):
    if found is None:
        with pytest.raises(UserError):
            read_words(words, ["f"], ["m"])
    else:
        assert read_words(words, ["f"], ["m"]) == found


def test_kinds_of_a_recipes_keys(tmp_path):
    """By the table, by the name of a place, by a default, by what a reference leads to."""
    (tmp_path / "own.yaml").write_text(
        "n: 3\nname: a\nnoise_folder: null\nclean_folder: !PLACEHOLDER\nsize: !ref <n> * 2\nsame: !ref <n>\n"
        "place: !ref <name>/<n>\nnet: !new:collections.Counter\nparts: {a: !ref <net>}\nmax_steps: null\n"
    )
    kinds = read_recipe(tmp_path / "own.yaml").kinds
    types = {key: kind.type for key, kind in kinds.items()}
    assert types == {"n": int, "name": str, "noise_folder": str, "clean_folder": str, "size": float, "same": int,
                     "place": str, "max_steps": int}  # fmt: skip
    assert kinds["noise_folder"].read("null") is None and kinds["clean_folder"].read("1e3") == "1e3"
