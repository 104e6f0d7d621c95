"""The sample that is read before every training: what is refused, with the key that switches it off, what is noted."""

from __future__ import annotations

import numpy as np
import pytest

from lobes.config.table import KNOWN
from lobes.data import audio
from lobes.data.manifest import write_manifest
from lobes.data.sample import CHECKS, ROWS, check_sample, listen, notes, seeded
from lobes.errors import UserError


@pytest.fixture
def made(tmp_path):
    """made(part, ...): manifests of 30, 2 and 2 rows whose mixtures are the sums of these parts; the data folder."""

    def make(*parts):
        rng = np.random.default_rng(0)
        for split, items in (("train", 30), ("valid", 2), ("test", 2)):
            rows = []
            for number in range(items):
                signals = {part: 0.1 * rng.standard_normal(400) for part in parts}
                signals["mix"] = sum(signals.values())
                paths = {part: f"{split}/{part}/{number:02d}.wav" for part in signals}
                for part, samples in signals.items():
                    audio.write(tmp_path / paths[part], samples, 8000)
                columns = {f"{part}_wav": f"$data_root/{path}" for part, path in paths.items()}
                rows.append({"ID": f"{split}{number:02d}", "duration": 0.05, **columns})
            write_manifest(tmp_path / "save" / f"{split}.csv", rows)
        return tmp_path

    return make


def change(data, split, part, how, rows=range(30)):
    for number in rows:
        path = data / split / part / f"{number:02d}.wav"
        if path.is_file():
            audio.write(path, how(audio.read_mono(path)), 8000)


def test_right_data_say_what_was_read(made, capsys):
    data = made("s1", "s2")
    check_sample(data, data / "save")
    first = capsys.readouterr().out.splitlines()[0]
    assert first == "a sample of 20 of 30 rows of train, seed 0: mixtures are their sums"


@pytest.mark.parametrize("split", ["train", "valid", "test"])
@pytest.mark.parametrize(
    "how", [lambda x: x / 2, lambda x: np.roll(x, 1), lambda x: np.append(x[:-1], x[-1] + 0.01)],
    ids=["level", "offset", "one_sample"],
)  # fmt: skip
def test_D08_sums_of_every_split(made, split, how):
    data = made("s1", "s2")
    change(data, split, "s1", how)
    with pytest.raises(
        UserError,
        match=rf"(20|2) mixtures are not the sum of their parts \(s1, s2\) in a sample of .* rows of {split}, seed 0: "
        r".*allowed are 16\. .*--sample_checks \[silence\]",
    ):
        check_sample(data, data / "save")
    check_sample(data, data / "save", ["silence"])
    check_sample(data, data / "save", sums=False)


def test_D08_the_tolerance_is_verify_sum(made):
    data = made("s1", "s2")
    change(data, "train", "mix", lambda x: x + 10 / 32768)
    check_sample(data, data / "save")
    with pytest.raises(UserError, match="the largest deviation is 1[01] steps of 16 bit, allowed are 4"):
        check_sample(data, data / "save", verify_sum=4)


def test_D08_a_limiter_is_excused(made):
    data = made("s1", "s2", "scene")
    change(data, "valid", "scene", lambda x: np.full(400, 0.9985))
    with pytest.raises(UserError, match="not the sum"):
        change(data, "valid", "s1", lambda x: x - 0.5)
        check_sample(data, data / "save")
    check_sample(data, data / "save", limited_parts=["scene"])


@pytest.mark.parametrize("part", ["s2", "mix"])
def test_DX1_silent_in_all_rows(made, part):
    data = made("s1", "s2")
    change(data, "train", part, lambda x: 0 * x + 5e-5)
    with pytest.raises(UserError, match=rf"{part} is silent .* 20 of 30 rows of train, seed 0: in all .*\[sum\]"):
        check_sample(data, data / "save")


def test_some_silent_rows_are_a_note(made, capsys):
    data = made("s1", "s2")
    change(data, "test", "s2", lambda x: 0 * x, [0])
    change(data, "test", "mix", lambda x: audio.read_mono(data / "test" / "s1" / "00.wav"), [0])
    check_sample(data, data / "save")
    assert "2 of 2 rows of test, seed 0: mixtures are their sums; s2 is silent in 1 of 2 rows (test00)" in (
        capsys.readouterr().out
    )


def test_one_stored_part_has_no_sum_but_is_not_the_mixture(made, capsys):
    data = made("s1", "noise")
    for split in ("train", "valid", "test"):
        path = data / "save" / f"{split}.csv"
        path.write_text(path.read_text().replace("noise_wav", "elsewhere"))
    check_sample(data, data / "save")
    assert "sums cannot be checked, as one part alone is stored" in capsys.readouterr().out
    for path in (data / "train" / "s1").iterdir():
        (data / "train" / "mix" / path.name).write_bytes(path.read_bytes())
    with pytest.raises(UserError, match="mix and s1 are the same samples .*20 of 30 rows of train"):
        check_sample(data, data / "save")


def test_no_checks_read_nothing_and_unknown_words_are_refused(tmp_path):
    check_sample(tmp_path, tmp_path / "none", [])
    with pytest.raises(UserError, match="sample_checks: expected a list of sum, silence, got 'silent'. Did you mean"):
        check_sample(tmp_path, tmp_path / "none", ["silent"])


def test_the_words_are_known_to_the_command_line():
    problem = KNOWN["sample_checks"].problem(["silent"])
    assert problem == "expected a list such as [a, b] of names among sum, silence, got ['silent']"
    assert KNOWN["sample_checks"].problem(list(CHECKS)) == KNOWN["sample_checks"].problem([]) == ""


def test_the_sample_is_the_same_each_time_and_in_order():
    chosen = seeded(range(1000))
    assert len(chosen) == ROWS and chosen == sorted(chosen) == seeded(range(1000)) != seeded(range(1000), seed=1)


def test_D07_parts_of_unequal_length(made):
    data = made("s1", "s2")
    change(data, "train", "s2", lambda x: x[:-1])
    with pytest.raises(UserError, match=r"unequal length \(samples: mix 400, s1 400, s2 399\)"):
        check_sample(data, data / "save")


def test_clipping_is_noted(made):
    data = made("s1", "s2")
    loud = {f"{part}_wav": str(data / "train" / part / "00.wav") for part in ("mix", "s1", "s2")}
    audio.write(loud["mix_wav"], np.repeat([0.0, 1.0, -1.0, 0.5], 100) * 0.99999, 8000)
    assert notes(listen([{"ID": "a", **loud}])) == ["mix is clipped in 1 of 1 rows (a)"]
