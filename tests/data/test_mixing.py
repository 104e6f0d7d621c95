"""Dynamic mixing of any number of sources: speakers, levels, noise, lengths, seeds."""

from __future__ import annotations

import numpy as np
import pytest

from lobes.data.mixing import DynamicMixer, Pool, choose
from lobes.data.seeding import item_rng


class Noises:
    """Parts that can be recognised: samples are seeded by row and name; rows differ in length."""

    def __init__(self, noisy: bool = True, short_noise: bool = False) -> None:
        self.noisy, self.short_noise = noisy, short_noise

    def part(self, row, name):
        samples = row["samples"] // (3 if name == "noise" and self.short_noise else 1)
        return item_rng(0, None, row["ID"] + name).normal(0, row["level"], samples).astype(np.float32)

    def has_noise(self, row):
        return self.noisy


def make_rows(count: int = 6, speakers: int = 4, sources: int = 3):
    rng = np.random.default_rng(1)
    return [
        {"ID": f"r{n}", "samples": int(rng.integers(800, 1200)), "level": 0.02 * (n + 1)}
        | {f"speaker{k}": f"t{(n + k) % speakers}" for k in range(1, sources + 1)}
        for n in range(count)
    ]


def db(x, y):
    return 10 * np.log10(np.sum(np.square(x, dtype=np.float64)) / np.sum(np.square(y, dtype=np.float64)))


def origin(x, rows, reader, names):
    """The row and part that x is the beginning of, up to a gain."""
    parts = {(row["ID"], name): reader.part(row, name) for row in rows for name in names}
    alike = {key: abs(x @ y[: len(x)]) / np.linalg.norm(x) / np.linalg.norm(y[: len(x)])
             for key, y in parts.items() if len(y) >= len(x)}  # fmt: skip
    best = max(alike, key=alike.__getitem__)
    assert alike[best] > 0.999
    return best


def test_speakers_of_a_mixture_are_different_ones_and_source_1_is_the_rows_own():
    rows, reader = make_rows(), Noises()
    mixer, firsts, partners = DynamicMixer(rows, reader, 3), set(), set()
    who = {(row["ID"], f"s{k}"): row[f"speaker{k}"] for row in rows for k in (1, 2, 3)}
    for epoch in range(25):
        parts = mixer.remix(rows[0], item_rng(1, epoch, "r0"))
        found = [origin(parts[f"s{k}"], rows, reader, ("s1", "s2", "s3")) for k in (1, 2, 3)]
        assert found[0][0] == "r0" and len({who[one] for one in found}) == 3
        firsts.add(found[0][1])
        partners.update(found[1:])
    assert firsts == {"s1", "s2", "s3"} and len(partners) > 6


def test_levels_lie_where_they_were_drawn():
    rows = make_rows()
    levels, snrs = [], []
    for epoch in range(40):
        parts = DynamicMixer(rows, Noises(), 2, (-5.0, 5.0), (3.0, 9.0)).remix(rows[1], item_rng(1, epoch, "r1"))
        levels.append(db(parts["s2"], parts["s1"]))
        snrs.append(db(parts["s1"], parts["noise"]))
    assert -5.01 < min(levels) < -3 and 3 < max(levels) < 5.01
    assert 2.99 < min(snrs) < 4.5 and 7.5 < max(snrs) < 9.01


def test_all_are_cut_to_the_shortest_source_and_noise_is_as_long():
    rows = make_rows()
    for short in (False, True):
        reader = Noises(short_noise=short)
        for epoch in range(10):
            parts = DynamicMixer(rows, reader, 2).remix(rows[2], item_rng(1, epoch, "r2"))
            sources = [origin(parts[name], rows, reader, ("s1", "s2", "s3"))[0] for name in ("s1", "s2")]
            shortest = min(row["samples"] for row in rows if row["ID"] in sources)
            assert {len(x) for x in parts.values()} == {shortest}
            assert np.abs(parts["noise"][-100:]).max() > 0


def test_the_noise_is_of_another_row_and_of_any_stretch():
    rows, reader, places = make_rows(), Noises(), set()
    rows[0]["samples"] = 600  # so that there is room in the others
    for epoch in range(30):
        noise = DynamicMixer(rows, reader, 1).remix(rows[0], item_rng(1, epoch, "r0"))["noise"]
        for row in rows[1:]:
            x = reader.part(row, "noise")
            like = np.correlate(x, noise, "valid") / np.linalg.norm(noise)
            place = int(like.argmax())
            if like[place] > 0.99 * np.linalg.norm(x[place : place + len(noise)]):
                places.add((row["ID"], place))
                break
        else:
            raise AssertionError("the noise is of no other row")
    assert len({ID for ID, _ in places}) > 3 and len(places) > 15
    assert "noise" not in DynamicMixer(rows, Noises(noisy=False), 2).remix(rows[0], item_rng(1, 1, "r0"))


def test_a_mixture_is_decided_by_row_and_generator():
    rows = make_rows()
    one, again, other = (
        DynamicMixer(rows, Noises(), 3).remix(rows[0], item_rng(1, epoch, "r0")) for epoch in (1, 1, 2)
    )
    assert all(np.array_equal(one[name], again[name]) for name in one)
    assert not np.array_equal(one["s2"][:500], other["s2"][:500])


def test_loud_mixtures_stay_below_full_scale():
    rows = [row | {"level": 0.9} for row in make_rows()]
    for epoch in range(10):
        parts = DynamicMixer(rows, Noises(), 3).remix(rows[0], item_rng(1, epoch, "r0"))
        assert np.abs(sum(parts.values())).max() == pytest.approx(0.999, abs=1e-4)


def test_too_few_speakers_are_met_by_the_rows_own():
    (row,) = make_rows(1)
    parts = DynamicMixer([row], Noises(), 3).remix(row, item_rng(1, 1, "r0"))
    found = {origin(parts[f"s{k}"], [row], Noises(), ("s1", "s2", "s3")) for k in (1, 2, 3)}
    assert found == {("r0", "s1"), ("r0", "s2"), ("r0", "s3")}


def test_without_names_of_speakers_a_partner_is_of_another_row():
    rows = [{"ID": ID} for ID in "abc"]
    for seed in range(20):
        found = Pool(rows).another_voice([(rows[0], 1), (rows[1], 2)], (1, 2), np.random.default_rng(seed))
        assert found[0]["ID"] == "c"


def test_choose_finds_what_blind_draws_miss():
    rng = np.random.default_rng(0)
    draws = []
    found = choose(lambda: draws.append(0) or 0, lambda n: n == 5, lambda: range(10), rng)
    assert found == 5 and len(draws) == 16
    assert choose(lambda: 0, lambda n: False, lambda: range(3), rng) is None
