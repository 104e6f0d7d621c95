"""The `lobes` command: quick to start, one line and exit code 2 for a user's mistake."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lobes import cli
from lobes.data import audio

Run = Callable[..., tuple[int, str, str]]

HYPERPARAMS = """
num_spks: 2
sample_rate: 8000
modules:
  separator: !new:lobes.models.spmamba.SPMamba
    {num_sources: 2, sample_rate: 8000, n_fft: 64, hop_length: 32, n_layers: 1, emb_dim: 4, emb_ks: 4, emb_hs: 4,
     n_heads: 2, approx_qk_dim: 66, d_state: 4, expand: 1}
"""


@pytest.fixture
def lobes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Call the command in this process: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["lobes", *map(str, words)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        return int(caught.value.code or 0), *capsys.readouterr()

    return call


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A training run's folder with one checkpoint."""
    import torch
    from hyperpyyaml import load_hyperpyyaml

    folder = tmp_path / "run"
    checkpoint = folder / "save" / "CKPT+1"
    checkpoint.mkdir(parents=True)
    (folder / "hyperparams.yaml").write_text(HYPERPARAMS)
    network = load_hyperpyyaml(HYPERPARAMS)["modules"]["separator"]
    torch.save(network.state_dict(), checkpoint / "separator.ckpt")
    (checkpoint / "CKPT.yaml").write_text("si_sdri: 1.0\n")
    return folder


def test_starting_imports_nothing_heavy():
    """`lobes --help` answers in well under half a second as long as this holds."""
    code = (
        "import sys, lobes.cli; sys.argv = ['lobes', '--help']\n"
        "try: lobes.cli.main()\n"
        "except SystemExit: pass\n"
        "heavy = ['torch', 'speechbrain', 'numpy', 'scipy', 'matplotlib', 'numba', 'soundfile', 'rich']\n"
        "sys.exit(' '.join(name for name in heavy if name in sys.modules) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in ("corpus", "models", "separate", "export"))


def test_installed_command_gives_one_line_and_code_2():
    done = subprocess.run(
        [sys.executable, "-m", "lobes.cli", "export", "no-such-run", "out"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.splitlines() == ["error: no-such-run: no such run folder."]


def test_help_is_code_0_and_nothing_is_help(lobes: Run):
    code, out, _ = lobes("separate", "--help")
    assert code == 0 and "--out" in out
    code, out, err = lobes()
    assert code == 2 and "separate" in out and not err


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["sepparate"], ["No such command 'sepparate'", "'separate'", "See: lobes --help"]),
        (["corpus", "out", "--sede", "3"], ["--sede", "--seed", "See: lobes corpus --help"]),
        (["corpus", "out", "--train", "many"], ["--train: expected a whole number, got 'many'"]),
        (["corpus", "out", "--seconds", "-1"], ["--seconds"]),
        (["separate", "model", "-o", "out"], ["Missing argument", "See: lobes separate --help"]),
        (["separate", "no-model", "a.wav", "-o", "out"], ["no-model: no such folder"]),
        (["separate", "m", "a.wav", "-o", "out", "--device", "abacus"], ["--device abacus: no such device"]),
        (["separate", "m", "a.wav", "-o", "out", "--device", "cpu:1"], ["--device cpu:1: no such device"]),
        (["export", "no-run", "out"], ["no-run: no such run folder"]),
        (["corpus", "out", "--speech", "nowhere"], ["error: --speech nowhere: this folder does not exist"]),
        (["corpus", "out", "--seed", "-1"], ["error: --seed -1: expected a whole number"]),
        (["corpus", "out", "--name", "a/b"], ["error: --name 'a/b': expected letters"]),
        (["corpus", "out", "--sample-rate", "10"], ["error: --sample-rate 10, --seconds 4.0: expected"]),
        (["corpus", "out", "--train", "0", "--val", "0", "--test", "0"], ["all splits are 0", "--train 160 --val 24"]),
    ],
)
def test_mistakes_are_one_line_and_code_2(lobes: Run, tmp_path: Path, words: list[str], parts: list[str]):
    code, out, err = lobes(*words)
    assert code == 2 and not out
    assert err.count("\n") == 1 and err.startswith("error: ")
    assert all(part in err for part in parts), err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("place", ["file", "file/below", "n" * 300])
@pytest.mark.parametrize(
    "words", [["separate", "model", "a.wav", "-o"], ["enhance", "model", "a.wav", "-o"], ["export", "run"], ["corpus"]]
)
def test_an_output_that_cannot_be_written_is_found_before_the_work(
    lobes: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: list[str], place: str
):
    (tmp_path / "file").write_text("")
    for name in ("lobes.inference.Separator.from_hparams", "lobes.inference.export_pretrained",
                 "lobes.polsess.corpus.make_corpus"):  # fmt: skip
        monkeypatch.setattr(name, lambda *_, **__: pytest.fail("the work began"))
    code, out, err = lobes(*words, place)
    assert code == 2 and not out and err.count("\n") == 1
    assert any(part in err for part in ("is a file, expected a folder", "Not a directory", "File name too long"))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_only_trainings_run_as_ranks(lobes: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    code, _, said = lobes("evaluate", "run")
    assert code == 2 and len(said.splitlines()) == 1 and "Start it without torchrun" in said
    assert "torchrun" not in lobes("train", "no-such/recipe.yaml")[2]


def test_version(lobes: Run):
    from lobes import __version__

    assert lobes("--version")[:2] == (0, f"lobes {__version__}\n")


def test_absent_gpu_is_told(lobes: Run):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    code, _, err = lobes("separate", "model", "a.wav", "-o", "out", "--device", "cuda")
    assert code == 2 and "PyTorch finds no CUDA device" in err


def test_a_bug_is_not_disguised_as_a_mistake(monkeypatch: pytest.MonkeyPatch):
    def broken(**_):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(cli, "app", broken)
    with pytest.raises(ZeroDivisionError):
        cli.main()


def test_models_lists_the_registry(lobes: Run):
    from lobes.models import list_models

    code, out, _ = lobes("models")
    assert code == 0
    assert out.split() == list(list_models())


def test_models_table(lobes: Run, monkeypatch: pytest.MonkeyPatch):
    from lobes.evaluation import complexity

    monkeypatch.setattr(complexity, "table", lambda: "| model |")
    assert lobes("models", "--table")[:2] == (0, "| model |\n")


def test_profile_of_a_run_counts_its_network(lobes: Run, run: Path):
    code, out, _ = lobes("profile", run, "--no-time")
    assert code == 0 and "- Receptive field: -" in out and "| scan |" in out
    assert "- Parameters: 0" not in out and "- Streaming: no" in out


def test_size_prints_options_that_match_a_preset(lobes: Run):
    code, out, _ = lobes("size", "spmamba_tiny", "--mixer", "lstm")
    assert code == 0 and "88,906 parameters; with --mixer lstm --mixer_width " in out and "%)" in out
    code, _, err = lobes("size", "spmamba_tiny", "--mixer", "lstm", "--match", "mac")
    assert code == 2 and "expected parameters or macs, got 'mac'" in err


def test_corpus_hands_its_options_on(lobes: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    import lobes.polsess.corpus as corpus

    got = {}

    def make_corpus(out_folder, **options):
        got.update(options, out_folder=out_folder)
        return out_folder / options["name"]

    monkeypatch.setattr(corpus, "make_corpus", make_corpus)
    code, out, _ = lobes("corpus", "data", "--name", "tiny", "--speech", "voices", "--train", 3, "--seed", 5,
                         "--indoor-share", 0.5, "--indoor-class", "cellar", "--indoor-class", "attic")  # fmt: skip
    assert code == 0 and str(Path("data/tiny")) in out
    assert got["out_folder"] == Path("data") and got["speech"] == [Path("voices")] and got["rirs"] is None
    assert got["counts"]["train"] == 3 and got["seed"] == 5 and got["sample_rate"] == 8000
    assert got["indoor_share"] == 0.5 and got["indoor_classes"] == ["cellar", "attic"]


def test_corpus_defaults_are_those_of_the_function():
    import inspect

    from lobes.polsess.corpus import build

    options = inspect.signature(cli.corpus).parameters
    assert {split: options[split].default for split in ("train", "val", "test")} == build.COUNTS
    function = inspect.signature(build.make_corpus).parameters
    for name in ("name", "sample_rate", "seconds", "seed", "indoor_share", "overwrite"):
        assert options[name].default == function[name].default


def test_export_then_separate(lobes: Run, run: Path, tmp_path: Path):
    code, out, _ = lobes("export", "run", "exported")
    assert code == 0 and "wrote exported" in out
    x = np.random.default_rng(0).uniform(-0.3, 0.3, 16001).astype(np.float32)
    audio.write(tmp_path / "mix.wav", x, 16000)
    for model, folder in (("exported", "a"), ("run", "b")):
        code, out, _ = lobes("separate", model, "mix.wav", "-o", folder, "--device", "cpu")
        assert code == 0
        assert out.split() == [f"{folder}/mix_s1.wav", f"{folder}/mix_s2.wav"]
    first, second = (audio.read(tmp_path / folder / "mix_s1.wav") for folder in "ab")
    assert first[1] == 16000 and first[0].shape == x.shape
    assert np.array_equal(first[0], second[0]) and first[0].any()


def test_evaluate_a_run_on_a_manifest(lobes: Run, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from lobes.evaluation import manifest

    read, read_table = [], manifest.read_table
    monkeypatch.setattr(manifest, "read_table", lambda path, *more: (read.append(path), read_table(path, *more))[1])
    x = np.random.default_rng(0).uniform(-0.3, 0.3, (3, 8000)).astype(np.float32)
    for name, samples in zip(("mix", "s1", "s2"), x, strict=True):
        audio.write(tmp_path / f"{name}.wav", samples, 8000)
    (tmp_path / "test.csv").write_text("ID,duration,mix_wav,s1_wav,s2_wav\na,1.0,mix.wav,s1.wav,s2.wav\n")
    words = (
        "--data",
        "test.csv",
        "-o",
        "out",
        "--metric",
        "si_sdr",
        "--workers",
        "0",
        "--device",
        "cpu",
        "--no-report",
    )
    code, out, _ = lobes("evaluate", "run", *words)
    assert code == 0 and out.split()[:2] == ["n", "SI-SDR"] and out.endswith("wrote out\n")
    assert (tmp_path / "out" / "per_utterance.csv").read_text().count("\n") == 2
    assert len(read) == 1
    code, _, err = lobes("evaluate", "nowhere:make", *words)
    assert code == 2 and err.startswith("error: nowhere:make: cannot be imported") and err.count("\n") == 1


def test_evaluate_with_judges_and_a_recogniser(lobes: Run, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("jiwer")
    x = np.random.default_rng(0).uniform(-0.3, 0.3, (3, 8000)).astype(np.float32)
    for name, samples in zip(("mix", "s1", "s2"), x, strict=True):
        audio.write(tmp_path / f"{name}.wav", samples, 8000)
    (tmp_path / "test.csv").write_text("ID,mix_wav,s1_wav,s2_wav,s1_text,s2_text\na,mix.wav,s1.wav,s2.wav,Yes.,No.\n")
    (tmp_path / "says_yes.py").write_text("def factory():\n    return lambda wave, rate: 'yes'\n")
    monkeypatch.syspath_prepend(tmp_path)
    words = ("evaluate", "run", "--data", "test.csv", "-o", "out", "--workers", "0", "--device", "cpu")
    words = (*words, "--no-report", "--metric", "dnsmos", "--metric", "wer", "--recogniser")
    code, out, _ = lobes(*words, "says_yes:factory")
    lines = [line.split() for line in out.splitlines()]
    assert code == 0 and ["wer", "1", "0.500", "0.500", "0", "%"] in lines
    assert [line[1] for line in lines if line[0] == "dnsmos_ovrl"] == ["1"]
    assert "wer of says_yes:factory: 0.500 on the targets themselves, so only for differences" in out
    code, _, err = lobes(*words, "whisper")
    assert code == 2 and err.startswith("error: recogniser whisper: no such folder. Expected pocketsphinx")


def test_truncated_wav_is_one_line(lobes: Run, run: Path, tmp_path: Path):
    audio.write(tmp_path / "cut.wav", np.zeros(8000, np.float32), 8000)
    (tmp_path / "cut.wav").write_bytes((tmp_path / "cut.wav").read_bytes()[:8000])
    code, out, err = lobes("separate", "run", "cut.wav", "-o", "out")
    assert code == 2 and not out
    assert err.startswith("error: cut.wav: truncated") and err.count("\n") == 1


def test_C02_a_folder_of_results_that_cannot_be_written_is_found_before_the_manifest(tmp_path, capsys, monkeypatch):
    (tmp_path / "file").write_text("")
    words = ["evaluate", "model", "--data", str(tmp_path / "no.csv"), "-o", str(tmp_path / "file")]
    monkeypatch.setattr("sys.argv", ["lobes", *words])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    line = capsys.readouterr().err
    assert stop.value.code == 2 and line.count("\n") == 1 and "--out: " in line and "is a file" in line
