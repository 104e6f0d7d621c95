"""A model on another data set's manifest: sources, rates and lengths are checked, the table is written."""

import json

import numpy as np
import pytest

from lobes.data import audio
from lobes.data.manifest import write_manifest
from lobes.errors import UserError
from lobes.evaluation.manifest import evaluate
from lobes.evaluation.results import folder_name
from lobes.runs.table import read_per_utterance


@pytest.fixture
def data(tmp_path):
    """Two items of two sources at 16 kHz, with a variant each."""
    rng, rows = np.random.default_rng(0), []
    for name, variant in (("b", "SE"), ("a", "SER")):
        sources = 0.1 * rng.standard_normal((2, 4000))
        for part, samples in (("mix", sources.sum(0)), ("s1", sources[0]), ("s2", sources[1])):
            audio.write(tmp_path / "data" / part / f"{name}.wav", samples, 16000)
        paths = {f"{part}_wav": f"$data_root/{part}/{name}.wav" for part in ("mix", "s1", "s2")}
        rows.append({"ID": name, "duration": 0.25, **paths, "variant": variant})
    write_manifest(tmp_path / "test.csv", rows)
    return tmp_path


def halves(mix):
    return np.stack([mix, mix], 1)


def run(data, separate=halves, num_sources=2, rate=16000, **options):
    where = (data / "test.csv", data / "out", data / "data")
    return evaluate(separate, num_sources, rate, *where, metrics=("si_sdr",), workers=0, **options)


def test_table_summary_and_audio(data):
    summary = run(data, audio_items=1)
    assert summary == json.loads((data / "out" / "summary.json").read_text()) and summary["n"] == 2
    rows = read_per_utterance(data / "out" / "per_utterance.csv")
    assert [row["id"] for row in rows] == ["a", "b"] and "variant" not in rows[0] and "groups" not in summary
    assert all(row["si_sdri"] == pytest.approx(0, abs=1e-4) for row in rows)
    assert (data / "out" / "audio" / "a" / "s2_hat.wav").is_file()


def test_a_column_groups_the_means(data):
    summary = run(data, group_by="variant")
    assert summary["grouped_by"] == "variant" and list(summary["groups"]) == ["SE", "SER"]
    rows = read_per_utterance(data / "out" / "per_utterance.csv")
    assert [(row["id"], row["variant"]) for row in rows] == [("a", "SER"), ("b", "SE")]
    with pytest.raises(UserError, match="no column varient. Did you mean 'variant'?"):
        run(data, group_by="varient")


def test_a_measure_of_your_own_has_a_column(data, monkeypatch):
    (data / "my_scores.py").write_text(
        "def peak(estimate, target, rate):\n    return float(abs(estimate).max() * rate)\n"
    )
    monkeypatch.syspath_prepend(data)
    where = (data / "test.csv", data / "out", data / "data")
    summary = evaluate(halves, 2, 16000, *where, metrics=("si_sdr", "my_scores:peak"), workers=0)
    assert summary["mean"]["peak"] > 100
    assert read_per_utterance(data / "out" / "per_utterance.csv")[0]["peak"] > 100


def test_another_rate_is_resampled_to_the_models(data):
    lengths = []
    run(data, lambda mix: lengths.append(len(mix)) or halves(mix), rate=8000)
    assert lengths == [2000, 2000]


def test_another_number_of_sources_is_refused(data):
    with pytest.raises(UserError, match=r"has 2 source\(s\) \(s1_wav, s2_wav\), the model gives 1"):
        run(data, num_sources=1)


def never(mix):
    raise AssertionError("nothing is separated before everything is checked")


def test_a_source_of_another_length_names_the_item(data):
    """T2-23: from the headers, before the first item."""
    audio.write(data / "data" / "s2" / "b.wav", np.zeros(99), 16000)
    message = r"1 of 2 items .* b: the mixture has 4000 samples, one of its sources 99 \(.*s2"
    with pytest.raises(UserError, match=message):
        run(data, never)


def test_everything_that_cannot_be_scored_is_counted_at_once(data):
    (data / "data" / "s1" / "a.wav").unlink()
    audio.write(data / "data" / "s2" / "b.wav", np.zeros(2000), 8000)
    with pytest.raises(UserError, match="2 of 2 items cannot be scored") as error:
        run(data, never)
    assert "a.wav: no such audio file" in str(error.value) and "16000 Hz, one of its sources 8000" in str(error.value)
    (data / "data" / "s1" / "a.wav").write_text("no audio")
    with pytest.raises(UserError, match="a: .*not a readable audio file"):
        run(data, never)


def test_damage_that_a_header_does_not_show_is_found_first(data):
    audio.write(data / "data" / "s1" / "a.wav", np.zeros(4000), 16000, "FLOAT")
    samples = np.zeros(4000, np.float32)
    samples[7] = np.nan
    (data / "data" / "s1" / "a.wav").write_bytes(
        (data / "data" / "s1" / "a.wav").read_bytes()[:-16000] + samples.tobytes()
    )
    with pytest.raises(UserError, match="1 of 2 items cannot be scored: a: .*sample 7 is nan"):
        run(data, never)


def test_every_row_counts_for_the_sources_not_the_first_alone(data):
    """A first row without s2 would make a mixture of two speakers one of a single speaker."""
    text = "ID,mix_wav,s1_wav,s2_wav,s12_wav\nb,mix/b.wav,s1/b.wav,{},{}\na,mix/a.wav,s1/a.wav,{},{}\n"
    where = (table(data, text.format("", "", "s2/a.wav", "")), data / "out")
    with pytest.raises(UserError, match=r"2 source\(s\) \(s1_wav, s2_wav\), the model gives 1"):
        evaluate(never, 1, 16000, *where)
    with pytest.raises(UserError, match="b: s2_wav is empty"):
        evaluate(never, 2, 16000, *where)
    where = (table(data, text.format("", "", "", "s2/a.wav")), data / "out")
    with pytest.raises(UserError, match=r"\(s1_wav, s12_wav\)"):
        evaluate(never, 1, 16000, *where)


def test_a_column_of_the_results_cannot_group_them(data):
    text = "ID,mix_wav,s1_wav,s2_wav,pesq,status\nb,mix/b.wav,s1/b.wav,s2/b.wav,1.5,x\n"
    for name in ("pesq", "status"):
        with pytest.raises(UserError, match=f"results have a column {name}, too"):
            evaluate(never, 2, 16000, table(data, text), data / "out", group_by=name)


def test_unknown_metrics_are_refused_first(data):
    where = (data / "no.csv", data / "out")
    for metric, message in (("pesk", "Did you mean 'pesq'"), ("no_module:f", "cannot be imported")):
        with pytest.raises(UserError, match=message):
            evaluate(never, 2, 16000, *where, metrics=("si_sdr", metric))


def table(data, text, name="elsewhere.csv"):
    (data / "data" / name).write_text(text)
    return data / "data" / name


def test_paths_are_relative_to_the_manifest_and_other_columns_are_not_needed(data, monkeypatch):
    """T2-24: from any folder, no duration; `$data_root` without --data-root is the manifest's folder."""
    (data / "other").mkdir()
    monkeypatch.chdir(data / "other")
    for root in ("", "$data_root/"):
        text = f"ID;mix_wav;s1_wav\na;{root}mix/a.wav;{root}s1/a.wav\n"
        summary = evaluate(lambda mix: mix[:, None], 1, 16000, table(data, text), "out", metrics=("si_sdr",), workers=0)
        assert summary["n"] == 1 and (data / "other" / "out" / "summary.json").is_file()


def test_paths_that_are_not_used_need_no_meaning(data):
    text = "ID,mix_wav,s1_wav,noise_wav\na,mix/a.wav,s1/a.wav,C:\\noise\\a.wav\n"
    where = (table(data, text), data / "out")
    assert evaluate(lambda mix: mix[:, None], 1, 16000, *where, metrics=("si_sdr",), workers=0)["n"] == 1


@pytest.mark.parametrize(
    "columns, more", [("s1_wav,s2_wav", "s1/b.wav,s2/b.wav"), ("s1_wav,s9_wav", "s1/b.wav,s2/b.wav")]
)
def test_a_row_of_more_sources_than_the_first_is_refused(data, columns, more):
    text = f"ID,mix_wav,{columns}\na,mix/a.wav,s1/a.wav,\nb,mix/b.wav,{more}\n"
    with pytest.raises(UserError, match=rf"has 2 source\(s\) \({columns.replace(',', ', ')}\), the model gives 1"):
        evaluate(never, 1, 16000, table(data, text), data / "out")


def test_a_root_that_is_missing_is_named(data):
    """T2-24: one line that names the option."""
    with pytest.raises(UserError, match="begin with .data_root, and .* not in its own folder. Add --data-root"):
        evaluate(never, 2, 16000, data / "test.csv", data / "out")
    with pytest.raises(UserError, match="--data-root .*nowhere: no such folder"):
        evaluate(never, 2, 16000, data / "test.csv", data / "out", data / "nowhere")


def test_a_folder_is_no_manifest(data):
    with pytest.raises(UserError, match="is a folder, expected a manifest.*it holds test.csv"):
        evaluate(never, 2, 16000, data, data / "out")


def test_the_input_is_scored_as_well_as_the_output(data):
    rng = np.random.default_rng(1)
    summary = run(data, lambda mix: halves(mix) + 0.1 * rng.standard_normal((len(mix), 2)))
    [a, b] = read_per_utterance(data / "out" / "per_utterance.csv")
    for row in (a, b):
        assert row["si_sdri"] == pytest.approx(row["si_sdr"] - row["si_sdr_in"], abs=2e-6) and row["si_sdri"] < 0
    pair = summary["against_input"]["si_sdr"]
    assert pair["n"] == 2 and pair["improved"] == 0.0
    assert pair["input"] == pytest.approx((a["si_sdr_in"] + b["si_sdr_in"]) / 2, abs=1e-5)


@pytest.mark.parametrize("gain", [-30.0, 1e-3, 16.0])
def test_saved_estimates_stand_at_the_level_of_the_mixture(data, gain):
    """A loss that ignores scale leaves a gain of any size and sign."""
    by_mix = {}
    for name in "ab":
        signals = [audio.read_mono(data / "data" / part / f"{name}.wav") for part in ("mix", "s1", "s2")]
        by_mix[signals[0].tobytes()] = gain * np.stack(signals[1:], 1)
    run(data, lambda mix: by_mix[mix.tobytes()], audio_items=2)
    for path in (data / "out" / "audio").glob("*/s?_hat.wav"):
        np.testing.assert_allclose(
            audio.read_mono(path), audio.read_mono(path.with_name(path.name[:2] + ".wav")), atol=2e-4
        )


def test_an_estimate_that_is_not_finite_is_scored_as_such_and_not_written(data, caplog):
    summary = run(data, lambda mix: halves(mix) * np.array([1.0, np.nan]), audio_items=1)
    assert summary["failures"] == {"non-finite estimate": 2}
    assert not (data / "out" / "audio" / "a" / "s2_hat.wav").exists() and "s2_hat" in caplog.text
    assert (data / "out" / "audio" / "a" / "mix.wav").is_file()


def test_an_id_that_is_no_name_stays_in_the_folder(data):
    text = "ID,mix_wav,s1_wav\n../../a:b,mix/a.wav,s1/a.wav\n"
    options = {"metrics": ("si_sdr",), "workers": 0, "audio_items": 1}
    evaluate(lambda mix: mix[:, None], 1, 16000, table(data, text), data / "out", **options)
    [folder] = (data / "out" / "audio").iterdir()
    assert (folder / "mix.wav").is_file() and not list(data.glob("*a:b*"))


@pytest.mark.parametrize("ID", ["con", "NUL", "aux.1", "a.", "..", ""])
def test_folders_have_names_for_every_system(ID):
    name = folder_name(ID)
    assert name != ID and not name.endswith(".") and name.partition(".")[0].lower() not in ("con", "nul", "aux")
    assert folder_name("contra.1") == "contra.1"


def test_the_manifest_and_each_header_are_read_once(data, monkeypatch):
    from lobes.data.containers import whole
    from lobes.evaluation import manifest

    tables, opened = [], []
    read, views = manifest.read_table, whole.views
    monkeypatch.setattr(manifest, "read_table", lambda *given: tables.append(given) or read(*given))
    monkeypatch.setattr(whole, "views", lambda path: opened.append(path) or views(path))
    run(data)
    assert len(tables) == 1
    assert len(opened) == 12 and len(set(opened)) == 6, "each file once for the check, once for its item"


def test_texts_and_a_recogniser_give_word_errors(data, monkeypatch):
    """s1_text and s2_text; a row without them is a status. The recogniser hears every signal as the same words."""
    rows = {"a": ("one two three", "one four"), "b": ("one two", "")}
    lines = [f"{name},mix/{name}.wav,s1/{name}.wav,s2/{name}.wav,{one},{two}" for name, (one, two) in rows.items()]
    path = table(data, "ID,mix_wav,s1_wav,s2_wav,s1_text,s2_text\n" + "\n".join(lines) + "\n")
    (data / "same_words.py").write_text("def factory():\n    return lambda wave, rate: 'One, two!'\n")
    monkeypatch.syspath_prepend(data)
    options = {"metrics": ("wer",), "workers": 0, "recogniser": "same_words:factory"}
    summary = evaluate(halves, 2, 16000, path, data / "out", **options)
    assert summary["recogniser"] == "same_words:factory" and summary["mean"]["wer"] == 2 / 5
    assert summary["against_input"]["wer"] == {"n": 1, "input": 0.4, "output": 0.4, "improved": 0.0}
    assert summary["failures"] == {"wer: no text": 1, "wer_in: no text": 1, "wer_target: no text": 1}
    assert read_per_utterance(data / "out" / "per_utterance.csv")[0]["wer_words"] == 5
    with pytest.raises(UserError, match="recogniser nowhere:f: cannot be imported"):
        evaluate(never, 2, 16000, path, data / "out", **{**options, "recogniser": "nowhere:f"})
