"""The tables and constants that come from the results of scripts/gpu_day.py; those of a dry run are not written."""

from __future__ import annotations

import json
import math

import pytest

from lobes.errors import UserError
from lobes.scan.cuda import tuning

ABOUT = {"command": "python scripts/gpu_day.py", "commit": "c0ffee", "machine": "a fast one", "dry": False}
SHAPE = (64, 256, 129, 16)


def put(folder, number, rows, **more):
    path = folder / f"part_{number}.json"
    path.write_text(json.dumps({**ABOUT, "part": number, "finished": True, "running": None, **more, "rows": rows}))


def scanned(ours, theirs, shape=SHAPE):
    def times(both, **more):
        kinds = dict(zip(("forward", "forward+backward"), both, strict=True))
        return {kind: {"wall_ms": 2 * value, "device_ms": value} for kind, value in kinds.items()} | more

    return {"shape": shape, "triton": times(ours, megabytes=70.0), "mamba_ssm": times(theirs), "bridge": times(theirs)}


@pytest.fixture
def tables(load):
    return load("gpu_day_tables")


def shown(tables, folder, capsys):
    tables.main([str(folder)])
    return capsys.readouterr().out


def test_the_scan_has_ratio_target_and_shares(tables, tmp_path, capsys):
    facts = {"nvidia-smi": {"clocks.max.sm": "1980"}, "multiprocessors": 132}
    put(tmp_path, 0, {"facts": facts, "copy": {"terabytes_per_second": 4.3}})
    long = scanned((0.1, 0.4), (0.1, 0.5), (1, 256, 16000, 16))
    put(tmp_path, 1, {"intra": scanned((0.04, 0.2), (0.1, 0.3)), "long": long})
    text = shown(tables, tmp_path, capsys)
    assert (
        "| intra (64, 256, 129, 16) | 0.040 / 0.200 | 0.100 / 0.300 | 0.100 / 0.300 | 1.50 | 2.0: missed | 1.50 |"
        in text
    )
    # 68 bytes for each of 2.1 million elements; 34 million exponentials at 16 a clock of 132 multiprocessors, of 40 us
    assert "| 0.72 | 20% | 70 |" in text
    assert "| 1.25 | 1.0: met |" in text and "4.3 TB/s" in text and "commit c0ffee; a fast one" in text


def test_what_failed_and_what_was_left_out_is_said(tables, tmp_path, capsys):
    row = scanned((1, 2), (1, 2))
    rows = {"mamba_ssm": {"left_out": "no nvcc"}, "intra": {key: row[key] for key in ("shape", "triton")}}
    put(tmp_path, 1, {**rows, "inter": {"failed": "RuntimeError: no"}})
    text = shown(tables, tmp_path, capsys)
    assert "mamba_ssm was left out: no nvcc" in text and "Failed: inter: RuntimeError: no" in text
    assert "| intra (64, 256, 129, 16) | 1.000 / 2.000 | - | - | - | 2.0 | - |" in text


def test_steps_and_trainings(tables, tmp_path, capsys):
    step = {"preset": "spmamba_8k", "seconds": 4.0, "step_seconds": 0.25, "megabytes": 2048.0}
    put(tmp_path, 4, {"spmamba_8k bf16": step})
    run = {
        "task": "SB",
        "preset": "tf_gridnet",
        "steps": 1200,
        "training_seconds": 480.0,
        "si_sdr": 5.0,
        "si_sdri": 7.125,
    }
    put(tmp_path, 5, {"SB corpus": {"mixtures": 790}, "SB tf_gridnet": {**run, "pesq": 2.0, "stoi": None}})
    text = shown(tables, tmp_path, capsys)
    assert "| `spmamba_8k` | 250 ms, 2.00 GB | - |" in text
    assert "| SB | tf_gridnet | 1,200 | 8.0 | 5.00 | 7.12 | 2.00 | - |" in text


def test_sections_are_written_and_those_of_a_dry_run_are_not(tables, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(tables, "ROOT", tmp_path)
    (tmp_path / "docs").mkdir()
    page = tmp_path / "docs" / "scan.md"
    page.write_text("before\n<!-- gpu-scan:begin -->\nnot yet\n<!-- gpu-scan:end -->\nafter\n")
    put(tmp_path, 0, {"copy": {"terabytes_per_second": 4.3}}, dry=True)
    with pytest.raises(UserError, match="comes from a dry run"):
        tables.main([str(tmp_path), "--write"])
    assert "A dry run on a CPU" in capsys.readouterr().out and "not yet" in page.read_text()
    put(tmp_path, 0, {"copy": {"terabytes_per_second": 4.3}})
    tables.main([str(tmp_path), "--write"])
    text = page.read_text()
    assert text.startswith("before") and text.endswith("after\n") and "4.3 TB/s" in text and "not yet" not in text
    with pytest.raises(UserError, match="no part_0.json"):
        tables.main([str(tmp_path / "docs")])


def test_the_documents_have_places_for_the_tables(tables):
    from pathlib import Path

    root = Path(__file__).resolve().parents[2]
    for name in ("docs/scan.md", "docs/gpu.md"):
        assert f"<!-- {tables.PLACES[name][0]}:begin -->" in (root / name).read_text()


# ------------------------------------------------------------------ constants
def asked(programs, cut=1.0, ahead=1.0, back=1.0, **more):
    """The row of a shape at which a few variants take these shares of the time now."""
    row = {"programs": programs, "cut": {"variants": [{"programs": 1, "ms": cut}, {"programs": 4224, "ms": 1.0}]}}
    row["ahead"] = {"variants": [{"look": 2, "ms": ahead}, {"look": 4, "ms": 1.0}]}
    row["back"] = {"variants": [{"turn_back": 2, "chunk": 4, "ms": back}, {"turn_back": 4, "chunk": 8, "ms": 1.0}]}
    return {name: {**value, "now_ms": 1.0} if isinstance(value, dict) else value for name, value in row.items()} | more


@pytest.fixture
def part(load):
    return load("gpu_day_tuning")


def test_constants_that_gain_nothing_stay(part):
    choices = part.choose([asked(100, ahead=0.98), asked(4000)])
    assert choices == [{"turn_back": tuning.TUNED[-1].turn_back, "chunk": 8, "below": math.inf}]


def test_one_set_of_constants_where_two_gain_no_more(part):
    choice = part.choose([asked(100, ahead=0.8), asked(4000, ahead=0.81)])
    assert [c["below"] for c in choice] == [math.inf] and choice[0]["look"] == 2


def test_two_sets_where_small_and_large_scans_differ(part):
    small, large = [asked(8, ahead=0.5), asked(512, ahead=0.6)], [asked(n, ahead=1.5, cut=0.8) for n in (2000, 4000)]
    few, many = part.choose([*small, *large])
    assert (few["below"], many["below"]) == (2000, math.inf)
    assert few["look"] == 2 and "programs" not in few and many["programs"] == 1 and "look" not in many


def test_all_sets_save_states_alike(part):
    few, many = part.choose([asked(8, back=0.5, ahead=0.5), asked(4000, back=0.99, ahead=1.5)])
    assert few["chunk"] == many["chunk"] == 4


def test_a_variant_that_cannot_run_somewhere_is_not_chosen(part):
    assert part.choose([asked(8, ahead=0.5), asked(9, ahead="OutOfResources: registers")])[-1].get("look") != 2


def test_constants_go_into_the_code(load, tmp_path, capsys):
    program = load("gpu_day_constants")
    text = program.FILE.read_text()
    same = program.with_constants(text, [{"below": None}])
    assert same == text  # as they are now
    file = tmp_path / "tuning.py"
    file.write_text(text)
    row = {
        "choices": [{"below": 512, "look": 2, "registers": 112, "chunk": 4}, {"below": None, "turn": 8, "chunk": 4}],
        "gain": 1.2,
    }
    put(tmp_path, 2, {"together": {**row, "keep": False}})
    with pytest.raises(UserError, match="wrong, need too much memory or gain too little"):
        program.main([str(tmp_path), "--write", "--file", str(file)])
    assert file.read_text() == text and "look=2" in capsys.readouterr().out
    put(tmp_path, 2, {"together": {**row, "keep": True}})
    program.main([str(tmp_path), "--write", "--file", str(file)])
    names = {}
    exec(compile(file.read_text(), "tuning.py", "exec"), names)
    assert [(r.below, r.look, r.turn, r.registers) for r in names["TUNED"]] == [
        (512, 2, 4, 112),
        (math.inf, 4, 8, None),
    ]
    assert names["CHUNKS"] == {8: 4, 16: 4, 32: 16} and names["tuning_of"](511).look == 2


def test_constants_of_a_dry_run_are_refused(load, tmp_path):
    put(tmp_path, 2, {"together": {"choices": [{"below": None}], "gain": 1.2, "keep": True}}, dry=True)
    with pytest.raises(UserError, match="dry run"):
        load("gpu_day_constants").main([str(tmp_path)])
