"""The words for systems: what exists on the disk comes first, and what cannot be meant is one line."""

import pytest
import torch

from lobes.commands.system_words import open_systems, parts_of
from lobes.errors import UserError
from lobes.inference.separator import Separator
from lobes.inference.speechbrain_adapter import adapt
from lobes.inference.systems import Ensemble, Weakened


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """opened(*words): the systems, and the words that were loaded as models."""
    monkeypatch.chdir(tmp_path)
    loaded = []

    def load(word):
        loaded.append(word)
        return Separator(adapt(torch.nn.Identity()), {"num_spks": 1, "sample_rate": 8000})

    def call(*words):
        loaded.clear()
        return open_systems(words, load), list(loaded)

    return call


def test_every_kind_and_its_label(opened, tmp_path):
    (tmp_path / "outputs" / "theirs").mkdir(parents=True)
    words = ("runs/a", "owner/b@0.5", "c+d@.25", "noisy", "outputs:outputs/theirs", "e=pkg.mod:make=x/y", "pkg.mod:f")
    systems, loaded = opened(*words)
    assert [one.label for one in systems] == ["a", "b@0.5", "c+d@.25", "noisy", "theirs", "e", "f"]
    assert loaded == ["runs/a", "owner/b", "c", "d", "pkg.mod:make=x/y", "pkg.mod:f"]
    assert isinstance(systems[2], Ensemble) and systems[2].parts[1].share == 0.25


def test_one_model_is_loaded_once(opened):
    systems, loaded = opened("a", "a@0.5", "a+b", "again=a")
    assert loaded == ["a", "b"] and systems[0].model is systems[3].model is systems[1].of.model


def test_what_exists_on_the_disk_is_that(opened, tmp_path):
    names = ("a+b", "x=y", "run@0.5", "noisy", "outputs:z")
    for name in names:
        (tmp_path / name).mkdir()
    systems, loaded = opened(*names)
    assert loaded == list(names) and not any(isinstance(one, Ensemble | Weakened) for one in systems)
    assert parts_of("a+b+c") == ["a+b", "c"] and parts_of("c+outputs:a+b") == ["c", "outputs:a+b"]
    systems, loaded = opened("run@0.5@0.5")
    assert loaded == ["run@0.5"] and systems[0].share == 0.5


def test_equal_names_take_the_folder_above_and_equal_labels_are_refused(opened):
    assert [one.label for one in opened("x/1234", "y/1234")[0]] == ["x_1234", "y_1234"]
    with pytest.raises(UserError, match="A: two systems have this label. Give one of them another: LABEL=..."):
        opened("A=x", "a=y")


@pytest.mark.parametrize(
    "word, message",
    [
        ("a@1.5", "a@1.5: expected a strength of 0"), ("a@-1", "expected a strength of 0"),
        ("a+", "expected a system on both sides"), ("+a", "expected a system on both sides"),
        ("my label=a", "expected LABEL=SYSTEM"), ("../a=b", "two systems|"), ("=a", "expected LABEL=SYSTEM"),
        ("audio=a", "audio: is the name of something else in the results. Give another one: LABEL=a"),
        ("NOISY=a", "is the name of something else"), ("target=a", "is the name of something else"),
        ("x=outputs:none", "outputs:none: no such folder"), (".hidden=a", "expected LABEL=SYSTEM"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_one_line(opened, word, message):
    if word == "../a=b":  # a path, which may hold =
        assert opened(word)[1] == [word]
        return
    with pytest.raises(UserError, match=message) as error:
        opened(word)
    assert "\n" not in str(error.value)
