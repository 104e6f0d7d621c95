"""MM-IPC: what each variant keeps, how many files it reads, and draws that depend on the ID alone."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from lobes.data.seeding import item_rng
from lobes.errors import UserError
from lobes.polsess import mmipc, variants

LSB = 1 / 32768
# files read by subtracting / by adding, counted by hand
COUNTS = {
    ("SB", True): {"SER": (3, 7), "SR": (5, 5), "ER": (4, 6), "R": (6, 4), "C": (8, 2)},
    ("SB", False): {"SE": (3, 4), "S": (4, 3), "E": (4, 3), "C": (5, 2)},
    ("ES", True): {"SER": (4, 5), "SR": (6, 3), "ER": (5, 4), "R": (7, 2), "C": (8, 1)},
}


CASES = [
    (task, variant, indoor)
    for task in variants.TASKS
    for indoor in (True, False)
    for variant in variants.variants_for(indoor)
]


def stored(indoor: bool, samples: int = 2000) -> dict[str, np.ndarray]:
    """Parts as 16-bit files hold them: the mix is the rounded sum of the parts before they were rounded."""
    rng = np.random.default_rng(5)
    exact = {part: rng.uniform(-0.1, 0.1, samples) for part in variants.all_parts(indoor)}
    exact["mix"] = sum(exact.values())
    return {part: (np.rint(x / LSB) * LSB).astype(np.float32) for part, x in exact.items()}


def letters_kept(task: str, variant: str, indoor: bool) -> set[str]:
    """The kept parts, spelt from the meaning of the letters."""
    speakers = (1,) if task == "ES" else (1, 2)
    kept = {f"s{n}" for n in speakers}
    if "S" in variant:
        kept.add("scene")
    if "E" in variant:
        kept |= {"event", "ev_reverb"} if indoor else {"event"}
    if "R" in variant:
        kept |= {f"sp{n}_reverb" for n in speakers}
    return kept


@pytest.mark.parametrize(("task", "variant", "indoor"), CASES)
def test_kept_parts_follow_the_letters(task, variant, indoor):
    assert set(variants.kept_parts(task, variant, indoor)) == letters_kept(task, variant, indoor)


@pytest.mark.parametrize(("task", "indoor"), COUNTS)
def test_file_counts(task, indoor):
    for variant, (subtract, add) in COUNTS[task, indoor].items():
        kept = variants.kept_parts(task, variant, indoor)
        dropped = tuple(part for part in variants.all_parts(indoor) if part not in kept)
        assert len(mmipc.files_read(task, mmipc.Plan(("mix",), dropped))) == subtract
        assert len(mmipc.files_read(task, mmipc.Plan(kept))) == add
        chosen = mmipc.plan(task, variant, indoor)
        assert len(mmipc.files_read(task, chosen)) == min(subtract, add)
        assert ("mix" in chosen.add) == (subtract < add)  # a tie is added


@pytest.mark.parametrize(("task", "variant", "indoor"), CASES)
def test_render_reads_each_file_once_and_equals_the_sum(task, variant, indoor):
    parts, reads = stored(indoor), []

    def read(part):
        reads.append(part)
        return parts[part]

    mix, sources = mmipc.render(task, variant, indoor, read)
    assert sorted(reads) == sorted(mmipc.files_read(task, mmipc.plan(task, variant, indoor)))
    expected = sum(parts[part] for part in letters_kept(task, variant, indoor))
    assert np.abs(mix - expected).max() <= 4 * LSB
    targets = {"ES": [parts["s1"]], "EB": [parts["s1"] + parts["s2"]], "SB": [parts["s1"], parts["s2"]]}[task]
    np.testing.assert_array_equal(sources, np.stack(targets, axis=1))
    assert mix.dtype == sources.dtype == np.float32 and sources.shape == (2000, variants.num_sources(task))


@pytest.mark.parametrize(("task", "variant", "indoor"), CASES)
def test_memory_rendering_agrees_with_files(task, variant, indoor):
    parts = stored(indoor)
    from_files = mmipc.render(task, variant, indoor, parts.__getitem__)
    in_memory = mmipc.render_parts(task, variant, {part: x for part, x in parts.items() if part != "mix"})
    assert np.abs(from_files[0] - in_memory[0]).max() <= 4 * LSB
    np.testing.assert_array_equal(from_files[1], in_memory[1])


def test_render_leaves_the_stored_parts_alone():
    parts = stored(True)
    before = {part: x.copy() for part, x in parts.items()}
    mmipc.render("SB", "ER", True, parts.__getitem__)
    mmipc.render_parts("EB", "SER", parts)
    for part, x in before.items():
        np.testing.assert_array_equal(parts[part], x)


def test_unequal_lengths_are_named():
    parts = stored(False)
    parts["scene"] = parts["scene"][:-1]
    with pytest.raises(UserError, match="equal lengths.*'scene': 1999"):
        mmipc.render("SB", "S", False, parts.__getitem__)


def test_absent_part_is_named():
    parts = stored(False)
    del parts["event"]
    with pytest.raises(UserError, match="needs the parts event"):
        mmipc.render_parts("SB", "E", parts)


def test_training_draw_is_uniform_and_seeded():
    IDs = [f"item{n}" for n in range(2000)]
    drawn = [mmipc.draw_variant(item_rng(7, 3, ID), True) for ID in IDs]
    for variant in variants.INDOOR_VARIANTS:
        assert 330 < drawn.count(variant) < 470
    again = [mmipc.draw_variant(item_rng(7, 3, ID), True) for ID in reversed(IDs)]
    assert drawn == again[::-1]
    for other in ((8, 3), (7, 4), (7, None)):
        assert drawn != [mmipc.draw_variant(item_rng(*other, ID), True) for ID in IDs]


def test_valid_variant_depends_on_the_id_alone():
    # held: a change would change every validation score that was ever written down
    golden = {"a": "ER", "b": "SR", "item7": "R"}
    assert {ID: mmipc.fixed_variant(ID, True) for ID in golden} == golden
    counts = [mmipc.fixed_variant(f"item{n}", False) for n in range(2000)]
    for variant in variants.OUTDOOR_VARIANTS:
        assert 400 < counts.count(variant) < 600


def test_draws_do_not_depend_on_the_process():
    code = "from lobes.data.seeding import item_rng; from lobes.polsess.mmipc import fixed_variant; "
    code += "print(item_rng(1, 2, 'x').integers(1 << 30), fixed_variant('x', 1))"
    here = f"{item_rng(1, 2, 'x').integers(1 << 30)} {mmipc.fixed_variant('x', True)}"
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert there.stdout.strip() == here


def test_no_fitting_variant_is_an_error():
    with pytest.raises(UserError, match="fits an outdoor row"):
        mmipc.fixed_variant("a", False, ["SER"])


def test_import_is_light():
    code = "import sys, lobes.polsess.mmipc; print({'torch', 'scipy', 'soundfile'} & {*sys.modules})"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "set()"
