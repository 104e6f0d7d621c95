"""A few changes of every target of `make fuzz`: read as they are or refused in one line."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
COUNTS = {"audio": 150, "tables": 120, "options": 12, "recipes": 8, "exports": 12, "weights": 12, "checker": 30}


@pytest.fixture(scope="module")
def fuzz():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(SCRIPTS)
        import fuzz

        yield fuzz
        for name in [name for name in sys.modules if name.startswith("fuzz")]:
            del sys.modules[name]


@pytest.mark.parametrize("name", COUNTS)
def test_changes_are_read_as_they_are_or_refused(fuzz, tmp_path, name):
    target = fuzz.make(name, tmp_path)
    found = [fuzz.check(target, 0, number) for number in range(COUNTS[name])]
    assert not [each for each in found if each[0] not in fuzz.GOOD]
    assert set(Counter(verdict for verdict, _ in found)) == set(fuzz.GOOD), "a target that refuses all tests nothing"


class Broken:
    """A target of which each case ends in another way."""

    name = "broken"

    def change(self, rng):
        import types

        return types.SimpleNamespace(what="a change", kind=int(rng.integers(1)))

    def __init__(self, end):
        self.end = end

    def run(self, case):
        if isinstance(self.end, Exception):
            raise self.end
        return self.end


def test_every_kind_of_failure_has_a_name(fuzz):
    from lobes.errors import UserError

    ends = {"fine": "", "silent": "other samples", "refused": UserError("no"), "no message": UserError("a" * 3000),
            "traceback": ValueError("a")}  # fmt: skip
    assert {verdict: fuzz.check(Broken(end), 1, 2)[0] for verdict, end in ends.items()} == {key: key for key in ends}
    assert fuzz.check(Broken(UserError("no,\nnot this")), 1, 2)[0] == "no message"


def test_a_change_depends_on_its_numbers_alone(fuzz, tmp_path):
    target = fuzz.make("tables", tmp_path)
    first, again, other = (target.change(fuzz.generator(target, 1, number)) for number in (7, 7, 8))
    assert first == again != other


def test_a_header_with_other_channels_would_be_noticed(fuzz, tmp_path):
    """The target's own judgement, on a file whose samples come out exchanged."""
    target = fuzz.make("audio", tmp_path)
    sys.path.insert(0, str(SCRIPTS))
    import fuzz_audio

    kind = fuzz_audio.KINDS[1]
    want, was = fuzz_audio.read_plainly(target.whole[kind])
    case = fuzz_audio.Case(kind, target.whole[kind], "a change")
    assert fuzz_audio.judge(case, want[:, ::-1], 8000, was, want, was)
    assert fuzz_audio.judge(case, want[:-10], 8000, was, want, was)


def test_code_that_runs_and_a_good_file_that_is_refused_would_be_noticed(fuzz, tmp_path, monkeypatch):
    from lobes.errors import UserError

    target = fuzz.make("checker", tmp_path)
    import fuzz_models

    def runs(*_):
        fuzz_models.canary(1)
        raise UserError("no")

    cases = [target.change(fuzz.generator(target, 1, number)) for number in range(30)]
    good = next(case for case in cases if case.what.startswith("good"))
    monkeypatch.setattr(fuzz_models, "load_folder", runs)
    assert target.run(cases[0]).startswith("it ran")
    monkeypatch.setattr(fuzz_models, "canary", lambda *_: None)
    assert target.run(good) == "refused: no"


class Pipe:
    """What a child process would send, and then nothing or its end."""

    def __init__(self, sent, ends):
        self.sent, self.ends = list(sent), ends

    def poll(self, _):
        return bool(self.sent) or self.ends

    def recv(self):
        if not self.sent:
            raise EOFError
        return self.sent.pop(0)


def test_a_hang_a_crash_and_the_end_of_the_time_have_names(fuzz):
    import math
    import types

    child, first = types.SimpleNamespace(exitcode=-11, join=lambda: None), (0, "fine", "")
    hang = list(fuzz.verdicts(child, Pipe([first], ends=False), [0, 1, 2], 0.1, math.inf))
    assert hang == [first, (1, "hang", "nothing came for 0.1 s")]
    crash = list(fuzz.verdicts(child, Pipe([first], ends=True), [0, 1, 2], 0.1, math.inf))
    assert crash == [first, (1, "crash", "the process ended with -11")]
    assert list(fuzz.verdicts(child, Pipe([first], ends=True), [0], 0.1, -math.inf)) == []
