"""Dynamic mixing from stored parts: pools, speakers, levels, seeds; speed perturbation re-sums the parts."""

from __future__ import annotations

import numpy as np
import pytest

from lobes.data import audio
from lobes.data.augmentation.speed import change_speed, perturb_speed
from lobes.data.seeding import item_rng
from lobes.polsess import mmipc, variants
from lobes.polsess.remix import LAYERS, Remixer

SAMPLES = 1600
INDOOR = ("home", "office", "bus")


def make_row(ID: str, scene_class: str, speakers=("", "")) -> dict:
    indoor = scene_class in INDOOR
    row = {"ID": ID, "sceneClass": scene_class, "speaker1": speakers[0], "speaker2": speakers[1]}
    return row | {f"{part}_wav": f"{ID}/{part}" if part in variants.all_parts(indoor) else "" for part in PARTS}


PARTS = variants.INDOOR_PARTS


def noise(path: str, samples: int = SAMPLES) -> np.ndarray:
    """A part that can be recognised: its samples are seeded by its path."""
    return item_rng(0, None, path).normal(0, 0.05, samples).astype(np.float32)


def origin(x: np.ndarray, rows) -> str:
    """Find the file whose samples, scaled, are x."""
    files = [row[f"{part}_wav"] for row in rows for part in PARTS if row[f"{part}_wav"]]
    alike = {file: abs(np.dot(x, y)) / np.linalg.norm(x) / np.linalg.norm(y) for file in files for y in [noise(file)]}
    best = max(alike, key=alike.__getitem__)
    assert alike[best] > 0.999
    return best


@pytest.fixture
def rows():
    speakers = [("t1", "t2"), ("t3", "t1"), ("t4", "t5"), ("t1", "t6")]
    home = [make_row(f"home{n}", "home", speakers[n]) for n in range(4)]
    return home + [make_row(f"park{n}", "park", speakers[n]) for n in range(3)] + [make_row("bus0", "bus")]


def draws(rows, row, count=60, **options):
    remixer = Remixer(rows, noise, **options)
    for epoch in range(count):
        yield remixer.remix(row, item_rng(1, epoch, row["ID"]))


def db(x, y):
    return 10 * np.log10(np.sum(np.square(x, dtype=np.float64)) / np.sum(np.square(y, dtype=np.float64)))


def test_parts_come_from_the_class_and_bring_their_reverb(rows):
    seen = set()
    for parts in draws(rows, rows[0], 25):
        assert tuple(sorted(parts)) == tuple(sorted(PARTS))
        where = {part: origin(x, rows).split("/") for part, x in parts.items()}
        assert all(ID.startswith("home") for ID, _ in where.values())
        assert where["scene"][0] != "home0" != where["event"][0] and where["ev_reverb"][0] == where["event"][0]
        for role in "12":
            ID, stored = where[f"s{role}"]
            assert where[f"sp{role}_reverb"] == [ID, f"sp{stored[1]}_reverb"]
        assert where["s1"][0] == "home0"
        seen.add(where["s1"][1])
    assert seen == {"s1", "s2"}


def test_never_the_same_speaker(rows):
    speaker = {row[f"s{n}_wav"]: row[f"speaker{n}"] for row in rows for n in (1, 2)}
    for parts in draws(rows, rows[0]):
        assert speaker[origin(parts["s1"], rows)] != speaker[origin(parts["s2"], rows)]


def test_same_speaker_everywhere_in_the_class_widens_the_pool():
    rows = [
        make_row("a", "home", ("t1", "t1")),
        make_row("b", "home", ("t1", "t1")),
        make_row("c", "office", ("t1", "t9")),
    ]
    for parts in draws(rows, rows[0], 10):
        assert origin(parts["s2"], rows) == "c/s2"


def test_own_speaker_one_stays_when_asked(rows):
    for parts in draws(rows, rows[0], 15, both_speakers=False):
        assert origin(parts["s1"], rows) == "home0/s1"
        assert origin(parts["s2"], rows).endswith("/s2")


def test_levels(rows):
    ssr, scene = [], []
    for parts in draws(rows, rows[0], 200):
        ssr.append(db(parts["s1"], parts["s2"]))
        scene.append(db(parts["scene"], parts["s1"] + parts["s2"]))
    for values, low, high in ((ssr, -5, 5), (scene, -14, 0)):
        assert low - 1e-3 <= min(values) < low + 1 and high - 1 < max(values) <= high + 1e-3
        assert np.mean(values) == pytest.approx((low + high) / 2, abs=0.8)


def test_partner_and_its_reverb_share_one_gain(rows):
    for parts in draws(rows, rows[0], 5):
        gains = [np.linalg.norm(parts[p]) / np.linalg.norm(noise(origin(parts[p], rows))) for p in ("s2", "sp2_reverb")]
        assert gains[0] == pytest.approx(gains[1], rel=1e-4)


def test_outdoor_rows_have_no_reverb(rows):
    for parts in draws(rows, rows[4], 10):
        assert tuple(sorted(parts)) == ("event", "s1", "s2", "scene")
        assert all(origin(x, rows).startswith("park") for x in parts.values())


def test_peak_guard_is_one_common_scale(rows):
    row = rows[0]
    loud = Remixer(rows, lambda path: 20 * noise(path)).remix(row, item_rng(1, 1, "x"))
    quiet = Remixer(rows, noise).remix(row, item_rng(1, 1, "x"))
    assert np.abs(sum(loud.values())).max() == pytest.approx(0.999, abs=1e-4)
    ratios = [np.linalg.norm(loud[part]) / np.linalg.norm(quiet[part]) for part in loud]
    np.testing.assert_allclose(ratios, ratios[0], rtol=1e-4)


def test_seeded_by_epoch_and_id_whatever_the_order(rows):
    remixer = Remixer(rows, noise)
    forward = [remixer.remix(row, item_rng(3, 2, row["ID"])) for row in rows]
    backward = [remixer.remix(row, item_rng(3, 2, row["ID"])) for row in reversed(rows)][::-1]
    for a, b in zip(forward, backward, strict=True):
        assert all(np.array_equal(a[part], b[part]) for part in a)
    other = remixer.remix(rows[0], item_rng(3, 3, rows[0]["ID"]))
    assert not np.array_equal(forward[0]["scene"], other["scene"])


@pytest.mark.parametrize("scene_class", ["home", "", "park"])
def test_a_single_row_falls_back_to_itself(scene_class):
    rows = [make_row("only", scene_class, ("t1", "t1"))]
    for parts in draws(rows, rows[0], 5):
        assert {origin(parts["s1"], rows), origin(parts["s2"], rows)} == {"only/s1", "only/s2"}
        assert origin(parts["scene"], rows) == "only/scene"


def test_rows_without_class_pool_by_reverb():
    rows = [make_row(n, "") for n in "abc"] + [make_row("in", "home")]
    for parts in draws(rows, rows[0], 20):
        assert all(origin(x, rows)[0] in "abc" for x in parts.values())


def test_unequal_lengths_follow_the_own_speaker(rows):
    lengths = {"home0": 1600, "home1": 900, "home2": 2500, "home3": 1600}
    remixer = Remixer(rows, lambda path: noise(path, lengths[path.split("/")[0]]))
    for epoch in range(10):
        parts = remixer.remix(rows[0], item_rng(1, epoch, "home0"))
        assert {len(x) for x in parts.values()} == {1600}


def test_silent_layers_do_no_harm(rows):
    remixer = Remixer(rows, lambda path: np.zeros(80, np.float32))
    assert not any(x.any() for x in remixer.remix(rows[0], item_rng(1, 1, "x")).values())


def test_reads_files_at_the_asked_rate(tmp_path, rows):
    home = rows[:4]
    for row in home:
        for part in PARTS:
            row[f"{part}_wav"] = str(tmp_path / f"{row['ID']}_{part}.wav")
            audio.write(row[f"{part}_wav"], noise(part), 8000)
    assert len(Remixer(home, sample_rate=8000).remix(home[0], item_rng(1, 1, "x"))["s1"]) == SAMPLES
    with pytest.raises(audio.UserError, match="expected 16000 Hz"):
        Remixer(home, audio.read_mono, 16000).remix(home[0], item_rng(1, 1, "x"))


def tones(samples: int = 8000) -> dict[str, np.ndarray]:
    time = np.arange(samples) / 8000
    return {part: (0.1 * np.sin(2 * np.pi * 300 * (n + 1) * time)).astype(np.float32) for n, part in enumerate(PARTS)}


@pytest.mark.parametrize("speed", [0.9, 0.95, 1.05, 1.1])
def test_speed_moves_the_pitch_and_keeps_the_level(speed):
    slow = change_speed(tones()["s1"], speed)
    assert len(slow) == round(8000 / speed)
    time = np.arange(len(slow)) / 8000
    expected = 0.1 * np.sin(2 * np.pi * 300 * speed * time)
    assert np.abs(slow - expected)[200:-200].max() < 2e-3


def test_speed_perturbation_keeps_every_layer():
    parts = tones()
    parts["mix"] = sum(parts.values())
    changed = perturb_speed(parts, LAYERS, np.random.default_rng(4))
    assert set(changed) == set(parts)
    total = sum(x for part, x in changed.items() if part != "mix")
    np.testing.assert_allclose(changed["mix"], total, atol=1e-6)
    assert {len(x) for x in changed.values()} <= {round(8000 / 1.05), 8000, round(8000 / 0.95)}
    assert db(changed["mix"], parts["mix"]) == pytest.approx(0, abs=1.0)
    for variant in variants.INDOOR_VARIANTS:
        mmipc.render_parts("SB", variant, changed)


def test_reverb_goes_with_its_layer():
    parts = tones()
    parts |= {"sp1_reverb": 2 * parts["s1"], "sp2_reverb": 2 * parts["s2"], "ev_reverb": 2 * parts["event"]}
    speeds = set()
    for seed in range(12):
        changed = perturb_speed(parts, LAYERS, np.random.default_rng(seed))
        for wet, dry in (("sp1_reverb", "s1"), ("sp2_reverb", "s2"), ("ev_reverb", "event")):
            np.testing.assert_allclose(changed[wet], 2 * changed[dry], atol=1e-6)
        speeds.add(len(changed["s1"]))
    assert len(speeds) > 1
